"""Where items without events stand among all items."""

import math

import pytest
import torch

from chronotope.training.cold_level import (
    MAX_LOSS,
    STEP,
    ColdBatch,
    _warm_ndcg,
    expected_new,
    fit_level,
)

N_TARGETS, N_HIDDEN, N_TRUE = 500, 20, 60
WEIGHTS = torch.zeros(1)


def scored_targets(hidden_share: float = 0.2) -> ColdBatch:
    """Targets of which a share is among hidden items; scores say nothing beside the constant."""
    generator = torch.Generator().manual_seed(0)
    n_columns = N_HIDDEN + N_TRUE
    is_hidden = torch.rand(N_TARGETS, generator=generator) < hidden_share
    column = torch.randint(0, N_HIDDEN, (N_TARGETS,), generator=generator)
    return ColdBatch(
        features=torch.zeros(N_TARGETS, n_columns, 1),
        base_scores=torch.randn(N_TARGETS, n_columns, generator=generator),
        log_weight=torch.zeros(n_columns),
        warm_scores=torch.full((N_TARGETS,), 6.0),
        target_column=torch.where(is_hidden, column, -1),
        target_score=1.0 + torch.randn(N_TARGETS, generator=generator),
        target_rank=torch.randint(0, 30, (N_TARGETS,), generator=generator),
        is_true=torch.arange(n_columns) >= N_HIDDEN,
    )


def test_hidden_items_together_are_as_probable_as_they_are() -> None:
    batch = scored_targets()
    constant = fit_level([batch], WEIGHTS, n_new=0.0)
    mass = torch.logsumexp(batch.base_scores[:, :N_HIDDEN] + constant, dim=1)
    probability = torch.sigmoid(mass - batch.warm_scores).mean()
    assert float(probability) == pytest.approx(0.2, abs=0.03)


def test_many_new_items_are_lowered_and_few_are_not() -> None:
    batch = scored_targets()
    levels = [float(fit_level([batch], WEIGHTS, n_new)) for n_new in (0.0, 1.0, 10.0, 1e9)]
    assert levels == sorted(levels, reverse=True)
    assert levels[0] - levels[-1] > STEP
    for n_new, level in zip((1.0, 10.0, 1e9), levels[1:], strict=True):
        kept = _warm_ndcg([batch], WEIGHTS, torch.tensor([level]), n_new)
        without = _warm_ndcg([batch], WEIGHTS, torch.tensor([-1e6]), n_new)
        assert kept >= (1.0 - MAX_LOSS) * without
        assert math.isfinite(kept)


def test_a_catalogue_without_new_items_expects_some() -> None:
    assert expected_new(0, 1_000) == 10.0
    assert expected_new(200, 1_000) == 200.0
