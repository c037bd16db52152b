"""Gate: weights of the score terms, computed from the query context."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from chronotope.models.kernels import KERNELS
from chronotope.models.prior_scores import PRIOR_NAMES
from chronotope.models.repeat_head import N_COUNTS

N_HIDDEN = 32
"""Hidden units of the gate."""

N_REPEAT = 2
"""Gate outputs of a repeat: the share of the prior scores that it gets, and a bonus."""

N_BACKBONE = 2
"""Gate outputs of the backbone: its weight for a repeat (0 with kernels), for a discovery."""

GATE_SIZES = (len(KERNELS), len(PRIOR_NAMES), N_COUNTS, N_REPEAT, N_BACKBONE)
"""Sizes of the groups of gate weights, in the order of ``GateWeights``."""


class GateWeights(NamedTuple):
    """Weights that the gate computes from the query context, each of shape (B, n)."""

    kernels: Tensor
    priors: Tensor
    counts: Tensor
    repeat: Tensor
    backbone: Tensor


def gate_layers(n_context: int, *, kernels: bool) -> nn.Sequential:
    """Layers from the query context to the gate weights.

    Args:
        n_context: Width of the query context.
        kernels: Whether the network has kernels.
    """
    return nn.Sequential(nn.Linear(n_context, N_HIDDEN), nn.GELU(), _output_layer(kernels=kernels))


def repeat_adjustment(counts: Tensor, expected: Tensor, weights: GateWeights) -> Tensor:
    """Change of an item's prior score because it is in the history, shape (B, H).

    Args:
        counts: Counts of each event's item, shape (B, H, N_COUNTS).
        expected: Prior score of each event's item, shape (B, H).
        weights: Gate weights.
    """
    prior_share, bonus = weights.repeat[:, :1], weights.repeat[:, 1:]
    count_scores = (counts * weights.counts[:, None, :]).sum(-1) + bonus
    return count_scores + expected * (prior_share - 1.0)


def _output_layer(*, kernels: bool) -> nn.Linear:
    """Last layer of the gate: counts dominate at first; a repeat starts with half its prior score.

    A backbone starts with weight 0 next to kernels, and with weight 1 without them.
    """
    output_layer = nn.Linear(N_HIDDEN, sum(GATE_SIZES))
    nn.init.zeros_(output_layer.weight)
    initial_weights = [0.1] * len(KERNELS) + [0.15] * len(PRIOR_NAMES) + [0.8] * N_COUNTS
    backbone_weights = [0.0 if kernels else 1.0] * N_BACKBONE
    output_layer.bias.data = torch.tensor([*initial_weights, 0.5, 1.0, *backbone_weights])
    return output_layer
