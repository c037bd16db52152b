"""Compress a trained model once more, for another objective: nothing is trained again.

The run of the network keeps its candidates; the new run takes over what else a run is made
of, so that it can be judged, promoted and succeeded like any other.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from chronotope.artifact.bundle import read_manifest
from chronotope.compression.choose import Candidate, CompressionConfig, Judged
from chronotope.compression.compress import CompressionResult
from chronotope.compression.measure import Load, Measured
from chronotope.contracts.errors import ArtifactError
from chronotope.contracts.json_files import read_json
from chronotope.contracts.links import link_or_copy
from chronotope.contracts.workspace import Workspace
from chronotope.registry.models import download, latest_version
from chronotope.steps.champion import champion_version, open_registry
from chronotope.steps.once import step_result
from chronotope.steps.report_training import INGESTED
from chronotope.steps.retrain import PARAMETERS, parameters_of
from chronotope.steps.run_folder import (
    keep_network,
    keep_settings,
    kept_settings,
    network_of,
    run_folder,
)
from chronotope.steps.settings import TrainSettings

Which = Literal["champion", "latest"]

_WHOLE = ("frozen_folds.json", "model.pt", INGESTED)
"""Files of a run that it cannot be compressed again without."""


@dataclass(frozen=True, slots=True)
class Origin:
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


def origin_of(root: Path, dataset: str, which: Which) -> Origin:
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
    manifest = read_manifest(download(store, dataset, version))
    run = workspace.runs(dataset) / tags.get("training", "unknown")
    features = workspace.features(dataset) / tags.get("features", "unknown")
    gone = [path for path in (*(run / name for name in _WHOLE), features) if not path.exists()]
    if gone:
        raise ArtifactError(
            f"Version {version} of {dataset!r} cannot be compressed again: its files are gone",
            received=gone[0],
            way_out="Train again, or choose another version",
        )
    network = run.parent / network_of(run)
    return Origin(version, run, network, features, manifest.data_version, manifest.answering)


def settings_for(origin: Origin, root: Path, config: CompressionConfig) -> TrainSettings:
    """What the version was trained with, and the new objective."""
    return kept_settings(origin.run, root).model_copy(update={"compression": config})


def folder_for(origin: Origin, settings: TrainSettings) -> Path:
    """Folder of the new run: the same network and objective give the same one."""
    purpose = f"compressed again, {origin.network.name}"
    return run_folder(origin.features, origin.run.parent.name, settings, purpose=purpose)


def take_over(origin: Origin, settings: TrainSettings, run: Path) -> dict[str, Any]:
    """Make a run of what was trained already: folds, network, parameters, counts.

    Returns:
        ``params``, ``folds`` and ``selected`` as the training left them.
    """
    keep_settings(run, settings)
    keep_network(run, origin.network.name)
    for name in _WHOLE:
        link_or_copy(origin.run / name, run / name)
    tuned: dict[str, Any] = next(
        filter(None, (step_result(origin.run, step) for step in PARAMETERS)), {}
    )
    nothing = tuned.get("selected", {"kept": [], "columns": []})
    selected = step_result(origin.run, "select_columns") or nothing
    params = parameters_of(origin.run, settings)
    return {"params": params, "folds": tuned.get("folds", {}), "selected": selected}


def read_ingested(run: Path) -> dict[str, Any]:
    """What the ingestion of a run's data counted."""
    found: dict[str, Any] = read_json(run / INGESTED)
    return found


def why_stop(origin: Origin, run: Path, compressed: dict[str, Any]) -> str:
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


def preview(origin: Origin, config: CompressionConfig) -> dict[str, Any]:
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
    measured = Measured(row["size_mb"], row["p50_ms"], row["p99_ms"])
    judged = None
    if row["ndcg"] is not None:
        load = Load(row["batch_ms"], row["rss_mb"])
        judged = Judged(row["ndcg"], row["acc"], load, row["refused"])
    return Candidate(row["name"], Path(row["name"]), measured, judged)
