"""Candidates for the softmax over a large catalogue.

Given the batch's own items F (targets, histories, the most popular), the rest of the
catalogue enters through R uniform samples, each standing for (N - |F|) / R items:

    log Z ~ log( sum_F exp(s) + sum_R exp(s + log((N - |F|) / R)) )

which is unbiased in Z given F (sampled softmax with logQ correction, Bengio & Senecal
2008, with exact inclusion for F).
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor


class CandidateItems(NamedTuple):
    """Items that compete in one batch.

    Attributes:
        item_idx: int64, shape (C,); the first is 0 and never competes.
        log_weight: How many items each stands for, log, float32, shape (C,).
    """

    item_idx: Tensor
    log_weight: Tensor


def sample_candidates(
    own: npt.NDArray[np.integer],
    n_items: int,
    n_random: int,
    rng: np.random.Generator,
) -> CandidateItems:
    """The batch's own items and a uniform sample of the others.

    Args:
        own: Items that must compete, any shape, repeats allowed.
        n_items: Size of the catalogue, the unknown included.
        n_random: Random items to add, fewer if the catalogue has no more.
        rng: Source of randomness.
    """
    is_own = np.zeros(n_items, dtype=np.bool_)
    is_own[own.ravel()] = True
    is_own[0] = False
    forced, rest = np.flatnonzero(is_own), np.flatnonzero(~is_own)[1:]
    n_random = min(n_random, len(rest))
    drawn = rng.choice(rest, n_random, replace=False)
    weight = np.zeros(1 + len(forced) + n_random, dtype=np.float32)
    if n_random:
        weight[1 + len(forced) :] = np.log(len(rest) / n_random)
    chosen = np.concatenate([[0], forced, drawn]).astype(np.int64)
    return CandidateItems(torch.from_numpy(chosen), torch.from_numpy(weight))
