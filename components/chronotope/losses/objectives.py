"""Losses: softmax cross-entropy over items, likelihood of gaps."""

import math

import torch
from torch import Tensor


def next_item_loss(item_scores: Tensor, target: Tensor) -> Tensor:
    """Softmax cross-entropy over the catalogue, mean over known targets.

    Args:
        item_scores: Logits, shape (B, n_items); column 0 (unknown) never competes.
        target: Item index, shape (B,); 0 is ignored.
    """
    return torch.nn.functional.cross_entropy(item_scores[:, 1:], target - 1, ignore_index=-1)


def lognormal_mixture_nll(when: Tensor, hours: Tensor) -> Tensor:
    """Negative log-likelihood of inter-event times in hours, shape (B,).

    Args:
        when: Log-weights, means and log-scales of log hours, shape (B, 3, C).
        hours: Observed times, shape (B,); floored at one second.
    """
    log_h = hours.clamp(min=1 / 3600).log()[:, None]
    log_weight, mean, log_scale = when.unbind(1)
    z = (log_h - mean) * torch.exp(-log_scale)
    log_pdf = -0.5 * z.square() - log_scale - 0.5 * math.log(2 * math.pi) - log_h
    return -torch.logsumexp(log_weight + log_pdf, dim=1)
