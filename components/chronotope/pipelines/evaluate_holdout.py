"""Judge the compressed model and every baseline on the same later targets."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from chronotope.artifact.open_bundle import BundleRecommender, open_bundle
from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int32, Int64
from chronotope.contracts.queries import queries_at
from chronotope.metrics.place_error import evaluate_place
from chronotope.metrics.summary import (
    bootstrap_interval,
    hit_rate,
    ndcg,
    slice_masks,
    summarise_metrics,
)
from chronotope.metrics.time_calibration import LognormalMixture, TimeCalibration, evaluate_time
from chronotope.pipelines.evaluate_blocks import evaluate_baselines, evaluate_bundle
from chronotope.pipelines.holdout import CHALLENGER, evaluation_targets, frozen_folds
from chronotope.pipelines.process_cache import cached_features, process_cache
from chronotope.pipelines.settings import TrainSettings
from chronotope.runtime.engine import open_engine
from chronotope.runtime.stored_arrays import save_arrays

N_WHEN = 2_000
"""Targets on which *when* is judged."""

STAYING = "last place"
"""Who says that the next event is where the last one was."""

SPOTS = "spots.npz"
"""File with what the map shows."""

LEVELS = (0.5, 0.8, 0.95)
"""Nominal levels of the intervals of *when* whose coverage is reported."""


def evaluate_holdout(
    features: Path, settings: TrainSettings, run: Path, bundle: Path
) -> dict[str, Any]:
    """Metrics of all models; NDCG@10 of every target is kept for the gate, spots for the map.

    Returns:
        ``models`` (metrics by name), ``intervals`` (of NDCG@10 by name), ``when``, and
        ``evaluate_places``: of the challenger and of staying at the last place; empty without places.
    """
    with process_cache(), open_engine(settings.engine) as engine:
        log, catalog = cached_features(features.resolve())
        until_s = frozen_folds(run).holdout.train_end_s
        targets = evaluation_targets(log, settings, run)
        outcomes = evaluate_baselines(engine, features, until_s, targets)
        outcomes[CHALLENGER] = evaluate_bundle(engine, features, bundle, log, targets)
    challenger = open_bundle(bundle)
    values = {name: ndcg(found.rank, 10) for name, found in outcomes.items()}
    users = log.user_idx[targets]
    masks = {f"slice.{name}": of for name, of in slice_masks(outcomes[CHALLENGER]).items()}
    kept: dict[str, Any] = {"user": users, **values, **masks}
    save_arrays(run / "holdout.npz", **kept)
    hit = hit_rate(outcomes[CHALLENGER].rank, 10)
    save_arrays(run / SPOTS, spots=map_points(log.item_idx[targets], hit, catalog))
    return {
        "models": {name: _finite(summarise_metrics(found)) for name, found in outcomes.items()},
        "intervals": {name: _interval(of, users) for name, of in values.items()},
        **_when_and_where(challenger, log, targets, catalog),
    }


def _interval(values: Float64, users: Any) -> tuple[float, float]:
    found = bootstrap_interval(values, users, n=500)
    return found.low, found.high


def _when_and_where(
    model: BundleRecommender, log: EventLog, targets: Int64, catalog: Catalog
) -> dict[str, Any]:
    """How well the next event's time, in hours after the last one, and place are told."""
    some = targets[:: max(1, len(targets) // N_WHEN)]
    when, hours, likeliest, last = [], [], [], []
    for at in np.array_split(some, max(1, len(some) // 256)):
        queries = queries_at(log, at, history_len=model.history_len, time_given=False)
        said = model.answer(queries)
        when.append(said.when)
        known = np.arange(catalog.n_places) > 0
        places = np.where(known, said.place_scores, -np.inf)  # where none is known, the unknown
        likeliest.append(places.argmax(axis=1).astype(np.int32))
        last.append(queries.place_idx[:, -1])
        hours.append((log.occurred_s[at] - queries.occurred_s[:, -1]) / 3600.0)
    mixture = LognormalMixture.of_parts(np.concatenate(when))
    true = np.maximum(np.concatenate(hours), 0.0)
    told = {CHALLENGER: np.concatenate(likeliest), STAYING: np.concatenate(last)}
    return {
        "when": {
            **_plain(evaluate_time(mixture, true)),
            "coverage": interval_coverage(mixture, true),
        },
        "where": evaluate_places(told, log.place_idx[some], catalog)
        if catalog.n_places > 2
        else {},
    }


def evaluate_places(
    predicted: dict[str, Int32], true: Int32, catalog: Catalog
) -> dict[str, dict[str, float]]:
    """How right and how far off predicted places are, on targets whose place is known.

    Args:
        predicted: Place of each target by whom it was told, shape (n_targets,) each.
        true: Where each target was, shape (n_targets,); 0 if unknown.
        catalog: Coordinates of the places.

    Returns:
        ``accuracy``, ``n_targets`` and, where there are coordinates, ``median_km`` by whom.
    """
    known = true > 0
    if not known.any():
        return {}
    found = {
        name: evaluate_place(of[known], true[known], catalog) for name, of in predicted.items()
    }
    return {name: _finite(asdict(scores)) for name, scores in found.items()}


def interval_coverage(mixture: LognormalMixture, hours: Float64) -> list[tuple[float, float]]:
    """Nominal level and the share of true gaps inside the central interval of that level."""
    off_centre = np.abs(2 * mixture.cdf(hours) - 1)
    return [(level, float((off_centre <= level).mean())) for level in LEVELS]


def map_points(items: Int32, hit: Float64, catalog: Catalog) -> Float64:
    """Latitude, longitude, number of targets and share of hits of items that have a place."""
    n_targets = np.bincount(items, minlength=catalog.n_items)
    n_hits = np.bincount(items, weights=hit, minlength=catalog.n_items)
    located = np.isfinite(catalog.item_lat) & np.isfinite(catalog.item_lon)
    shown = np.flatnonzero((n_targets > 0) & located)
    found = (catalog.item_lat, catalog.item_lon, n_targets, n_hits / np.maximum(n_targets, 1))
    return np.column_stack([of[shown] for of in found])


def _plain(found: TimeCalibration) -> dict[str, Any]:
    return {
        name: value.tolist() if isinstance(value, np.ndarray) else value
        for name in found.__dataclass_fields__
        for value in [getattr(found, name)]
    }


def _finite(summary: dict[str, float]) -> dict[str, float]:
    return {name: value for name, value in summary.items() if np.isfinite(value)}
