"""Register a bundle, and make it champion if it beats everybody and proves it serves."""

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from chronotope.artifact.bundle import Manifest, read_manifest, read_vocabulary
from chronotope.artifact.open_bundle import open_bundle
from chronotope.artifact.remapped import RemappedRecommender
from chronotope.contracts.data_version import EVENTS
from chronotope.contracts.errors import ArtifactError
from chronotope.contracts.queries import queries_at
from chronotope.features.snapshot import load_features
from chronotope.lake import Lake
from chronotope.metrics.evaluate import evaluate
from chronotope.metrics.summary import ndcg
from chronotope.pipelines.holdout import CHALLENGER, evaluation_targets, frozen_folds
from chronotope.pipelines.run_dir import lineage, network_source
from chronotope.pipelines.settings import TrainSettings
from chronotope.registry.blessing import run_blessing
from chronotope.registry.champion_info import events_version
from chronotope.registry.gate import evaluate_gate
from chronotope.registry.lineage import log_dataset
from chronotope.registry.mlflow_store import MlflowStore, RunTracker, open_store
from chronotope.registry.model_versions import (
    download_version,
    find_registered,
    register_version,
    run_of,
)
from chronotope.registry.promotion import current_champion, promote, set_challenger
from chronotope.runtime.stored_arrays import load_arrays

_LOG = logging.getLogger(__name__)


def register_bundle(
    features: Path,
    settings: TrainSettings,
    run: Path,
    bundle: Path,
    metrics: dict[str, dict[str, float]],
) -> dict[str, str]:
    """Log metrics and lineage to MLflow and register the bundle, once a training.

    Returns:
        ``name``, ``version`` and ``run_id``.
    """
    manifest = read_manifest(bundle)
    store, name = open_store(settings.workspace.mlruns), manifest.dataset
    about = {"dataset": name, "data_version": manifest.data_version}
    graph = {"graph": manifest.answering[:16]}
    tags = {**about, **graph, **lineage(features, settings, run)}
    known = find_registered(store, name, tags)
    if known is not None:  # killed before it could note down what it had registered
        return {"name": name, "version": known[0], "run_id": known[1]}
    with store.run(name, f"model {run.name}", tags=tags) as tracker:
        _log_metrics(tracker, metrics)
        tracker.params({"history_len": manifest.history_len, **settings.training.model_dump()})
        _log_data(tracker, features, settings, manifest)
        made = register_version(
            store,
            name=name,
            bundle_dir=bundle,
            run_id=tracker.run_id,
            tags=tags,
            example=_example(features, run, manifest),
        )
    return {"name": made.name, "version": made.version, "run_id": tracker.run_id}


def is_registered(settings: TrainSettings, registered: dict[str, Any]) -> bool:
    """Whether the registry holds the version that a run registered, and no other's by its number.

    Args:
        settings: Where the registry lies.
        registered: What ``register_bundle`` returned.
    """
    store = open_store(settings.workspace.mlruns)
    run_id: str = registered["run_id"]
    return run_of(store, registered["name"], registered["version"]) == run_id


def _log_metrics(tracker: RunTracker, metrics: dict[str, dict[str, float]]) -> None:
    """The model's metrics by their names, each baseline's in a group of its own."""
    tracker.metrics(metrics[CHALLENGER])
    rivals = {f"{n}/{k}": v for n, m in metrics.items() if n != CHALLENGER for k, v in m.items()}
    tracker.metrics(rivals)


def _log_data(
    tracker: RunTracker, features: Path, settings: TrainSettings, manifest: Manifest
) -> None:
    log, catalog = load_features(features)
    log_dataset(
        tracker,
        name=manifest.dataset,
        digest=manifest.data_version,
        source=settings.workspace.lake(manifest.dataset),
        profile={"n_events": len(log), "n_users": catalog.users.size, "n_items": catalog.n_items},
    )


def _example(features: Path, run: Path, manifest: Manifest) -> dict[str, np.ndarray[Any, Any]]:
    """Two of the probes as the named arrays that the registered model takes."""
    log, _ = load_features(features)
    positions = load_arrays(run / "probes.npz")["positions"][:2]
    queries = queries_at(log, positions, history_len=manifest.history_len, time_given=True)
    told = {name: queries.context[name] for name in manifest.context}
    return replace(queries, context=told).arrays()


def promote_bundle(
    features: Path, settings: TrainSettings, run: Path, bundle: Path, registered: dict[str, str]
) -> dict[str, Any]:
    """Gate, bless and promote; a version that fails stays ``challenger`` with reasons."""
    store = open_store(settings.workspace.mlruns)
    name, version = registered["name"], registered["version"]
    set_challenger(store, name, version)
    champion = current_champion(store, name)
    reasons = (
        *_gate_reasons(store, name, champion, features, settings, run),
        *_blessing_reasons(features, settings, run, bundle),
    )
    if not reasons:
        promote(
            store,
            name,
            version,
            expected_champion=champion,
            key=f"{name}-{registered['run_id']}",
            reason=_merit(store, name, champion, settings, run),
        )
    return {"promoted": not reasons, "reasons": list(reasons), "previous": champion, **registered}


def _merit(
    store: MlflowStore, name: str, champion: str | None, settings: TrainSettings, run: Path
) -> str:
    """Why a version won, for the history."""
    if champion is not None and _champion_folder(store, name, champion) is None:
        return "beats every baseline; the champion's files are damaged; the artefact is blessed"
    if _may_lose(store, name, champion, settings, run) is None:
        return "beats every baseline and the champion; the artefact is blessed"
    return "the champion's own network for another objective, no worse; the artefact is blessed"


def _gate_reasons(
    store: MlflowStore,
    name: str,
    champion: str | None,
    features: Path,
    settings: TrainSettings,
    run: Path,
) -> tuple[str, ...]:
    folder = None if champion is None else _champion_folder(store, name, champion)
    if folder is not None:
        manifest = read_manifest(folder)
        if has_seen_targets(manifest, run):
            return (_no_contest(f"champion {champion}", manifest, settings),)
    kept = load_arrays(run / "holdout.npz")
    users, challenger = kept.pop("user"), kept.pop("challenger")
    masks = {k.removeprefix("slice."): kept.pop(k) for k in list(kept) if k.startswith("slice.")}
    reigning = None if folder is None else _values(folder, features, settings, run)
    decision = evaluate_gate(
        challenger,
        reigning,
        kept,
        users=users,
        slices=masks,
        config=settings.gate,
        may_lose=_may_lose(store, name, champion, settings, run),
    )
    return decision.reasons


def _champion_folder(store: MlflowStore, name: str, champion: str) -> Path | None:
    """Folder of the champion's bundle; None if it is damaged, since nobody can compare with it.

    It could not answer after a restart either, so it bars no successor.
    """
    try:
        folder = download_version(store, name, champion)
        read_manifest(folder)
    except ArtifactError as error:
        _LOG.warning("Champion %s is no rival: %s", champion, error)
        return None
    return folder


def _no_contest(subject: str, manifest: Manifest, settings: TrainSettings) -> str:
    """Why a champion that was trained beyond the begin of the holdout is no rival."""
    trained_on, lake = events_version(manifest), Lake(settings.workspace.lake(manifest.dataset))
    if trained_on is None or lake.holds(EVENTS, trained_on):
        return f"{subject} was trained on a part of this holdout; wait for later data"
    return (
        f"{subject} was trained on version {trained_on} of the events, which this lake does not "
        "hold, up to within this holdout: they cannot be compared; `chronotope promote` decides"
    )


def _may_lose(
    store: MlflowStore, name: str, champion: str | None, settings: TrainSettings, run: Path
) -> float | None:
    """What the objective lets go, if the champion is the same network; else None."""
    if champion is None or _champion_folder(store, name, champion) is None:
        return None
    tags = store.client.get_model_version(name, champion).tags
    same = tags.get("network", tags.get("training")) == network_source(run)
    return settings.compression.max_ndcg_loss if same else None


def has_seen_targets(champion: Manifest, run: Path) -> bool:
    """Whether a champion was trained on events of a training's holdout, which is no contest.

    Args:
        champion: What its bundle says of itself.
        run: Folder of the challenger's training, with its folds.
    """
    return champion.trained_until_s >= frozen_folds(run).holdout.test_start_s


def _values(
    folder: Path, features: Path, settings: TrainSettings, run: Path
) -> np.ndarray[Any, np.dtype[np.float64]]:
    """NDCG@10 of the reigning champion on the challenger's targets, in its own words."""
    log, catalog = load_features(features)
    model = RemappedRecommender(open_bundle(folder), read_vocabulary(folder), catalog)
    targets = evaluation_targets(log, settings, run)
    outcomes = evaluate(model, log, targets, n_items=catalog.n_items, time_given=True)
    return ndcg(outcomes.rank, 10)


def _blessing_reasons(
    features: Path, settings: TrainSettings, run: Path, bundle: Path
) -> tuple[str, ...]:
    log, _ = load_features(features)
    probes = load_arrays(run / "probes.npz")
    history_len = read_manifest(bundle).history_len
    queries = queries_at(log, probes["positions"], history_len=history_len, time_given=True)
    blessing = run_blessing(
        bundle, queries=queries, expected_scores=probes["scores"], config=settings.bless
    )
    return blessing.reasons
