"""Evaluation of the compressed model and of every baseline on the same later targets."""

from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from chronotope.artifact.open_bundle import BundleRecommender, open_bundle
from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int32, Int64
from chronotope.contracts.queries import queries_at
from chronotope.metrics import (
    EvaluationResult,
    LognormalMixture,
    TargetSpans,
    bootstrap_interval,
    evaluate_place,
    evaluate_time,
    hit_rate,
    ndcg,
    slice_masks,
    summarise_metrics,
)
from chronotope.pipelines.evaluate_blocks import evaluate_baselines, evaluate_bundle
from chronotope.pipelines.holdout import CHALLENGER, evaluation_targets, frozen_folds
from chronotope.pipelines.process_cache import cached_features, process_cache
from chronotope.pipelines.results import HoldoutEvaluation, PlaceEvaluation, TimeEvaluation
from chronotope.pipelines.settings import TrainSettings
from chronotope.pipelines.train import MODEL_FILE
from chronotope.pipelines.trust.fairness import evaluate_fairness
from chronotope.pipelines.trust.membership_audit import audit_bundle
from chronotope.pipelines.trust.results import TrustEvaluation, write_trust
from chronotope.runtime.engine import open_engine
from chronotope.runtime.stored_arrays import save_arrays

MAX_FORECAST_TARGETS: Final = 2_000
"""Targets on which time and place are evaluated, about."""

LAST_PLACE: Final = "last place"
"""Baseline of places: the next event is where the last one was."""

HOLDOUT_FILE: Final = "holdout.npz"
"""File of a run with NDCG@10 of every target by model, for the gate."""

SLICE_PREFIX: Final = "slice."
"""Prefix of the masks over the targets in ``HOLDOUT_FILE``."""

NEW_ONLY_PREFIX: Final = "new_only."
"""Prefix of NDCG@10 among new items by model in ``HOLDOUT_FILE``; NaN for a return."""

MAP_POINTS_FILE: Final = "map_points.npz"
"""File of a run with the points of the report's map."""

INTERVAL_LEVELS: Final = (0.5, 0.8, 0.95)
"""Nominal levels of the time intervals whose coverage is reported."""


def evaluate_holdout(
    features: Path, settings: TrainSettings, run_dir: Path, bundle: Path
) -> HoldoutEvaluation:
    """Metrics of all models on the holdout.

    NDCG@10 of every target is stored for the gate, and points for the map.

    Args:
        features: Feature snapshot.
        settings: Engine and number of targets.
        run_dir: Folder of this training, with the frozen folds.
        bundle: Folder of the compressed model.
    """
    with process_cache(), open_engine(settings.engine) as engine:
        log, item_catalog = cached_features(features.resolve())
        until_s = frozen_folds(run_dir).holdout.train_end_s
        targets = evaluation_targets(log, settings, run_dir)
        evaluations = evaluate_baselines(engine, features, log, until_s, targets)
        evaluations[CHALLENGER] = evaluate_bundle(engine, features, bundle, log, targets)
    ndcg_values = {name: ndcg(result.rank, 10) for name, result in evaluations.items()}
    user_idx = log.user_idx[targets]
    masks = slice_masks(evaluations[CHALLENGER]).items()
    arrays: dict[str, Any] = {"user": user_idx, **ndcg_values}
    arrays |= {f"{SLICE_PREFIX}{name}": mask for name, mask in masks}
    arrays |= {
        f"{NEW_ONLY_PREFIX}{name}": new_only_ndcg(result) for name, result in evaluations.items()
    }
    save_arrays(run_dir / HOLDOUT_FILE, **arrays)
    target_hits = hit_rate(evaluations[CHALLENGER].rank, 10)
    points = map_points(log.item_idx[targets], target_hits, item_catalog)
    save_arrays(run_dir / MAP_POINTS_FILE, map_points=points)
    audit = audit_bundle(
        bundle, run_dir / MODEL_FILE, log, item_catalog, until_s, settings.privacy.audit
    )
    fairness = evaluate_fairness(
        open_bundle(bundle),
        log,
        targets,
        ndcg_values[CHALLENGER],
        item_catalog,
        min_group_users=settings.min_group_users,
    )
    write_trust(TrustEvaluation(membership=audit, fairness=fairness), run_dir)
    time_evaluation, places = _evaluate_forecast(open_bundle(bundle), log, targets, item_catalog)
    return HoldoutEvaluation(
        metrics={
            name: _finite_values(summarise_metrics(result)) for name, result in evaluations.items()
        },
        ndcg_intervals={
            name: _ndcg_interval(values, user_idx) for name, values in ndcg_values.items()
        },
        time=time_evaluation,
        places=places,
    )


def new_only_ndcg(evaluation: EvaluationResult) -> Float64:
    """NDCG@10 of each target among items that are new to its user; NaN for a return."""
    is_return = np.isnan(evaluation.new_only_rank)
    return np.where(is_return, np.nan, ndcg(evaluation.new_only_rank, 10))


def pop_prefixed(arrays: dict[str, npt.NDArray[Any]], prefix: str) -> dict[str, npt.NDArray[Any]]:
    """Remove the arrays whose names have a prefix; returns them without it."""
    prefixed_names = [name for name in arrays if name.startswith(prefix)]
    return {name.removeprefix(prefix): arrays.pop(name) for name in prefixed_names}


def _ndcg_interval(ndcg_values: Float64, user_idx: Any) -> tuple[float, float]:
    interval = bootstrap_interval(ndcg_values, user_idx, n_resamples=500)
    return interval.low, interval.high


def _evaluate_forecast(
    model: BundleRecommender, log: EventLog, targets: Int64, catalog: Catalog
) -> tuple[TimeEvaluation, dict[str, PlaceEvaluation]]:
    """Evaluation of the next event's time, in hours after the last one, and of its place."""
    sampled_targets = targets[:: max(1, len(targets) // MAX_FORECAST_TARGETS)]
    mixture_parts, true_hours, top_places, last_places = [], [], [], []
    spans = TargetSpans.of(log, sampled_targets)
    for rows in np.array_split(np.arange(len(sampled_targets)), len(sampled_targets) // 256 or 1):
        batch = sampled_targets[rows]
        query_batch = queries_at(
            log,
            batch,
            history_len=model.history_len,
            time_given=False,
            target_starts=(spans.user_start[rows], spans.basket_start[rows]),
        )
        output = model.answer(query_batch)
        mixture_parts.append(output.when)
        is_known = np.arange(catalog.n_places) > 0
        place_scores = np.where(is_known, output.place_scores, -np.inf)  # (B, n_places)
        top_places.append(place_scores.argmax(axis=1).astype(np.int32))
        last_places.append(query_batch.place_idx[:, -1])
        true_hours.append((log.occurred_s[batch] - query_batch.occurred_s[:, -1]) / 3600.0)
    mixture = LognormalMixture.of_parts(np.concatenate(mixture_parts))
    gap_hours = np.maximum(np.concatenate(true_hours), 0.0)
    time_evaluation = TimeEvaluation(
        **asdict(evaluate_time(mixture, gap_hours)), coverage=interval_coverage(mixture, gap_hours)
    )
    predicted_places = {
        CHALLENGER: np.concatenate(top_places),
        LAST_PLACE: np.concatenate(last_places),
    }
    places = {}
    if catalog.n_places > 2:
        places = evaluate_places(predicted_places, log.place_idx[sampled_targets], catalog)
    return time_evaluation, places


def evaluate_places(
    predicted: dict[str, Int32], true_places: Int32, catalog: Catalog
) -> dict[str, PlaceEvaluation]:
    """Accuracy and distance of predicted places, on targets whose place is known.

    Args:
        predicted: Predicted place of each target by model, shape (n_targets,) each.
        true_places: Place of each target, shape (n_targets,); 0 if unknown.
        catalog: Coordinates of the places.
    """
    is_known = true_places > 0
    if not is_known.any():
        return {}
    errors = {
        name: evaluate_place(place_idx[is_known], true_places[is_known], catalog)
        for name, place_idx in predicted.items()
    }
    return {
        name: PlaceEvaluation.model_validate(_finite_values(asdict(error)))
        for name, error in errors.items()
    }


def interval_coverage(
    mixture: LognormalMixture, gap_hours: Float64
) -> tuple[tuple[float, float], ...]:
    """Nominal level, and share of true gaps inside the central interval of that level."""
    centrality = np.abs(2 * mixture.cdf(gap_hours) - 1)  # 0 at the median, 1 in the tails
    return tuple((level, float((centrality <= level).mean())) for level in INTERVAL_LEVELS)


def map_points(target_items: Int32, target_hits: Float64, catalog: Catalog) -> Float64:
    """Points of the map, one for each item with coordinates that is a target.

    Args:
        target_items: Item of each target, shape (n_targets,).
        target_hits: Whether the item was among the top ten, shape (n_targets,).
        catalog: Coordinates of the items.

    Returns:
        Latitude, longitude, number of targets and share of hits, shape (n_points, 4).
    """
    n_targets = np.bincount(target_items, minlength=catalog.n_items)
    n_hits = np.bincount(target_items, weights=target_hits, minlength=catalog.n_items)
    is_located = np.isfinite(catalog.item_lat) & np.isfinite(catalog.item_lon)
    shown_items = np.flatnonzero((n_targets > 0) & is_located)
    hit_share = n_hits / np.maximum(n_targets, 1)
    columns = (catalog.item_lat, catalog.item_lon, n_targets, hit_share)
    return np.column_stack([column[shown_items] for column in columns])


def _finite_values(metrics: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in metrics.items() if np.isfinite(value)}
