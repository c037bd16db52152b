"""Compress a trained model once more, for another objective: nothing is trained again.

The run of the network keeps its candidates; the new run takes over what else a run is made
of, so that it can be judged, promoted and succeeded like any other.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from chronotope.artifact.bundle import read_manifest
from chronotope.compression.bundle_cost import BundleCost, LoadCost
from chronotope.compression.compress import CompressionResult
from chronotope.compression.selection import Candidate, CandidateEvaluation, CompressionConfig
from chronotope.contracts.errors import ArtifactError
from chronotope.pipelines.report import INGESTED
from chronotope.pipelines.retrain import PARAMETERS, trained_parameters
from chronotope.pipelines.run_dir import (
    network_source,
    read_settings,
    training_run_dir,
    write_network_source,
    write_settings,
)
from chronotope.pipelines.settings import TrainSettings
from chronotope.registry.champion import champion_version, open_registry
from chronotope.registry.model_versions import download_version, latest_version
from chronotope.runtime.durable_files import read_json
from chronotope.runtime.file_links import link_or_copy
from chronotope.runtime.step_cache import step_result
from chronotope.runtime.workspace import Workspace

VersionSelector = Literal["champion", "latest"]

_WHOLE = ("frozen_folds.json", "model.pt", INGESTED)
"""Files of a run that it cannot be compressed again without."""


@dataclass(frozen=True, slots=True)
class RecompressionSource:
    """A registered version and what it was made of.

    Attributes:
        version: Its number.
        run: Folder of its run.
        network: Folder of the run that trained its network, and keeps the candidates.
        features: Snapshot it was trained on.
        data_version: Version of the events.
        answering: Digests of its graph and index.
    """

    version: str
    run: Path
    network: Path
    features: Path
    data_version: str
    answering: str


def find_source(root: Path, dataset: str, which: VersionSelector) -> RecompressionSource:
    """The version whose network is compressed again.

    Args:
        root: Project root.
        dataset: Name of the dataset.
        which: The champion, or the version that was registered last.

    Raises:
        StoreError: Nothing was trained, or there is no champion.
        ArtifactError: Files of its run are gone.
    """
    store, workspace = open_registry(root, dataset), Workspace(root)
    known = champion_version(store, dataset) if which == "champion" else None
    version = known or latest_version(store, dataset)
    tags = dict(store.client.get_model_version(dataset, version).tags)
    manifest = read_manifest(download_version(store, dataset, version))
    run = workspace.runs(dataset) / tags.get("training", "unknown")
    features = workspace.features(dataset) / tags.get("features", "unknown")
    gone = [path for path in (*(run / name for name in _WHOLE), features) if not path.exists()]
    if gone:
        raise ArtifactError(
            f"Version {version} of {dataset!r} cannot be compressed again: its files are gone",
            received=gone[0],
            way_out="Train again, or choose another version",
        )
    network = run.parent / network_source(run)
    return RecompressionSource(
        version, run, network, features, manifest.data_version, manifest.answering
    )


def settings_with_objective(
    origin: RecompressionSource, root: Path, config: CompressionConfig
) -> TrainSettings:
    """What the version was trained with, and the new objective."""
    return read_settings(origin.run, root).model_copy(update={"compression": config})


def recompression_dir(origin: RecompressionSource, settings: TrainSettings) -> Path:
    """Folder of the new run: the same network and objective give the same one."""
    purpose = f"compressed again, {origin.network.name}"
    return training_run_dir(origin.features, origin.run.parent.name, settings, purpose=purpose)


def copy_training_results(
    origin: RecompressionSource, settings: TrainSettings, run: Path
) -> dict[str, Any]:
    """Make a run of what was trained already: folds, network, parameters, counts.

    Returns:
        ``params``, ``folds`` and ``selected`` as the training left them.
    """
    write_settings(run, settings)
    write_network_source(run, origin.network.name)
    for name in _WHOLE:
        link_or_copy(origin.run / name, run / name)
    tuned: dict[str, Any] = next(
        filter(None, (step_result(origin.run, step) for step in PARAMETERS)), {}
    )
    nothing = tuned.get("selected", {"kept": [], "columns": []})
    selected = step_result(origin.run, "select_columns") or nothing
    params = trained_parameters(origin.run, settings)
    return {"params": params, "folds": tuned.get("folds", {}), "selected": selected}


def read_ingested(run: Path) -> dict[str, Any]:
    """What the ingestion of a run's data counted.

    Raises:
        StoreError: The file is missing or damaged.
    """
    return read_json(run / INGESTED, what="What a run ingested", way_out="Train again")


def stop_reason(origin: RecompressionSource, run: Path, compressed: dict[str, Any]) -> str:
    """Why there is nothing to register; empty if there is.

    Args:
        origin: The version that was compressed again.
        run: Folder of the new run.
        compressed: What ``compress_model`` returned.
    """
    if not compressed["holds"]:
        return "nothing meets the objective"
    found = read_manifest(Path(compressed["bundle"])).answering
    same = origin.run != run and found == origin.answering
    return f"version {origin.version} is what the objective chooses" if same else ""


def preview_selection(origin: RecompressionSource, config: CompressionConfig) -> dict[str, Any]:
    """What an objective would choose among the candidates that were measured already.

    Args:
        origin: The version.
        config: The objective.

    Returns:
        ``version``, ``candidates`` (a row each) and ``reason``; nothing is written.
    """
    told = (step_result(origin.run, "compress_model") or {"candidates": []})["candidates"]
    result = CompressionResult(tuple(map(_candidate, told)), config)
    return {"version": origin.version, "candidates": result.rows(), "reason": result.reason}


def _candidate(row: dict[str, Any]) -> Candidate:
    measured = BundleCost(row["size_mb"], row["p50_ms"], row["p99_ms"])
    judged = None
    if row["ndcg"] is not None:
        load = LoadCost(row["batch_ms"], row["rss_mb"])
        judged = CandidateEvaluation(row["ndcg"], row["acc"], load, row["refused"])
    return Candidate(row["name"], Path(row["name"]), measured, judged)
