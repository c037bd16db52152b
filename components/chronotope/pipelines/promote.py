"""Registration of a bundle, and its promotion if it passes the gate and the blessing."""

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
from chronotope.contracts.event_log import Float64
from chronotope.contracts.queries import queries_at
from chronotope.features.snapshot import load_features
from chronotope.lake import Lake
from chronotope.metrics import EvaluationResult, evaluate, ndcg
from chronotope.pipelines.compress import PROBES_FILE
from chronotope.pipelines.evaluate_holdout import (
    HOLDOUT_FILE,
    NEW_ONLY_PREFIX,
    SLICE_PREFIX,
    new_only_ndcg,
    pop_prefixed,
)
from chronotope.pipelines.federated.summary import federation_tags
from chronotope.pipelines.holdout import CHALLENGER, evaluation_targets, frozen_folds
from chronotope.pipelines.results import HoldoutEvaluation, PromotionResult, RegisteredVersion
from chronotope.pipelines.run_dir import lineage, network_source
from chronotope.pipelines.settings import TrainSettings
from chronotope.pipelines.trust.config import privacy_tags
from chronotope.pipelines.trust.fairness import group_levels, tail_shares
from chronotope.pipelines.trust.results import read_trust
from chronotope.registry import model_versions
from chronotope.registry.blessing import run_blessing
from chronotope.registry.champion_info import events_version
from chronotope.registry.gate import (
    GroupedTargets,
    NewOnlyComparison,
    accuracy_gap_reasons,
    evaluate_gate,
    exposure_reasons,
    membership_reasons,
)
from chronotope.registry.lineage import log_dataset
from chronotope.registry.mlflow_store import MlflowStore, RunTracker, open_store
from chronotope.registry.promotion import current_champion, promote, set_challenger
from chronotope.runtime.stored_arrays import load_arrays

_LOG = logging.getLogger(__name__)


def register_version(
    features: Path,
    settings: TrainSettings,
    run_dir: Path,
    bundle: Path,
    evaluation: HoldoutEvaluation,
) -> RegisteredVersion:
    """Log metrics and lineage to MLflow and register the bundle, once per training.

    Args:
        features: Feature snapshot.
        settings: Settings of the training.
        run_dir: Folder of the training.
        bundle: Folder of the compressed model.
        evaluation: Metrics of the model and of the baselines.
    """
    bundle_manifest = read_manifest(bundle)
    store, name = open_store(settings.workspace.mlruns), bundle_manifest.dataset
    tags = {
        "dataset": name,
        "data_version": bundle_manifest.data_version,
        "graph": bundle_manifest.serving_digest[:16],
        **lineage(features, settings, run_dir),
        **privacy_tags(settings.privacy),
        **federation_tags(run_dir),
    }
    earlier = model_versions.find_registered(store, name, tags)
    if earlier is not None:  # killed after the registration, before the result was stored
        return RegisteredVersion(name=name, version=earlier[0], run_id=earlier[1])
    with store.run(name, f"model {run_dir.name}", tags=tags) as tracker:
        _log_metrics(tracker, evaluation.metrics)
        tracker.metrics(read_trust(run_dir).metrics())
        tracker.params(
            {"history_len": bundle_manifest.history_len, **settings.training.model_dump()}
        )
        _log_training_data(tracker, features, settings, bundle_manifest)
        registered = model_versions.register_version(
            store,
            name=name,
            bundle_dir=bundle,
            run_id=tracker.run_id,
            tags=tags,
            input_example=_input_example(features, run_dir, bundle_manifest),
        )
    return RegisteredVersion(
        name=registered.name, version=registered.version, run_id=tracker.run_id
    )


def is_registered(settings: TrainSettings, registered: RegisteredVersion) -> bool:
    """Whether the registry holds a version under its number and from its run.

    Args:
        settings: Settings with the root of the registry.
        registered: Result of ``register_version``.
    """
    store = open_store(settings.workspace.mlruns)
    stored_run_id = model_versions.run_of(store, registered.name, registered.version)
    return stored_run_id == registered.run_id


def promote_version(
    features: Path,
    settings: TrainSettings,
    run_dir: Path,
    bundle: Path,
    registered: RegisteredVersion,
) -> PromotionResult:
    """Gate and bless a version, and promote it; if it fails, it stays challenger.

    Args:
        features: Feature snapshot.
        settings: Gate and blessing.
        run_dir: Folder of the training, with the values of the holdout.
        bundle: Folder of the compressed model.
        registered: Result of ``register_version``.
    """
    store = open_store(settings.workspace.mlruns)
    name, version = registered.name, registered.version
    set_challenger(store, name, version)
    champion = current_champion(store, name)
    reason_texts = (
        *_gate_reasons(store, name, champion, features, settings, run_dir, bundle),
        *_trust_reasons(settings, run_dir),
        *_blessing_reasons(features, settings, run_dir, bundle),
    )
    if not reason_texts:
        promote(
            store,
            name,
            version,
            expected_champion=champion,
            key=f"{name}-{registered.run_id}",
            reason=_promotion_reason(store, name, champion, settings, run_dir),
        )
    return PromotionResult(
        **registered.model_dump(),
        promoted=not reason_texts,
        reasons=reason_texts,
        previous=champion,
    )


def is_promotion_of(registered: RegisteredVersion, promotion: PromotionResult) -> bool:
    """Whether a stored promotion decided on a registered version."""
    return promotion.run_id == registered.run_id


def _log_metrics(tracker: RunTracker, metrics: dict[str, dict[str, float]]) -> None:
    """Log the challenger's metrics under their names, each baseline's in a group of its own."""
    tracker.metrics(metrics[CHALLENGER])
    tracker.metrics(
        {
            f"{model_name}/{metric}": value
            for model_name, model_metrics in metrics.items()
            if model_name != CHALLENGER
            for metric, value in model_metrics.items()
        }
    )


def _log_training_data(
    tracker: RunTracker, features: Path, settings: TrainSettings, manifest: Manifest
) -> None:
    log, item_catalog = load_features(features)
    log_dataset(
        tracker,
        name=manifest.dataset,
        data_digest=manifest.data_version,
        data_source=settings.workspace.lake(manifest.dataset),
        data_profile={
            "n_events": len(log),
            "n_users": item_catalog.users.size,
            "n_items": item_catalog.n_items,
        },
    )


def _input_example(
    features: Path, run_dir: Path, manifest: Manifest
) -> dict[str, np.ndarray[Any, Any]]:
    """Two probe queries as the named arrays that the registered model takes."""
    log, _ = load_features(features)
    positions = load_arrays(run_dir / PROBES_FILE)["positions"][:2]
    query_batch = queries_at(log, positions, history_len=manifest.history_len, time_given=True)
    context = {name: query_batch.context[name] for name in manifest.context}
    return replace(query_batch, context=context).arrays()


def _promotion_reason(
    store: MlflowStore, name: str, champion: str | None, settings: TrainSettings, run_dir: Path
) -> str:
    """Reason of a promotion, for the history."""
    if champion is None:
        return "beats every baseline; the artefact is blessed"
    if _champion_bundle(store, name, champion) is None:
        return "beats every baseline; the champion's files are damaged; the artefact is blessed"
    if _allowed_loss(store, name, champion, settings, run_dir) is None:
        return "beats every baseline and the champion; the artefact is blessed"
    return "the champion's own network for another objective, no worse; the artefact is blessed"


def _gate_reasons(
    store: MlflowStore,
    name: str,
    champion: str | None,
    features: Path,
    settings: TrainSettings,
    run_dir: Path,
    bundle: Path,
) -> tuple[str, ...]:
    champion_bundle = None if champion is None else _champion_bundle(store, name, champion)
    if champion_bundle is not None:
        bundle_manifest = read_manifest(champion_bundle)
        if has_seen_targets(bundle_manifest, run_dir):
            return (_not_comparable(f"champion {champion}", bundle_manifest, settings),)
    baseline_ndcg = load_arrays(run_dir / HOLDOUT_FILE)
    user_idx, challenger_ndcg = baseline_ndcg.pop("user"), baseline_ndcg.pop(CHALLENGER)
    masks = pop_prefixed(baseline_ndcg, SLICE_PREFIX)
    new_only_values = pop_prefixed(baseline_ndcg, NEW_ONLY_PREFIX)
    champion_ndcg, new_only = None, None
    if champion_bundle is not None:
        evaluation_result = _evaluate_champion(champion_bundle, features, settings, run_dir)
        champion_ndcg = ndcg(evaluation_result.rank, 10)
        new_only = NewOnlyComparison(new_only_values[CHALLENGER], new_only_ndcg(evaluation_result))
    decision = evaluate_gate(
        challenger_ndcg,
        champion_ndcg,
        baseline_ndcg,
        user_idx=user_idx,
        slices=masks,
        gate_config=settings.gate,
        non_inferiority_margin=_allowed_loss(store, name, champion, settings, run_dir),
        new_only=new_only,
    )
    if champion_bundle is None or champion_ndcg is None:
        return decision.reasons
    fairness = _fairness_reasons(
        challenger_ndcg, champion_ndcg, champion_bundle, features, settings, run_dir, bundle
    )
    return (*decision.reasons, *fairness)


def _fairness_reasons(
    challenger_ndcg: Float64,
    champion_ndcg: Float64,
    champion_bundle: Path,
    features: Path,
    settings: TrainSettings,
    run_dir: Path,
    bundle: Path,
) -> tuple[str, ...]:
    """Reasons why the challenger widens a gap between groups of users, or of items."""
    log, item_catalog = load_features(features)
    targets = evaluation_targets(log, settings, run_dir)
    levels = group_levels(item_catalog, log, targets, min_group_users=settings.min_group_users)
    grouped = GroupedTargets(log.user_idx[targets], levels)
    remapped = RemappedRecommender(
        open_bundle(champion_bundle), read_vocabulary(champion_bundle), item_catalog
    )
    challenger_shares, user_idx = tail_shares(open_bundle(bundle), log, targets, item_catalog)
    champion_shares, _ = tail_shares(remapped, log, targets, item_catalog)
    return (
        *accuracy_gap_reasons(challenger_ndcg, champion_ndcg, grouped, settings.gate),
        *exposure_reasons(challenger_shares, champion_shares, user_idx, settings.gate),
    )


def _trust_reasons(settings: TrainSettings, run_dir: Path) -> tuple[str, ...]:
    """Reasons of the evaluation of trust against a promotion."""
    audit = read_trust(run_dir).membership
    low_ends = {} if audit is None else {attack.name: attack.low for attack in audit.attacks}
    return membership_reasons(low_ends, settings.gate)


def _champion_bundle(store: MlflowStore, name: str, champion: str) -> Path | None:
    """Folder of the champion's bundle; None if it is damaged.

    A damaged champion cannot be compared with. It could not be served after a restart
    either, so it does not prevent a promotion.
    """
    try:
        bundle_dir = model_versions.download_version(store, name, champion)
        read_manifest(bundle_dir)
    except ArtifactError as error:
        _LOG.warning("Champion %s is not compared with: %s", champion, error)
        return None
    return bundle_dir


def _not_comparable(subject: str, manifest: Manifest, settings: TrainSettings) -> str:
    """Reason why a champion that was trained on a part of the holdout is not compared with."""
    trained_on, lake = events_version(manifest), Lake(settings.workspace.lake(manifest.dataset))
    if trained_on is None or lake.holds(EVENTS, trained_on):
        return f"{subject} was trained on a part of this holdout; wait for later data"
    return (
        f"{subject} was trained on version {trained_on} of the events, which this lake does not "
        "hold, up to within this holdout: they cannot be compared; `chronotope promote` decides"
    )


def _allowed_loss(
    store: MlflowStore, name: str, champion: str | None, settings: TrainSettings, run_dir: Path
) -> float | None:
    """NDCG@10 that may be lost if the champion is the same network; None if it is another."""
    if champion is None or _champion_bundle(store, name, champion) is None:
        return None
    tags = store.client.get_model_version(name, champion).tags
    is_same_network = tags.get("network", tags.get("training")) == network_source(run_dir)
    return settings.compression.max_ndcg_loss if is_same_network else None


def has_seen_targets(champion: Manifest, run_dir: Path) -> bool:
    """Whether a champion was trained on events of a training's holdout.

    Args:
        champion: Manifest of its bundle.
        run_dir: Folder of the challenger's training, with its folds.
    """
    return champion.trained_until_s >= frozen_folds(run_dir).holdout.test_start_s


def _evaluate_champion(
    champion_bundle: Path, features: Path, settings: TrainSettings, run_dir: Path
) -> EvaluationResult:
    """Evaluation of the champion on the challenger's targets, by its own vocabulary."""
    log, item_catalog = load_features(features)
    model = RemappedRecommender(
        open_bundle(champion_bundle), read_vocabulary(champion_bundle), item_catalog
    )
    targets = evaluation_targets(log, settings, run_dir)
    return evaluate(model, log, targets, n_items=item_catalog.n_items, time_given=True)


def _blessing_reasons(
    features: Path, settings: TrainSettings, run_dir: Path, bundle: Path
) -> tuple[str, ...]:
    log, _ = load_features(features)
    probes = load_arrays(run_dir / PROBES_FILE)
    history_len = read_manifest(bundle).history_len
    query_batch = queries_at(log, probes["positions"], history_len=history_len, time_given=True)
    blessing = run_blessing(
        bundle, queries=query_batch, expected_scores=probes["scores"], config=settings.bless
    )
    return blessing.reasons
