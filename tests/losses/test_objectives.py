"""Losses against SciPy and arithmetic."""

import numpy as np
import torch
from scipy import stats

from chronotope.losses.objectives import lognormal_mixture_nll, next_item_loss


def test_mixture_likelihood_equals_scipys() -> None:
    weight, mean, scale = np.array([0.3, 0.7]), np.array([0.0, 2.0]), np.array([0.5, 1.5])
    when = torch.tensor(np.stack([np.log(weight), mean, np.log(scale)])[None])
    pdf = sum(
        w * stats.lognorm(s, scale=np.exp(m)).pdf(7.8)
        for w, m, s in zip(weight, mean, scale, strict=True)
    )
    found = lognormal_mixture_nll(when, torch.tensor([7.8], dtype=torch.float64))
    np.testing.assert_allclose(found.item(), -np.log(pdf), rtol=1e-9)


def test_the_unknown_item_never_competes() -> None:
    scores = torch.tensor([[100.0, 0.0, 0.0]])
    assert torch.isclose(next_item_loss(scores, torch.tensor([1])), torch.tensor(2.0).log())


def test_unknown_targets_are_ignored() -> None:
    scores = torch.tensor([[0.0, 3.0, 1.0], [0.0, 9.0, 1.0]])
    both = next_item_loss(scores, torch.tensor([2, 0]))
    assert torch.isclose(both, next_item_loss(scores[:1], torch.tensor([2])))
