"""Fit of the item context after the training, and the worth of each of its columns.

The rest of the network is frozen. The earlier half of the later targets fits the weights; on the
other half each column in turn is left at its default, with weights of its own, and what this loses
is measured at all targets, and at discoveries among the items that are new to the user, as
reciprocal rank and as log of the probability. A column stays if one of the four intervals lies
above zero and none below it. Where no column does so, but one alone is better than none, the
columns say the same: the best one stays. The weights of what stays are fitted to all later targets.
"""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from chronotope.content.column_worth import ColumnWorth
from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int64
from chronotope.features.context_lift import count_context_lift
from chronotope.metrics import bootstrap_interval, distinct_items, expected_rank, new_only_rank
from chronotope.models.item_context import ItemContextHead
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import Priors
from chronotope.training.config import TrainingConfig
from chronotope.training.item_context.base_scores import ContextFreeScores, base_scores
from chronotope.training.item_context.context_rows import ContextRows, fit_weights
from chronotope.training.item_context.later_targets import LaterTargets, Mask
from chronotope.training.prequential import PrequentialRound

_LOG = logging.getLogger(__name__)

FIT_SHARE: Final = 0.5
"""Earlier share of the later targets, which fits the weights; the others measure the worth."""

Columns = tuple[str, ...]
Weights = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class _TargetRanks:
    """Ranks among all items, and among those new to the user, shape (n,) each."""

    rank: Float64
    new_only_rank: Float64


def fit_item_context(
    net: ChronotopeNet,
    log: EventLog,
    catalog: Catalog,
    later: PrequentialRound,
    config: TrainingConfig,
) -> tuple[ColumnWorth, ...]:
    """Fit the head, and drop the columns without worth, in place.

    Args:
        net: The network, trained on events before the targets.
        log: The training log, with the item context.
        catalog: Columns of the item context.
        later: Later targets, and the priors before them.
        config: Number of targets, 0 leaves the item context out; and seed of their sample.

    Returns:
        Worth of each column; none for a network without item context.
    """
    head = net.item_context_head
    if head is None or config.item_context_targets == 0:
        net.config = net.config.model_copy(update={"item_context": ()})
        net.item_context_head = None
        return ()
    was_training = net.training
    net.eval()
    start_s = int(log.occurred_s[later.positions].min())
    lift = torch.from_numpy(count_context_lift(log.before(start_s), catalog))
    context_fit = _ContextFit(net, head, log, later.priors._replace(context_lift=lift))
    fitting, measuring = _halves(log, later.positions, config)
    column_names = net.config.item_context
    column_worth = context_fit.measure(fitting, measuring)
    kept_columns = tuple(column.name for column in column_worth if column.helps)
    if not kept_columns and len(column_names) > 1:
        best_column = max(
            context_fit.alone(), key=lambda column: max(column.log_low, column.new_log_low)
        )
        column_worth = tuple(
            best_column if column.name == best_column.name else column for column in column_worth
        )
        kept_columns = (best_column.name,) if best_column.helps else ()
    _LOG.info("Item context: %s", [asdict(column) for column in column_worth])
    net.config = net.config.model_copy(update={"item_context": kept_columns})
    if kept_columns:
        context_fit.keep(kept_columns)
    else:
        net.item_context_head = None
    net.train(was_training)
    return column_worth


def _halves(
    log: EventLog, positions: Int64, config: TrainingConfig
) -> tuple[LaterTargets, LaterTargets]:
    """Earlier and later targets, so many of each kind in both halves together."""
    seconds = log.occurred_s[positions]
    cut_s = np.quantile(seconds, FIT_SHARE)
    n_targets = -(-config.item_context_targets // 2)
    earlier, later = (
        LaterTargets.draw(log, positions[is_inside], n_targets, config.seed)
        for is_inside in (seconds < cut_s, seconds >= cut_s)
    )
    return earlier, later


class _ContextFit:
    """Weights of variants of a head, and their ranks of the same targets."""

    def __init__(
        self, net: ChronotopeNet, head: ItemContextHead, log: EventLog, priors: Priors
    ) -> None:
        self.net, self.head, self.log, self.priors = net, head, log, priors
        self.names, self.lift = net.config.item_context, priors.context_lift
        self.weights: dict[Columns, Weights] = {}
        self.ranks: dict[Columns, _TargetRanks] = {}
        self.row_sets: list[ContextRows] = []
        self.measured: list[ContextRows] = []

    def measure(self, fitting: LaterTargets, measuring: LaterTargets) -> tuple[ColumnWorth, ...]:
        """Worth of each column beside all others.

        Args:
            fitting: Targets that the weights are fitted to.
            measuring: Later targets, whose ranks are compared.
        """
        self.measuring = measuring
        batches = base_scores(self.net, self.log, fitting.positions, self.priors)
        self.row_sets = self._row_sets(fitting, batches)
        subsets = [self.names, *map(self._without, self.names), *((name,) for name in self.names)]
        for columns in dict.fromkeys([*subsets, ()]):
            self.weights[columns] = self._fitted(columns)
        self.measured = self._row_sets(measuring, self._ranked_batches())
        return tuple(self._worth(name, self.names, self._without(name)) for name in self.names)

    def alone(self) -> tuple[ColumnWorth, ...]:
        """Worth of each column without the others."""
        return tuple(self._worth(name, (name,), ()) for name in self.names)

    def keep(self, columns: Columns) -> None:
        """Fit the weights of some columns to all targets."""
        self.head.load_state_dict(self.weights.get(columns, self.weights[self.names]))
        self.head.is_read.copy_(self.head.mask_of(columns))
        fit_weights(self.head, [*self.row_sets, *self.measured], self.lift)

    def _without(self, name: str) -> Columns:
        return tuple(other for other in self.names if other != name)

    def _fitted(self, columns: Columns) -> Weights:
        """State of the head with some columns, fitted from the weights of all columns."""
        self.head.is_read.copy_(self.head.mask_of(columns))
        if columns:
            fit_weights(self.head, self.row_sets, self.lift)
        return {name: table.clone() for name, table in self.head.state_dict().items()}

    def _row_sets(
        self, targets: LaterTargets, batches: Iterable[ContextFreeScores]
    ) -> list[ContextRows]:
        """Rows of the sample of all targets, and of the discoveries."""
        parts: tuple[list[ContextRows], list[ContextRows]] = ([], [])
        for scored in batches:
            idx = np.searchsorted(targets.positions, scored.positions)
            masks = (targets.is_sampled[idx], targets.is_discovery[idx])
            for part, mask, new_only in zip(parts, masks, (False, True), strict=True):
                if mask.any():
                    is_chosen = torch.from_numpy(mask)
                    rows = ContextRows.of_batch(scored, self.log, is_chosen, new_only=new_only)
                    part.append(rows)
        return [ContextRows.stack(part) for part in parts]

    @torch.no_grad()
    def _ranked_batches(self) -> Iterator[ContextFreeScores]:
        """Batches of the measured targets, ranked with each variant, and without item context."""
        positions, starts = (
            self.measuring.positions,
            (self.log.user_start(), self.log.basket_start()),
        )
        ranks: dict[Columns, list[_TargetRanks]] = {columns: [] for columns in self.weights}
        for scored in base_scores(self.net, self.log, positions, self.priors):
            for columns, parts in ranks.items():
                self.head.load_state_dict(self.weights[columns])
                context_scores = self.head(scored.batch, self.priors, scored.view, scored.history)
                item_scores = (scored.item_scores + context_scores).numpy()
                parts.append(_target_ranks(self.log, scored.positions, starts, item_scores))
            yield scored
        for columns, parts in ranks.items():
            self.ranks[columns] = _TargetRanks(
                np.concatenate([part.rank for part in parts]),
                np.concatenate([part.new_only_rank for part in parts]),
            )

    def _worth(self, name: str, columns: Columns, fewer: Columns) -> ColumnWorth:
        """What a column adds to fewer columns."""
        with_column, without = self.ranks[columns], self.ranks[fewer]
        is_sampled, is_new = self.measuring.is_sampled, self.measuring.is_discovery
        lost = 1 / with_column.rank - 1 / without.rank
        new_lost = 1 / with_column.new_only_rank - 1 / without.new_only_rank
        lost_log, new_lost_log = (
            lower - higher
            for lower, higher in zip(self._losses(fewer), self._losses(columns), strict=True)
        )
        return ColumnWorth(
            name,
            *self._interval(lost[is_sampled], is_sampled),
            *self._interval(new_lost[is_new], is_new),
            *self._interval(lost_log, is_sampled),
            *self._interval(new_lost_log, is_new),
        )

    def _interval(self, values: Float64, is_chosen: Mask) -> tuple[float, float, float]:
        """Mean over targets with its interval over users; zeros without targets."""
        if not len(values):
            return 0.0, 0.0, 0.0
        user_idx = self.log.user_idx[self.measuring.positions[is_chosen]]
        interval = bootstrap_interval(values, user_idx)
        return interval.estimate, interval.low, interval.high

    @torch.no_grad()
    def _losses(self, columns: Columns) -> tuple[Float64, Float64]:
        """Loss of each measured target, and of each discovery."""
        self.head.load_state_dict(self.weights[columns])
        losses = []
        for rows in self.measured:
            lift = self.head.row_lift(rows.item_idx[None], rows.levels[None], self.lift)[0]
            row_scores = self.head.row_scores(rows.levels, rows.is_owned, lift)
            losses.append(rows.losses(row_scores).double().numpy())
        return losses[0], losses[1]


def _target_ranks(
    log: EventLog,
    positions: Int64,
    starts: tuple[Int64, Int64],
    item_scores: npt.NDArray[np.floating],
) -> _TargetRanks:
    target_items, n_items = log.item_idx[positions], item_scores.shape[1]
    user_start, basket_start = (start[positions] for start in starts)
    owned = distinct_items(log, user_start, basket_start, n_items=n_items)
    ranks = expected_rank(item_scores, target_items)
    return _TargetRanks(ranks, new_only_rank(item_scores, target_items, ranks, owned))
