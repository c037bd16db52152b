"""How unlikely an event is to a recommender: its item and its time, given the user's past.

The p-value of an item is the probability of all items that are at most as likely as it, that of a
time the two-sided tail of the predicted gap. Their -log is 1 on average if the recommender is
right, so that they add up (Fisher's method). A stolen account shows in a run of unlikely items, a
flood in an item that unlikely users come to: means over the latest events are features as well.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from chronotope.anomalies.behaviour_features import FeatureTable
from chronotope.anomalies.behaviour_log import BehaviourLog
from chronotope.anomalies.time_windows import KeyedEvents
from chronotope.artifact.bundle import read_vocabulary
from chronotope.artifact.onnx_recommender import ModelOutput
from chronotope.artifact.open_bundle import open_bundle
from chronotope.artifact.remapped import RemappedRecommender
from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int64
from chronotope.contracts.ids import IdMap
from chronotope.contracts.queries import Queries, queries_at
from chronotope.metrics import LognormalMixture

UNLIKELY_ITEM: Final = "unlikely_item"
UNLIKELY_TIME: Final = "unlikely_time"
UNLIKELY_EVENT: Final = "unlikely_event"
UNLIKELY_USER_RUN: Final = "unlikely_items_of_user"
UNLIKELY_ITEM_RUN: Final = "unlikely_users_of_item"
RECOMMENDER_FEATURES: Final = (
    UNLIKELY_ITEM,
    UNLIKELY_TIME,
    UNLIKELY_EVENT,
    UNLIKELY_USER_RUN,
    UNLIKELY_ITEM_RUN,
)
"""Features of an event: -log p of its item, of its time and of both; means of runs of items."""

N_USER_RUN: Final = 5
N_ITEM_RUN: Final = 8
"""Latest events of a user, and of an item, that a run is the mean of; the event is the last."""

_UNKNOWN: Final = 1.0
"""-log p of what the recommender cannot judge: the mean of a uniform p."""

_MIN_P: Final = 1e-6
_BATCH_SCORES: Final = 4_000_000
_MAX_BATCH: Final = 256


class EventScorer(Protocol):
    """Recommender that scores the items and the gap of the next event."""

    @property
    def history_len(self) -> int | None:
        """Number of past events that it reads."""

    def answer(self, queries: Queries) -> ModelOutput:
        """Scores of the items and mixture of the gap."""


@dataclass(frozen=True, slots=True)
class EventSurprise:
    """-log p of events to a recommender.

    Attributes:
        item: Of their items, shape (n_events,).
        time: Of their times, shape (n_events,).
    """

    item: Float64
    time: Float64


def event_surprise(recommender: EventScorer, event_log: EventLog, rows: Int64) -> EventSurprise:
    """Surprise of some events of a log, each from the events of its user before it.

    Costs one inference for each event, in batches.

    Args:
        recommender: In the indices of the log.
        event_log: The log; its places are its items in a log of check-ins, else 0.
        rows: Positions of the events, shape (n,).
    """
    start_positions = (event_log.user_start(), event_log.basket_start())
    batch_size, item_surprise, time_surprise = _MAX_BATCH, np.empty(len(rows)), np.empty(len(rows))
    start = 0
    while start < len(rows):
        batch_rows = rows[start : start + batch_size]
        query_batch = queries_at(
            event_log,
            batch_rows,
            history_len=recommender.history_len,
            time_given=True,
            start_positions=start_positions,
        )
        # a user is known by the history alone, so that live and past events score alike
        output = recommender.answer(
            replace(query_batch, user_idx=np.zeros_like(query_batch.user_idx))
        )
        done = slice(start, start + len(batch_rows))
        item_surprise[done] = _item_surprise(output, event_log.item_idx[batch_rows])
        time_surprise[done] = _time_surprise(output, query_batch)
        start += len(batch_rows)
        batch_size = int(np.clip(_BATCH_SCORES // output.item_scores.shape[1], 1, _MAX_BATCH))
    return EventSurprise(item_surprise, time_surprise)


def recommender_features(
    recommender: EventScorer, event_log: EventLog, rows: Int64
) -> FeatureTable:
    """``RECOMMENDER_FEATURES`` of some events.

    Args:
        recommender: In the indices of the log.
        event_log: The log.
        rows: Positions of the events, shape (n,).
    """
    runs = [
        KeyedEvents.by(key, event_log.occurred_s).latest_rows(rows, n_events)
        for key, n_events in ((event_log.user_idx, N_USER_RUN), (event_log.item_idx, N_ITEM_RUN))
    ]
    needed_rows = np.unique(np.concatenate([rows, *(run[run >= 0] for run in runs)]))
    surprise = event_surprise(recommender, event_log, needed_rows)
    position = np.searchsorted(needed_rows, rows)
    run_means = [_run_mean(surprise.item, np.searchsorted(needed_rows, run), run) for run in runs]
    return surprise_table(
        EventSurprise(surprise.item[position], surprise.time[position]), *run_means
    )


def surprise_table(surprise: EventSurprise, user_run: Float64, item_run: Float64) -> FeatureTable:
    """``RECOMMENDER_FEATURES`` from their parts, shape (n,) each.

    Args:
        surprise: Of the events.
        user_run: Mean surprise of the latest items of their users.
        item_run: Mean surprise of their items to their latest users.
    """
    columns = (surprise.item, surprise.time, surprise.item + surprise.time, user_run, item_run)
    return FeatureTable(RECOMMENDER_FEATURES, np.stack(columns, axis=1).astype(np.float32))


def with_places(behaviour: BehaviourLog) -> EventLog:
    """The log, with the items as places where they have coordinates."""
    if behaviour.places is None:
        return behaviour.log
    return replace(behaviour.log, place_idx=behaviour.log.item_idx)


def behaviour_catalog(behaviour: BehaviourLog) -> Catalog:
    """Catalogue of the items of a log.

    Args:
        behaviour: The log.
    """
    n_items, no_ids = behaviour.items.size, IdMap.of([])
    has_places = behaviour.places is not None
    lat_deg, lon_deg = (
        (np.full(n_items, np.nan), np.full(n_items, np.nan))
        if behaviour.places is None
        else (behaviour.places.lat, behaviour.places.lon)
    )
    return Catalog(
        users=behaviour.users,
        items=behaviour.items,
        places=behaviour.items if has_places else no_ids,
        categories=no_ids,
        item_category=np.zeros(n_items, np.int32),
        item_lat=lat_deg,
        item_lon=lon_deg,
        place_lat=lat_deg if has_places else np.full(1, np.nan),
        place_lon=lon_deg if has_places else np.full(1, np.nan),
        items_are_places=has_places,
    )


def open_recommender(bundle_dir: Path, catalog: Catalog) -> RemappedRecommender:
    """The recommender of a detector, in the indices of a catalogue.

    Args:
        bundle_dir: Its bundle.
        catalog: Ids of the events to score.

    Raises:
        ArtifactError: The bundle is damaged.
    """
    return RemappedRecommender(_opened(bundle_dir), read_vocabulary(bundle_dir), catalog)


_opened = lru_cache(maxsize=2)(open_bundle)


def _item_surprise(output: ModelOutput, item_idx: np.ndarray) -> Float64:
    """-log of the probability of the items at most as likely as the one chosen, shape (n,)."""
    item_scores = output.item_scores
    own_score = item_scores[np.arange(len(item_scores)), item_idx]
    weight = np.exp(item_scores - item_scores.max(axis=1, keepdims=True))
    is_as_unlikely = item_scores <= own_score[:, None] + 1e-6
    p_value = (weight * is_as_unlikely).sum(axis=1) / weight.sum(axis=1)
    is_known = (item_idx > 0) & np.isfinite(own_score)
    surprise: Float64 = np.where(is_known, -np.log(np.maximum(p_value, _MIN_P)), _UNKNOWN)
    return surprise


def _time_surprise(output: ModelOutput, queries: Queries) -> Float64:
    """-log of the two-sided tail of the gap to the last event, shape (n,)."""
    gap_h = (queries.request_s - queries.occurred_s[:, -1]) / 3600
    cdf = LognormalMixture.of_parts(output.when).cdf(np.maximum(gap_h, 1 / 3600))
    p_value = np.clip(2 * np.minimum(cdf, 1 - cdf), _MIN_P, 1.0)
    has_history = queries.item_idx[:, -1] > 0
    surprise: Float64 = np.where(has_history, -np.log(p_value), _UNKNOWN)
    return surprise


def _run_mean(values: Float64, position: Int64, run: Int64) -> Float64:
    """Mean over the events of each run; -1 stands for none, shape (n,)."""
    is_event = run >= 0
    total = np.where(is_event, values[np.minimum(position, len(values) - 1)], 0.0).sum(axis=1)
    return np.asarray(total / is_event.sum(axis=1))
