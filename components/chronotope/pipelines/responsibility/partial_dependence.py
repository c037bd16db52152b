"""Partial dependence of the predictions on the hour, the gap and the distance.

The mean over queries of a probability, with one input set to each value in turn and all others as
they are. The hour is moved by the clock of the request alone, so that gaps stay; a gap is set
between the latest event and the request.

Source:
    Friedman (2001), Greedy Function Approximation: A Gradient Boosting Machine, section 8.2.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np

from chronotope.artifact.indexed_recommender import IndexedRecommender
from chronotope.artifact.open_bundle import open_bundle
from chronotope.contracts.event_log import Catalog, Float32, Float64, Int64
from chronotope.contracts.queries import Queries, queries_at
from chronotope.features.snapshot import load_features
from chronotope.pipelines.holdout import evaluation_targets
from chronotope.pipelines.settings import TrainSettings
from chronotope.report.report_data import DependenceCurve
from chronotope.spacetime.distances import haversine_km

HOURS: Final = tuple(range(0, 24, 2))
GAPS_H: Final = (0.25, 1, 3, 6, 12, 24, 48, 96, 168, 336)
EDGES_KM: Final = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, np.inf)
MAX_QUERIES: Final = 200
MAX_SCORES: Final = 400_000
"""Scores of one run of the graph."""

MAX_ALL_SCORES: Final = 20_000_000
"""Scores of a curve, so that a large catalogue takes seconds: it gets fewer queries."""

HOUR_S: Final = 3600
DAY_MIN: Final = 1440
OWN: Final = "an item of the history"
TARGET: Final = "the item that came"
NEW: Final = "a new item, relative to all new items"

Score = Callable[[Queries], Float32]


class DependenceSample(NamedTuple):
    """Queries whose predictions are averaged.

    Attributes:
        score: Logits of a batch of queries, shape (B, n_items).
        queries: Queries with a history.
        target_idx: Item that came, shape (B,).
        n_items: Size of the catalogue.
    """

    score: Score
    queries: Queries
    target_idx: Int64
    n_items: int

    def probabilities(self, queries: Queries) -> Iterator[tuple[slice, Float64]]:
        """Rows, and probabilities of their items, shape (b, n_items), block by block."""
        n_rows = max(1, MAX_SCORES // self.n_items)
        for start in range(0, len(queries), n_rows):
            rows = slice(start, min(start + n_rows, len(queries)))
            logits = self.score(queries.take(rows)).astype(np.float64)
            logits[:, 0] = -np.inf
            exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
            yield rows, exponentials / exponentials.sum(axis=1, keepdims=True)

    def own_mask(self, rows: slice) -> Float64:
        """1 at items of the history, shape (b, n_items)."""
        item_idx = self.queries.item_idx[rows]
        mask = np.zeros((len(item_idx), self.n_items))
        mask[np.arange(len(item_idx))[:, None], item_idx] = 1.0
        mask[:, 0] = 0.0
        return mask


def holdout_dependences(
    features: Path, settings: TrainSettings, run_dir: Path, bundle: Path
) -> tuple[DependenceCurve, ...]:
    """Curves of a bundle on a sample of the holdout; none for a catalogue ranked by an index.

    Args:
        features: Feature snapshot.
        settings: Settings of the training.
        run_dir: Its folder, with the frozen folds.
        bundle: Folder of the compressed model.
    """
    model = open_bundle(bundle)
    if isinstance(model, IndexedRecommender):
        return ()
    log, item_catalog = load_features(features)
    targets = evaluation_targets(log, settings, run_dir)
    targets = targets[log.basket_start()[targets] > log.user_start()[targets]]
    n_steps = len(HOURS) + len(GAPS_H)
    n_queries = int(np.clip(MAX_ALL_SCORES // (n_steps * item_catalog.n_items), 16, MAX_QUERIES))
    chosen = np.random.default_rng(settings.training.seed).permutation(targets)[:n_queries]
    if not len(chosen):
        return ()
    query_batch = queries_at(log, chosen, history_len=model.history_len, time_given=True)

    def score(batch: Queries) -> Float32:
        return model.answer(batch).item_scores

    target_idx = log.item_idx[chosen].astype(np.int64)
    sample = DependenceSample(score, query_batch, target_idx, item_catalog.n_items)
    return partial_dependences(sample, item_catalog)


def partial_dependences(sample: DependenceSample, catalog: Catalog) -> tuple[DependenceCurve, ...]:
    """Curves over the hour, the gap, and the distance where items have coordinates.

    Args:
        sample: Queries and their model.
        catalog: Coordinates of the items.
    """
    hour_labels = [f"{hour:02d}:00" for hour in HOURS]
    gap_labels = [f"{gap:g} h" if gap < 48 else f"{gap / 24:g} d" for gap in GAPS_H]
    curves = [
        _moved_curve(sample, "hour of the request", hour_labels, at_hours(sample.queries)),
        _moved_curve(sample, "time since the latest event", gap_labels, at_gaps(sample.queries)),
    ]
    if np.isfinite(catalog.item_lat).any():
        curves.append(_distance_curve(sample, catalog))
    return tuple(curves)


def at_hours(queries: Queries) -> Iterator[Queries]:
    """The queries with the clock of the request at each of ``HOURS``.

    Args:
        queries: B queries.
    """
    local_min = queries.request_s // 60 + queries.request_offset_min
    for hour in HOURS:
        shift_min = (60 * hour - local_min) % DAY_MIN
        shift_min = np.where(shift_min > DAY_MIN // 2, shift_min - DAY_MIN, shift_min)
        offset_min = (queries.request_offset_min + shift_min).astype(np.int32)
        yield replace(queries, request_offset_min=offset_min)


def at_gaps(queries: Queries) -> Iterator[Queries]:
    """The queries each of ``GAPS_H`` after their latest event.

    Args:
        queries: B queries with a history.
    """
    for gap_h in GAPS_H:
        request_s = queries.occurred_s[:, -1] + int(gap_h * HOUR_S)
        yield replace(queries, request_s=request_s.astype(np.int64))


def _moved_curve(
    sample: DependenceSample, quantity: str, steps: Sequence[str], moved: Iterator[Queries]
) -> DependenceCurve:
    own_means, target_means = [], []
    for query_batch in moved:
        own, target = 0.0, 0.0
        for rows, probability in sample.probabilities(query_batch):
            own += float((probability * sample.own_mask(rows)).sum())
            target_idx = sample.target_idx[rows]
            target += float(probability[np.arange(len(target_idx)), target_idx].sum())
        own_means.append(own / len(query_batch))
        target_means.append(target / len(query_batch))
    return DependenceCurve(
        quantity=quantity,
        steps=tuple(steps),
        lines={OWN: tuple(own_means), TARGET: tuple(target_means)},
        note=f"Mean probability over {len(sample.queries)} targets of the holdout.",
    )


def _distance_curve(sample: DependenceSample, catalog: Catalog) -> DependenceCurve:
    """Mean probability of new items by their distance from the latest item."""
    n_bins = len(EDGES_KM) - 1
    totals, counts = np.zeros(n_bins), np.zeros(n_bins)
    for rows, probability in sample.probabilities(sample.queries):
        last_idx = sample.queries.item_idx[rows, -1]
        distance_km = haversine_km(
            lat=catalog.item_lat[last_idx][:, None],
            lon=catalog.item_lon[last_idx][:, None],
            to_lat=catalog.item_lat[None],
            to_lon=catalog.item_lon[None],
        )  # (b, n_items)
        is_new = (sample.own_mask(rows) == 0.0) & np.isfinite(distance_km)
        is_new[:, 0] = False
        bin_idx = np.digitize(distance_km[is_new], EDGES_KM[1:-1])
        totals += np.bincount(bin_idx, probability[is_new], n_bins)
        counts += np.bincount(bin_idx, minlength=n_bins)
    mean = totals.sum() / max(1.0, counts.sum())
    values = [
        float(total / count / mean) if count and mean else None
        for total, count in zip(totals, counts, strict=True)
    ]
    steps = [f"to {edge:g} km" for edge in EDGES_KM[1:-1]] + [f"over {EDGES_KM[-2]:g} km"]
    return DependenceCurve(
        quantity="distance from the latest item",
        steps=tuple(steps),
        lines={NEW: tuple(values)},
        note="1 is the mean probability of all new items; an association, since near places may "
        "also be popular.",
    )
