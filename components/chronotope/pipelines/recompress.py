"""Compression of a trained model for another objective; no network is trained again.

The run that trained the network holds the candidates. The new run copies the other files of a
run, so that its bundle can be evaluated, promoted and retrained like any other.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import ValidationError

from chronotope.artifact.bundle import read_manifest
from chronotope.compression.bundle_cost import BundleCost, LoadCost
from chronotope.compression.compress import CompressionResult
from chronotope.compression.config import CompressionConfig
from chronotope.compression.selection import Candidate, CandidateEvaluation
from chronotope.contracts.errors import ArtifactError, StoreError
from chronotope.pipelines.compress import candidate_rows
from chronotope.pipelines.holdout import FOLDS_FILE
from chronotope.pipelines.report import TRAINING_DATA_FILE
from chronotope.pipelines.results import (
    ColumnSelection,
    CompressedCandidate,
    CompressionSummary,
    InheritedParameters,
    SelectionPreview,
    TrainingData,
)
from chronotope.pipelines.retrain import stored_parameters, trained_parameters
from chronotope.pipelines.run_dir import (
    network_source,
    read_settings,
    training_run_dir,
    write_network_source,
    write_settings,
)
from chronotope.pipelines.settings import TrainSettings
from chronotope.pipelines.train import MODEL_FILE
from chronotope.registry.champion import champion_version, open_registry
from chronotope.registry.model_versions import download_version, latest_version
from chronotope.runtime.durable_files import read_json
from chronotope.runtime.file_links import link_or_copy
from chronotope.runtime.step_cache import step_result
from chronotope.runtime.workspace import Workspace

VersionSelector = Literal["champion", "latest"]

_REQUIRED_FILES: Final = (FOLDS_FILE, MODEL_FILE, TRAINING_DATA_FILE)
"""Files of a run that a recompression needs."""

_FILE_ROLE: Final = "The training data of a run"
_WAY_OUT: Final = "Train again"


@dataclass(frozen=True, slots=True)
class RecompressionSource:
    """A registered version and the files it was made of.

    Attributes:
        version: Its number.
        run_dir: Folder of its run.
        network_run_dir: Folder of the run that trained its network and holds the candidates.
        features: Snapshot it was trained on.
        data_version: Version of the events.
        serving_digest: Digests of its graph and index.
    """

    version: str
    run_dir: Path
    network_run_dir: Path
    features: Path
    data_version: str
    serving_digest: str


def find_source(root: Path, dataset: str, selector: VersionSelector) -> RecompressionSource:
    """The version whose network is compressed again.

    Args:
        root: Project root.
        dataset: Name of the dataset.
        selector: The champion, or the version that was registered last.

    Raises:
        StoreError: Nothing was trained, or there is no champion.
        ArtifactError: Files of its run are gone.
    """
    store, workspace = open_registry(root, dataset), Workspace(root)
    if selector == "champion":
        version = champion_version(store, dataset)
    else:
        version = latest_version(store, dataset)
    tags = dict(store.client.get_model_version(dataset, version).tags)
    bundle_manifest = read_manifest(download_version(store, dataset, version))
    run_dir = workspace.runs(dataset) / tags.get("training", "unknown")
    features = workspace.features(dataset) / tags.get("features", "unknown")
    required_paths = (*(run_dir / name for name in _REQUIRED_FILES), features)
    missing_paths = [path for path in required_paths if not path.exists()]
    if missing_paths:
        raise ArtifactError(
            f"Version {version} of {dataset!r} cannot be compressed again: its files are gone",
            received=missing_paths[0],
            way_out="Train again, or choose another version",
        )
    network_run_dir = run_dir.parent / network_source(run_dir)
    return RecompressionSource(
        version,
        run_dir,
        network_run_dir,
        features,
        bundle_manifest.data_version,
        bundle_manifest.serving_digest,
    )


def settings_with_objective(
    source: RecompressionSource, root: Path, config: CompressionConfig
) -> TrainSettings:
    """Settings of the version's training, with the new objective."""
    return read_settings(source.run_dir, root).model_copy(update={"compression": config})


def recompression_dir(source: RecompressionSource, settings: TrainSettings) -> Path:
    """Folder of the new run: one for each network and objective."""
    purpose = f"compressed again, {source.network_run_dir.name}"
    dataset = source.run_dir.parent.name
    return training_run_dir(source.features, dataset, settings, purpose=purpose)


def copy_training_results(
    source: RecompressionSource, settings: TrainSettings, run_dir: Path
) -> InheritedParameters:
    """Copy the folds, the network and the data summary of a training into a new run.

    Args:
        source: The version that is compressed again.
        settings: Settings of the new run.
        run_dir: Folder of the new run.

    Returns:
        Parameters, fold metrics and context columns of the training.
    """
    write_settings(run_dir, settings)
    write_network_source(run_dir, source.network_run_dir.name)
    for name in _REQUIRED_FILES:
        link_or_copy(source.run_dir / name, run_dir / name)
    stored = stored_parameters(source.run_dir) or InheritedParameters(params={})
    selection = step_result(source.run_dir, "select_context_columns", ColumnSelection)
    return InheritedParameters(
        params=trained_parameters(source.run_dir, settings),
        fold_ndcg=stored.fold_ndcg,
        columns=selection or stored.columns,
    )


def read_training_data(run_dir: Path) -> TrainingData:
    """Counts and feature snapshot of a run.

    Raises:
        StoreError: The file is missing or damaged.
    """
    content = read_json(run_dir / TRAINING_DATA_FILE, subject=_FILE_ROLE, way_out=_WAY_OUT)
    try:
        return TrainingData.model_validate(content)
    except ValidationError as error:
        raise StoreError(
            f"{_FILE_ROLE} cannot be read", received=error, way_out=_WAY_OUT
        ) from error


def stop_reason(source: RecompressionSource, run_dir: Path, compression: CompressionSummary) -> str:
    """Reason why there is nothing to register; empty if there is.

    Args:
        source: The version that was compressed again.
        run_dir: Folder of the new run.
        compression: Its compression.
    """
    if not compression.meets_objective:
        return "nothing meets the objective"
    serving_digest = read_manifest(compression.bundle).serving_digest
    is_same_bundle = source.run_dir != run_dir and serving_digest == source.serving_digest
    return f"version {source.version} is what the objective chooses" if is_same_bundle else ""


def preview_selection(source: RecompressionSource, config: CompressionConfig) -> SelectionPreview:
    """Candidate that an objective would select among those measured already.

    Nothing is written.

    Args:
        source: The version.
        config: The objective.
    """
    compression = step_result(source.run_dir, "compress_model", CompressionSummary)
    measured = () if compression is None else compression.candidates
    result = CompressionResult(tuple(map(_to_candidate, measured)), config)
    return SelectionPreview(
        version=source.version, candidates=candidate_rows(result), reason=result.reason
    )


def _to_candidate(row: CompressedCandidate) -> Candidate:
    cost = BundleCost(row.size_mb, row.p50_ms, row.p99_ms)
    evaluation_result = None
    if row.ndcg is not None and row.acc is not None and row.batch_ms is not None:
        load_cost = LoadCost(row.batch_ms, row.rss_mb or 0.0)
        evaluation_result = CandidateEvaluation(row.ndcg, row.acc, load_cost, row.refused)
    return Candidate(row.name, Path(row.name), cost, evaluation_result)
