"""Rows of the item context at later targets, and the fit of the head's weights to them.

The loss is that of the softmax over all items at all targets, and over the items new to the user at
discoveries. Items without a row are in it by the sum of their exponentials alone, so that a fit
reads few numbers a target, and its passes over them take no pass of the network.
"""

from dataclasses import dataclass
from typing import Final, Self

import torch
from torch import Tensor, nn

from chronotope.contracts.event_log import EventLog
from chronotope.models.batch import lookup
from chronotope.models.item_context import ItemContextHead
from chronotope.training.item_context.base_scores import ContextFreeScores

N_STEPS: Final = 20
"""Steps of L-BFGS."""

WEIGHT_DECAY: Final = 2e-2
"""Of the squared weights, against weights of levels that few targets determine."""

NEGLIGIBLE: Final = -15.0
"""Log of a probability below which a row changes nothing."""


@dataclass(frozen=True, slots=True)
class ContextRows:
    """R rows of Q targets.

    Attributes:
        query_idx: Target of each row, int64, shape (R,).
        item_idx: Item of each row, int64, shape (R,).
        levels: Levels of each row, int64, shape (R, n_columns).
        is_owned: 1 for an item of the history, int64, shape (R,).
        logit: Log of the probability of each row's item without the item context, shape (R,).
        rest: Probability of the items without a row, shape (Q,).
        target_row: Row of each target's item; -1 if it has none, int64, shape (Q,).
    """

    query_idx: Tensor
    item_idx: Tensor
    levels: Tensor
    is_owned: Tensor
    logit: Tensor
    rest: Tensor
    target_row: Tensor

    @classmethod
    def of_batch(
        cls, scored: ContextFreeScores, log: EventLog, is_chosen: Tensor, *, new_only: bool
    ) -> Self:
        """Rows of some targets of a batch.

        Args:
            scored: Scores of the batch.
            log: The training log.
            is_chosen: The targets, bool, shape (B,).
            new_only: Rank among the items that are new to the user.
        """
        item_scores = scored.item_scores[is_chosen].clone()  # (Q, n_items)
        row_items = scored.batch.context_item_idx[is_chosen]  # (Q, P)
        owned = torch.zeros_like(item_scores).scatter(1, scored.history.column[is_chosen], 1.0)
        item_scores[:, 0] = -torch.inf
        if new_only:
            item_scores[owned > 0] = -torch.inf
        row_scores = item_scores.gather(1, row_items)  # (Q, P)
        log_sum = item_scores.logsumexp(1)  # (Q,)
        rest = torch.exp(item_scores.scatter(1, row_items, -torch.inf).logsumexp(1) - log_sum)
        logit = row_scores - log_sum[:, None]
        target = torch.from_numpy(log.item_idx[scored.positions]).long()[is_chosen]
        is_target = row_items == target[:, None]
        is_read = (logit > NEGLIGIBLE) | (is_target & torch.isfinite(logit))
        query_idx, column = is_read.nonzero(as_tuple=True)
        target_row = torch.full((len(rest),), -1)
        rows_of_targets = is_target[query_idx, column].nonzero()[:, 0]
        target_row[query_idx[rows_of_targets]] = rows_of_targets
        levels = scored.batch.context_levels[is_chosen][query_idx, column]
        is_owned = owned.gather(1, row_items)[query_idx, column].long()
        items = row_items[query_idx, column]
        return cls(query_idx, items, levels, is_owned, logit[is_read], rest, target_row)

    @classmethod
    def stack(cls, parts: list[Self]) -> Self:
        """Rows of several batches; of none there are no rows and no targets."""
        if not parts:
            no_rows, no_scores = torch.zeros(0, dtype=torch.int64), torch.zeros(0)
            return cls(no_rows, no_rows, no_rows[:, None], no_rows, no_scores, no_scores, no_rows)
        n_queries = [0, *torch.tensor([len(part.rest) for part in parts]).cumsum(0).tolist()]
        n_rows = [0, *torch.tensor([len(part.item_idx) for part in parts]).cumsum(0).tolist()]
        targets = [
            torch.where(part.target_row < 0, -1, part.target_row + start)
            for part, start in zip(parts, n_rows, strict=False)
        ]
        queries = [part.query_idx + start for part, start in zip(parts, n_queries, strict=False)]
        return cls(
            query_idx=torch.cat(queries),
            item_idx=torch.cat([part.item_idx for part in parts]),
            levels=torch.cat([part.levels for part in parts]),
            is_owned=torch.cat([part.is_owned for part in parts]),
            logit=torch.cat([part.logit for part in parts]),
            rest=torch.cat([part.rest for part in parts]),
            target_row=torch.cat(targets),
        )

    def losses(self, row_scores: Tensor) -> Tensor:
        """Loss of each target, less what no weight changes, nats, shape (Q,).

        Args:
            row_scores: Score of each row by its item context, shape (R,).
        """
        exponentials = torch.exp(self.logit + row_scores)
        sums = torch.zeros_like(self.rest).index_add(0, self.query_idx, exponentials)  # (Q,)
        of_target = lookup(nn.functional.pad(row_scores, (1, 0)), self.target_row + 1)
        return torch.log(self.rest + sums) - of_target


def fit_weights(head: ItemContextHead, row_sets: list[ContextRows], context_lift: Tensor) -> None:
    """Fit the weights of the levels that a head reads, from those it has, in place.

    Args:
        head: The head.
        row_sets: Rows of all targets, and of discoveries.
        context_lift: Of the priors, shape (n_items, n_states).
    """
    lifts = [
        head.row_lift(rows.item_idx[None], rows.levels[None], context_lift)[0].detach()
        for rows in row_sets
    ]
    weights = [head.level_weights, head.lift_weights]
    optimizer = torch.optim.LBFGS(weights, max_iter=N_STEPS, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        decay = sum(weight.square().sum() for weight in weights)
        total = WEIGHT_DECAY * torch.as_tensor(decay)
        for rows, lift in zip(row_sets, lifts, strict=True):
            if not len(rows.rest):
                continue
            total = total + rows.losses(head.row_scores(rows.levels, rows.is_owned, lift)).mean()
        total.backward()  # type: ignore[no-untyped-call]
        return total

    with torch.enable_grad():
        optimizer.step(closure)  # type: ignore[no-untyped-call]
    head.zero_grad()
