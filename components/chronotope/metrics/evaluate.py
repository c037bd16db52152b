"""The one evaluator: every target against the full catalogue, batch by batch."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from chronotope.contracts.errors import ConfigError, DataError
from chronotope.contracts.event_log import EventLog, Float64, Int32, Int64
from chronotope.contracts.protocols import Recommender
from chronotope.contracts.queries import queries_at
from chronotope.metrics.ranking import expected_rank

BATCH = 256
"""Queries scored together."""

COLD_BELOW = 5
"""Users and items with fewer earlier events than this are cold."""


@dataclass(frozen=True, slots=True)
class EvaluationResult:
    """What happened at each target, in the order the positions were given.

    Attributes:
        position: Position of the target in the log, shape (n_targets,).
        user: Who, shape (n_targets,).
        rank: Expected rank of the true item, shape (n_targets,).
        is_return: The user had this item before the target's basket.
        n_history: The user's events before the target's basket.
        is_cold_item: The item had fewer than ``COLD_BELOW`` events before the first target.
        coverage: Share of the catalogue that entered some top-k list; NaN if not asked for.
    """

    position: Int64
    user: Int32
    rank: Float64
    is_return: npt.NDArray[np.bool_]
    n_history: Int64
    is_cold_item: npt.NDArray[np.bool_]
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
    batch_size: int = BATCH,
    rounds: Sequence[int] | None = None,
    coverage_k: int | None = None,
    cold_before_s: int | None = None,
) -> EvaluationResult:
    """Rank the true item of every target, knowing only what came before its basket.

    Histories are always live. Global state (counts, priors) is what the model was
    fitted on, unless ``rounds`` is given: then targets go in time order and before
    each round the model observes the log strictly before the round's start.

    Args:
        model: A fitted recommender; changed only through ``observe``.
        log: The whole log.
        positions: Target events, shape (n_targets,).
        n_items: Size of the catalogue, the unknown included.
        time_given: Tell the model the moment of the request.
        place_given: Tell the model the place of the request.
        batch_size: Queries scored together; memory is batch_size x n_items scores.
        rounds: Starts of the rounds, UTC seconds, increasing.
        coverage_k: Length of the lists whose coverage is measured; None skips it.
        cold_before_s: Items with few events before this are cold, UTC seconds; by default
            the earliest target.

    Returns:
        Outcomes in the order of ``positions``.

    Raises:
        ConfigError: ``rounds`` is not increasing.
        DataError: The model's scores are NaN or have the wrong shape.
    """
    positions = np.asarray(positions, dtype=np.int64)
    starts = (log.user_start(), log.basket_start())
    n_history = (starts[1] - starts[0])[positions]
    rank = np.empty(len(positions), dtype=np.float64)
    seen = np.zeros(n_items, dtype=np.bool_)
    for rows in _batches(model, log, positions, n_history, batch_size, rounds):
        queries = queries_at(
            log,
            positions[rows],
            history_len=model.history_len,
            time_given=time_given,
            place_given=place_given,
            starts=starts,
        )
        scores = model.scores(queries)
        if scores.shape != (len(rows), n_items):
            raise DataError(
                f"{model.name} must score shape ({len(rows)}, {n_items})", received=scores.shape
            )
        rank[rows] = expected_rank(scores, log.item_idx[positions[rows]])
        if coverage_k is not None:
            seen[top_items(scores, coverage_k)] = True
    return EvaluationResult(
        position=positions,
        user=log.user_idx[positions],
        rank=rank,
        is_return=_first_of_pair(log)[positions] < starts[1][positions],
        n_history=n_history,
        is_cold_item=_cold_items(log, positions, n_items, cold_before_s)[log.item_idx[positions]],
        coverage=float("nan") if coverage_k is None else float(seen[1:].mean()),
    )


def first_target_s(log: EventLog, positions: Int64) -> int:
    """When the earliest target happened, UTC seconds."""
    return int(log.occurred_s[positions].min(initial=np.iinfo(np.int64).max))


def _batches(
    model: Recommender,
    log: EventLog,
    positions: Int64,
    n_history: Int64,
    batch_size: int,
    rounds: Sequence[int] | None,
) -> Iterator[Int64]:
    """Rows of ``positions`` batch by batch, like lengths together, rounds in order."""
    begins = np.asarray([] if rounds is None else rounds, dtype=np.int64)
    if (np.diff(begins) <= 0).any():
        raise ConfigError("Rounds must be increasing instants in UTC seconds", received=rounds)
    round_of = np.searchsorted(begins, log.occurred_s[positions], side="right")
    order = np.lexsort((n_history, round_of))
    bounds = np.searchsorted(round_of[order], np.arange(len(begins) + 2))
    for number in range(len(begins) + 1):
        rows = order[bounds[number] : bounds[number + 1]]
        if number > 0 and len(rows):
            model.observe(log.before(int(begins[number - 1])))
        for at in range(0, len(rows), batch_size):
            yield rows[at : at + batch_size]


def _first_of_pair(log: EventLog) -> Int64:
    """Position of the first event of each event's (user, item) pair, shape (n_events,)."""
    order = np.lexsort((np.arange(len(log)), log.item_idx, log.user_idx))
    user, item = log.user_idx[order], log.item_idx[order]
    is_new = np.ones(len(log), dtype=np.bool_)
    is_new[1:] = (user[1:] != user[:-1]) | (item[1:] != item[:-1])
    first = np.empty(len(log), dtype=np.int64)
    first[order] = order[np.flatnonzero(is_new)[np.cumsum(is_new) - 1]]
    return first


def _cold_items(
    log: EventLog, positions: Int64, n_items: int, before_s: int | None
) -> npt.NDArray[np.bool_]:
    """Whether each item had few events by then, shape (n_items,)."""
    if before_s is None:
        before_s = first_target_s(log, positions)
    known = log.occurred_s < before_s
    counts = np.bincount(log.item_idx[known], minlength=n_items)
    return np.asarray(counts < COLD_BELOW, dtype=np.bool_)


def top_items(scores: npt.NDArray[np.floating], k: int) -> Int64:
    """Items of the k highest scores of each row, the unknown excluded."""
    k = min(k, scores.shape[1] - 1)
    return np.argpartition(-scores[:, 1:], k - 1, axis=1)[:, :k].astype(np.int64) + 1
