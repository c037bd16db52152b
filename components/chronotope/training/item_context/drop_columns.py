"""Worth of each column of the item context on later time; a column without worth is dropped.

The network is trained on all columns. On targets later than its training each column in turn is
left at its default, and the reciprocal rank that this loses is measured at all targets, and at
discoveries among the items that are new to the user. A column stays if one of the two intervals
lies above zero and the other does not lie below it.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt
import torch

from chronotope.content.column_worth import ColumnWorth
from chronotope.contracts.event_log import Catalog, EventLog, Int64
from chronotope.contracts.queries import Queries
from chronotope.metrics import EvaluationResult, bootstrap_interval, evaluate
from chronotope.models.batch import to_batch
from chronotope.models.item_context import ItemContextHead
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import Priors
from chronotope.training.config import TrainingConfig
from chronotope.training.prequential import MIN_WIDTH

_LOG = logging.getLogger(__name__)

BATCH_SIZE: Final = 64


@dataclass(frozen=True, slots=True)
class _LaterModel:
    """A network with the priors before the targets, as the evaluator calls it."""

    net: ChronotopeNet
    priors: Priors
    name: str = "later"

    def fit(self, log: EventLog, catalog: Catalog) -> Self:  # noqa: ARG002
        """No operation: the network is trained."""
        return self

    def observe(self, log: EventLog) -> None:
        """No operation: the priors are those before the targets."""

    @property
    def history_len(self) -> int:
        return self.net.config.history_len

    def scores(self, queries: Queries) -> npt.NDArray[np.floating]:
        width = max(MIN_WIDTH, queries.item_idx.shape[1])
        batch = to_batch(queries, width, self.net.config.context)
        with torch.no_grad():
            return self.net.item_scores(batch, self.priors).numpy()


def drop_columns_without_worth(
    net: ChronotopeNet, log: EventLog, positions: Int64, priors: Priors, config: TrainingConfig
) -> tuple[ColumnWorth, ...]:
    """Measure every column that a network reads, and drop those without worth, in place.

    Args:
        net: The network, trained on events before the targets.
        log: The training log.
        positions: Later targets.
        priors: Priors counted before them.
        config: Number of targets, 0 keeps all columns unmeasured; and seed of their sample.

    Returns:
        Worth of each column; none for a network without item context.
    """
    head = net.item_context_head
    if head is None or config.item_context_targets == 0:
        return ()
    was_training = net.training
    net.eval()
    model = _LaterModel(net, priors)
    if len(positions) > config.item_context_targets:
        random_generator = np.random.default_rng(config.seed)
        positions = np.sort(
            random_generator.choice(positions, config.item_context_targets, replace=False)
        )
    with_all = _evaluate(model, log, positions)
    worth = []
    for name in net.config.item_context:
        with _without(head, name):
            worth.append(_worth(name, with_all, _evaluate(model, log, positions)))
    kept = tuple(column.name for column in worth if column.helps)
    _LOG.info("Item context: %s", [asdict(column) for column in worth])
    net.config = net.config.model_copy(update={"item_context": kept})
    if kept:
        head.is_read.mul_(head.mask_of(kept))
    else:
        net.item_context_head = None
    net.train(was_training)
    return tuple(worth)


def _evaluate(model: _LaterModel, log: EventLog, positions: Int64) -> EvaluationResult:
    n_items = model.net.item_tables.n_items
    return evaluate(model, log, positions, n_items=n_items, time_given=True, batch_size=BATCH_SIZE)


def _worth(name: str, with_column: EvaluationResult, without: EvaluationResult) -> ColumnWorth:
    lost = bootstrap_interval(1 / with_column.rank - 1 / without.rank, with_column.user)
    is_new = ~np.isnan(with_column.new_only_rank)
    if not is_new.any():
        return ColumnWorth(name, lost.estimate, lost.low, lost.high, 0.0, 0.0, 0.0)
    new_lost = bootstrap_interval(
        1 / with_column.new_only_rank[is_new] - 1 / without.new_only_rank[is_new],
        with_column.user[is_new],
    )
    new_interval = (new_lost.estimate, new_lost.low, new_lost.high)
    return ColumnWorth(name, lost.estimate, lost.low, lost.high, *new_interval)


@contextmanager
def _without(head: ItemContextHead, name: str) -> Iterator[None]:
    """Leave a column at its default within the block."""
    is_read = head.is_read.clone()
    head.is_read.mul_(1.0 - head.mask_of((name,)))
    try:
        yield
    finally:
        head.is_read.copy_(is_read)
