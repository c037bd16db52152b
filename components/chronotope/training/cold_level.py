"""Where items without events stand among all items: one constant of their scores.

It is that of hidden items: as probable as items of the same content with events, by the likelihood
of all targets. Many items without events may push others out of the lists, so the constant is
lowered until the targets with events lose little of their NDCG by as many new items as the
catalogue has at the end of the log: few of them stand where their expected probability says.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import torch
from torch import Tensor

MAX_LOSS: Final = 0.1
"""Share of the NDCG@10 of items with events that those without may cost, on the targets of the
training. On later time it is a tenth of that: the weights of the others were fitted to these."""

LEAST_NEW: Final = 0.01
"""Share of the catalogue that counts as new, at least: they may come after the training."""

STEP: Final = 0.25
MAX_STEPS: Final = 40
"""Steps by which the constant is lowered, and their number."""

RIDGE: Final = 1e-3
"""Penalty of the weights, in units of their features' standard deviations."""


class ColdBatch(NamedTuple):
    """Scores of a batch's queries for items without events.

    Attributes:
        features: Inputs of the weights, shape (B, C, M + 3).
        base_scores: Logits before them, -inf-like for items of the history, shape (B, C).
        log_weight: Log of the number of items that each column represents, shape (C,).
        warm_scores: Log of the summed exponentials of all other items, shape (B,).
        target_column: Column of the target, shape (B,); -1 where it has events.
        target_score: Logit of a target that has events, shape (B,).
        target_rank: Number of other items with events above it, shape (B,).
        is_true: Whether the columns have no event in the log, bool, shape (C,).
    """

    features: Tensor
    base_scores: Tensor
    log_weight: Tensor
    warm_scores: Tensor
    target_column: Tensor
    target_score: Tensor
    target_rank: Tensor
    is_true: Tensor


def expected_new(n_cold: int, n_items: int) -> float:
    """Number of items without events that the served catalogue is expected to have.

    Args:
        n_cold: Items without events at the end of the log.
        n_items: Items of the catalogue.
    """
    return max(float(n_cold), LEAST_NEW * n_items)


def fit_level(cold_batches: list[ColdBatch], weights: Tensor, n_new: float) -> Tensor:
    """Constant of the scores of items without events, shape (1,).

    Args:
        cold_batches: Scored targets.
        weights: Weights of the features.
        n_new: Items without events of the served catalogue.
    """
    cold_constant = _fit_constant(cold_batches, weights)
    least_ndcg = (1.0 - MAX_LOSS) * _warm_ndcg(cold_batches, weights, cold_constant - 1e6, n_new)
    for n_steps in range(MAX_STEPS):
        lower_constant = cold_constant - STEP * n_steps
        if _warm_ndcg(cold_batches, weights, lower_constant, n_new) >= least_ndcg:
            return lower_constant
    return cold_constant - STEP * MAX_STEPS


def _fit_constant(cold_batches: list[ColdBatch], weights: Tensor) -> Tensor:
    """Constant that makes hidden items as probable among all items as they are, shape (1,)."""

    def loss(cold_constant: Tensor) -> Tensor:
        target_losses = []
        for cold_batch in cold_batches:
            cold_column = cold_batch.target_column.clamp(min=0)
            is_hidden = (cold_batch.target_column >= 0) & ~cold_batch.is_true[cold_column]
            # rows first: one without any finite score would make the gradient NaN
            row_idx = torch.nonzero((cold_batch.target_column == -1) | is_hidden)[:, 0]
            cold_scores = (
                cold_batch.base_scores[row_idx]
                + cold_batch.features[row_idx] @ weights
                + cold_batch.log_weight
                + cold_constant
            )
            cold_scores = cold_scores.masked_fill(cold_batch.is_true, -torch.inf)  # (N, C)
            log_total = torch.logaddexp(
                torch.logsumexp(cold_scores, dim=1), cold_batch.warm_scores[row_idx]
            )
            cold_score = cold_scores.gather(1, cold_column[row_idx, None])[:, 0]
            target_score = torch.where(
                is_hidden[row_idx], cold_score, cold_batch.target_score[row_idx]
            )
            target_losses.append(log_total - target_score)
        return torch.cat(target_losses).mean() + RIDGE * cold_constant.square().sum()

    return minimise(loss, 1)


def _warm_ndcg(
    cold_batches: list[ColdBatch], weights: Tensor, cold_constant: Tensor, n_new: float
) -> float:
    """Sum of NDCG@10 over the targets with events; hidden items take no part.

    Of the items that had no event at the time of a batch, ``n_new`` count: each by its share.
    """
    ndcg_sum = 0.0
    for cold_batch in cold_batches:
        row_idx = cold_batch.target_column == -1
        cold_scores = (
            cold_batch.base_scores + cold_batch.features @ weights + cold_constant
        )  # (B, C)
        n_each = cold_batch.log_weight.exp() * cold_batch.is_true  # (C,)
        n_each = n_each * min(1.0, n_new / max(1.0, float(n_each.sum())))
        n_above = ((cold_scores > cold_batch.target_score[:, None]) * n_each).sum(1)
        item_rank = (cold_batch.target_rank + n_above)[row_idx]
        ndcg_sum += float(torch.where(item_rank < 10, 1.0 / torch.log2(item_rank + 2.0), 0.0).sum())
    return ndcg_sum


def minimise(loss: Callable[[Tensor], Tensor], n_weights: int) -> Tensor:
    """Weights of the smallest loss, from zero.

    Args:
        loss: Convex loss of the weights.
        n_weights: Number of weights.
    """
    weights = torch.zeros(n_weights, requires_grad=True)
    optimizer = torch.optim.LBFGS([weights], max_iter=60, line_search_fn="strong_wolfe")

    def step() -> float:
        optimizer.zero_grad()
        loss_value = loss(weights)
        torch.autograd.backward(loss_value)
        return float(loss_value.detach())

    optimizer.step(step)  # type: ignore[no-untyped-call]
    return weights.detach()
