"""Batches of queries: each is a user's history and a request time to predict the next event at."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import EventLog, Float32, Int32, Int64
from chronotope.contracts.ids import UNKNOWN

CONTEXT: Final = "context."
"""Prefix of context columns in ``Queries.arrays``."""

PLACE_HALF_LIFE_D: Final = 30.0
"""Days in which a visit loses half its weight in the place that is expected of a request."""


@dataclass(frozen=True, slots=True)
class Queries:
    """Batch of B queries, each with a history of at most H events.

    Histories are right-aligned: column H - 1 is the latest event; padding is on the
    left and has ``item_idx == 0``.

    Attributes:
        user_idx: User index, shape (B,); 0 for a cold-start user.
        item_idx: Item indices of the history, shape (B, H).
        occurred_s: Event times of the history, UTC seconds, shape (B, H); 0 in padding.
        utc_offset_min: UTC offsets of the history, minutes, shape (B, H).
        place_idx: Place indices of the history, shape (B, H).
        request_s: Request time, UTC seconds, shape (B,). If the time is hidden, the time of
            the last event, or 0 for an empty history.
        request_offset_min: UTC offset of the request, minutes, shape (B,).
        request_place_idx: Place index of the request, shape (B,); 0 if unknown.
        time_given: Whether ``request_s`` is the true request time, shape (B,).
        context: Context columns of the request by name, such as the weather, float32,
            shape (B,) each; NaN if unknown. An absent column is unknown.
        context_item_idx: Items whose item context differs from the defaults, shape (B, P), 0 in
            padding; None if nothing is known.
        context_levels: Levels of these items, shape (B, P, n_columns); None with it.
    """

    user_idx: Int32
    item_idx: Int32
    occurred_s: Int64
    utc_offset_min: Int32
    place_idx: Int32
    request_s: Int64
    request_offset_min: Int32
    request_place_idx: Int32
    time_given: npt.NDArray[np.bool_]
    context: dict[str, Float32] = field(default_factory=dict)
    context_item_idx: Int32 | None = None
    context_levels: Int32 | None = None

    def __len__(self) -> int:
        """Number of queries."""
        return len(self.user_idx)

    def arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays by field name; a context column NAME is called ``context.NAME``."""
        plain_arrays = {
            data_field.name: getattr(self, data_field.name)
            for data_field in fields(self)
            if data_field.name != "context" and getattr(self, data_field.name) is not None
        }
        return plain_arrays | {
            f"{CONTEXT}{array_name}": column for array_name, column in self.context.items()
        }

    @classmethod
    def of_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]]) -> Self:
        """Queries from the named arrays that ``arrays`` returns."""
        plain_arrays = {
            array_name: column_values
            for array_name, column_values in arrays.items()
            if not array_name.startswith(CONTEXT)
        }
        context = {
            array_name.removeprefix(CONTEXT): np.asarray(column_values, dtype=np.float32)
            for array_name, column_values in arrays.items()
            if array_name.startswith(CONTEXT)
        }
        return cls(**plain_arrays, context=context)

    def take(self, row_idx: npt.NDArray[np.integer] | slice) -> Self:
        """Queries of the chosen rows."""
        return self.of_arrays(
            {
                array_name: column_values[row_idx]
                for array_name, column_values in self.arrays().items()
            }
        )


def queries_at(
    log: EventLog,
    positions: Int64,
    *,
    history_len: int | None,
    time_given: bool,
    place_given: bool = False,
    start_positions: tuple[Int64, Int64] | None = None,
    target_starts: tuple[Int64, Int64] | None = None,
) -> Queries:
    """Queries whose targets are chosen events of a log, with the history before each target.

    Args:
        log: The whole log; only events before the target's basket enter a history.
        positions: Positions of the target events in ``log``, shape (B,).
        history_len: Maximum history length H; None keeps every event (H is then the
            longest history among the targets, at least 1).
        time_given: Whether the query contains the target's time and context; otherwise only
            the time of the last event.
        place_given: Whether the query contains the target's place.
        start_positions: ``(log.user_start(), log.basket_start())``, to save two passes.
        target_starts: The same of the targets alone, shape (B,) each.

    Returns:
        B queries without any information from after the target's time.
    """
    positions = np.asarray(positions, dtype=np.int64)
    first_position, end_position = target_starts or _target_starts(log, positions, start_positions)
    longest_history = int((end_position - first_position).max(initial=1))
    history_width = max(1, min(longest_history, history_len or longest_history))
    event_positions = end_position[:, None] - history_width + np.arange(history_width)  # (B, H)
    is_event = event_positions >= first_position[:, None]
    event_positions = np.where(is_event, event_positions, 0)

    def gather(column: Int32) -> Int32:
        return np.where(is_event, column[event_positions], np.int32(UNKNOWN))

    has_past = end_position > first_position
    last_position = np.where(has_past, end_position - 1, positions)
    anchor_position = positions if time_given else last_position
    has_request_s = has_past | time_given  # a hidden time must not leak into an empty history
    places = log.place_idx[positions] if place_given else np.zeros_like(log.place_idx[positions])
    known_context = (
        {n: values[positions] for n, values in log.context.items()} if time_given else {}
    )
    query_batch = Queries(
        user_idx=log.user_idx[positions],
        item_idx=gather(log.item_idx),
        occurred_s=np.where(is_event, log.occurred_s[event_positions], np.int64(0)),
        utc_offset_min=gather(log.utc_offset_min),
        place_idx=gather(log.place_idx),
        request_s=np.where(has_request_s, log.occurred_s[anchor_position], np.int64(0)),
        request_offset_min=np.where(
            has_request_s, log.utc_offset_min[anchor_position], np.int32(0)
        ),
        request_place_idx=places,
        time_given=np.full(len(positions), time_given),
        context=known_context,
    )
    return _with_item_context(query_batch, log) if time_given else query_batch


def _target_starts(
    log: EventLog, positions: Int64, start_positions: tuple[Int64, Int64] | None
) -> tuple[Int64, Int64]:
    """Position of the first event of each target's user and of its basket, shape (B,) each."""
    user_start, basket_start = start_positions or (log.user_start(), log.basket_start())
    return user_start[positions], basket_start[positions]


def _with_item_context(queries: Queries, log: EventLog) -> Queries:
    """The queries with the item context of their moments and places."""
    if log.item_context is None:
        return queries
    rows = log.item_context.at(expected_places(queries), queries.request_s)
    return replace(queries, context_item_idx=rows.item_idx, context_levels=rows.levels)


def expected_places(queries: Queries) -> Int32:
    """Place of each request: the given one, else the user's most frequent one, shape (B,).

    Events count by age, with a half-life of ``PLACE_HALF_LIFE_D`` days; 0 without any.
    """
    places = queries.place_idx.astype(np.int64)
    age_d = (queries.request_s[:, None] - queries.occurred_s) / 86_400
    weights = np.where(places > 0, 0.5 ** np.clip(age_d / PLACE_HALF_LIFE_D, 0.0, 500.0), 0.0)
    row = np.arange(len(queries))[:, None]
    pairs, pair_idx = np.unique(row * (places.max(initial=0) + 1) + places, return_inverse=True)
    pair_weights = np.bincount(pair_idx.ravel(), weights.ravel(), minlength=len(pairs))
    pair_row, pair_place = np.divmod(pairs, places.max(initial=0) + 1)
    order = np.lexsort((pair_weights, pair_row))  # the heaviest one of each row last
    last_of_row = np.searchsorted(pair_row[order], np.arange(len(queries)), side="right") - 1
    frequent = pair_place[order][last_of_row].astype(np.int32)
    return np.where(queries.request_place_idx != UNKNOWN, queries.request_place_idx, frequent)
