"""Evaluation of a recommender: the rank of every target over the full catalogue."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from functools import partial
from typing import Self

import numpy as np
import numpy.typing as npt

from chronotope.contracts.errors import ConfigError, DataError
from chronotope.contracts.event_log import EventLog, Float64, Int32, Int64
from chronotope.contracts.protocols import Recommender
from chronotope.contracts.queries import Queries, queries_at
from chronotope.metrics.distinct_items import distinct_items
from chronotope.metrics.new_only import new_only_rank
from chronotope.metrics.next_basket import BASKET_METRICS, basket_metrics
from chronotope.metrics.ranking import expected_rank
from chronotope.metrics.target_spans import FirstEvents, TargetSpans
from chronotope.metrics.top_items import top_items

BATCH_SIZE = 256
"""Default number of queries scored together."""

COLD_BELOW = 5
"""Users and items with fewer earlier events than this are cold."""


_COUNTED_ROWS = 1 << 20
"""Rows of the log that are counted at a time."""


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """Rank and slice attributes of each target, in the order of the positions.

    Attributes:
        position: Position of the target in the log, shape (n_targets,).
        user: User index of the target, shape (n_targets,).
        rank: Expected rank of the true item, shape (n_targets,).
        is_return: The user had this item before the target's basket.
        n_history: The user's events before the target's basket.
        is_cold_item: The item had fewer than ``COLD_BELOW`` events before the first target.
        new_only_rank: Expected rank among the items that the user never had; NaN for a return.
        basket_size: Number of events in the target's basket.
        next_basket: ``BASKET_METRICS`` of the target's whole basket, shape
            (n_targets, len(BASKET_METRICS)); NaN where it has no item of the kind.
        coverage: Share of the catalogue that entered some top-k list; NaN if not measured.
    """

    position: Int64
    user: Int32
    rank: Float64
    is_return: npt.NDArray[np.bool_]
    n_history: Int64
    is_cold_item: npt.NDArray[np.bool_]
    new_only_rank: Float64
    basket_size: Int64
    next_basket: Float64
    coverage: float = float("nan")

    def __len__(self) -> int:
        """Number of targets."""
        return len(self.position)


def evaluate(
    model: Recommender,
    log: EventLog,
    positions: Int64,
    *,
    n_items: int,
    time_given: bool,
    place_given: bool = False,
    batch_size: int = BATCH_SIZE,
    rounds: Sequence[int] | None = None,
    coverage_k: int | None = None,
    cold_targets: npt.NDArray[np.bool_] | None = None,
) -> EvaluationResult:
    """Rank of the true item of every target, from the events before its basket.

    Histories are always live. Global state (counts, priors) is that of the fit, unless ``rounds``
    is given: then the model observes the log before each round's start, in time order.

    Args:
        model: A fitted recommender; changed only through ``observe``.
        log: All events.
        positions: Target events, shape (n_targets,).
        n_items: Size of the catalogue, the unknown included.
        time_given: Whether the query contains the request time.
        place_given: Whether the query contains the place of the request.
        batch_size: Queries scored together; memory is batch_size x n_items scores.
        rounds: Starts of the rounds, UTC seconds, increasing.
        coverage_k: Length of the lists whose coverage is measured; None skips it.
        cold_targets: Whether each target's item is cold; None for ``is_cold_item`` of the log.

    Raises:
        ConfigError: ``rounds`` is not increasing.
        DataError: The model's scores are NaN or have the wrong shape.
    """
    positions = np.asarray(positions, dtype=np.int64)
    spans, firsts = TargetSpans.of(log, positions), FirstEvents.of(log, positions)
    build_queries = partial(queries_at, log, history_len=model.history_len)
    ranked, is_covered = _Ranked.empty(len(positions)), np.zeros(n_items, np.bool_)
    for batch_idx in _batches(model, log, positions, spans.n_history, batch_size, rounds):
        targets, batch_spans = positions[batch_idx], spans.take(batch_idx)
        query_batch = build_queries(
            targets,
            time_given=time_given,
            place_given=place_given,
            target_starts=batch_spans[:2],
        )
        item_scores = _score_batch(model, query_batch, n_items)  # (B, n_items)
        ranked.put(batch_idx, _rank_batch(log, targets, batch_spans, firsts.is_first, item_scores))
        if coverage_k is not None:
            is_covered[top_items(item_scores, coverage_k)] = True
    return EvaluationResult(
        position=positions,
        user=log.user_idx[positions],
        is_return=firsts.of_target < spans.basket_start,
        n_history=spans.n_history,
        is_cold_item=is_cold_item(log, positions) if cold_targets is None else cold_targets,
        basket_size=spans.basket_end - spans.basket_start,
        **ranked.columns(),
        coverage=float("nan") if coverage_k is None else float(is_covered[1:].mean()),
    )


def is_cold_item(log: EventLog, positions: Int64) -> npt.NDArray[np.bool_]:
    """Whether each target's item had few events before the earliest target, shape (n_targets,).

    Args:
        log: All events.
        positions: Target events, shape (n_targets,).
    """
    first_target_s = log.occurred_s[positions].min(initial=np.iinfo(np.int64).max)
    n_events = np.zeros(int(log.item_idx.max(initial=0)) + 1, np.int64)
    for first_row in range(0, len(log), _COUNTED_ROWS):  # bincount copies its input to int64
        rows = slice(first_row, first_row + _COUNTED_ROWS)
        earlier_items = log.item_idx[rows][log.occurred_s[rows] < first_target_s]
        n_events += np.bincount(earlier_items, minlength=len(n_events))
    return np.asarray(n_events[log.item_idx[positions]] < COLD_BELOW, dtype=np.bool_)


@dataclass(frozen=True, slots=True)
class _Ranked:
    """What the scores of targets are worth: fields of ``EvaluationResult``, one row a target."""

    rank: Float64
    new_only_rank: Float64
    next_basket: Float64

    @classmethod
    def empty(cls, n_targets: int) -> Self:
        """Rows to be filled."""
        ranks = np.empty((2, n_targets))
        return cls(ranks[0], ranks[1], np.empty((n_targets, len(BASKET_METRICS))))

    def columns(self) -> dict[str, Float64]:
        """The fields by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def put(self, row_idx: Int64, batch: Self) -> None:
        """Fill some rows with those of a batch."""
        for name, values in batch.columns().items():
            getattr(self, name)[row_idx] = values


def _rank_batch(
    log: EventLog,
    targets: Int64,
    spans: TargetSpans,
    is_first: npt.NDArray[np.bool_],
    item_scores: npt.NDArray[np.floating],
) -> _Ranked:
    """Rank of each target, among all items and among new ones, and metrics of its basket."""
    target_items = log.item_idx[targets]
    target_ranks = expected_rank(item_scores, target_items)
    n_items = item_scores.shape[1]
    owned = distinct_items(
        log, spans.user_start, spans.basket_start, n_items=n_items, is_first=is_first
    )
    basket = distinct_items(log, spans.basket_start, spans.basket_end, n_items=n_items)
    return _Ranked(
        rank=target_ranks,
        new_only_rank=new_only_rank(item_scores, target_items, target_ranks, owned),
        next_basket=basket_metrics(item_scores, basket, owned),
    )


def _score_batch(model: Recommender, queries: Queries, n_items: int) -> npt.NDArray[np.floating]:
    """Scores of a batch, their shape checked, shape (B, n_items)."""
    item_scores = model.scores(queries)
    if item_scores.shape != (len(queries), n_items):
        raise DataError(
            f"{model.name} must score shape ({len(queries)}, {n_items})",
            received=item_scores.shape,
        )
    return item_scores


def _batches(
    model: Recommender,
    log: EventLog,
    positions: Int64,
    n_history: Int64,
    batch_size: int,
    rounds: Sequence[int] | None,
) -> Iterator[Int64]:
    """Batches of target indices, sorted by round and then by history length."""
    round_starts = np.asarray([] if rounds is None else rounds, dtype=np.int64)
    if (np.diff(round_starts) <= 0).any():
        raise ConfigError("Rounds must be increasing instants in UTC seconds", received=rounds)
    target_round = np.searchsorted(round_starts, log.occurred_s[positions], side="right")
    target_order = np.lexsort((n_history, target_round))
    round_bounds = np.searchsorted(target_round[target_order], np.arange(len(round_starts) + 2))
    for round_idx in range(len(round_starts) + 1):
        round_targets = target_order[round_bounds[round_idx] : round_bounds[round_idx + 1]]
        if round_idx > 0 and len(round_targets):
            model.observe(log.before(int(round_starts[round_idx - 1])))
        for batch_start in range(0, len(round_targets), batch_size):
            yield round_targets[batch_start : batch_start + batch_size]
