"""Negative sampling: candidates for the softmax over a large catalogue.

Given the items F of the batch (targets, histories, the most popular), the rest of the
catalogue enters through R uniform samples, each representing (N - |F|) / R items:

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
    """Candidates of one batch.

    Attributes:
        item_idx: int64, shape (C,); the first is 0 and never a target.
        log_weight: Log of the number of items that each represents, float32, shape (C,).
    """

    item_idx: Tensor
    log_weight: Tensor


def sample_candidates(
    batch_items: npt.NDArray[np.integer],
    n_items: int,
    n_random: int,
    rng: np.random.Generator,
) -> CandidateItems:
    """Items of the batch and a uniform sample of all others.

    Args:
        batch_items: Items that must be candidates, any shape, repeats allowed.
        n_items: Size of the catalogue, the unknown included.
        n_random: Random items to add, fewer if the catalogue has no more.
        rng: Source of randomness.
    """
    is_batch_item = np.zeros(n_items, dtype=np.bool_)
    is_batch_item[batch_items.ravel()] = True
    is_batch_item[0] = False
    included_items, other_items = np.flatnonzero(is_batch_item), np.flatnonzero(~is_batch_item)[1:]
    n_random = min(n_random, len(other_items))
    sampled_items = rng.choice(other_items, n_random, replace=False)
    log_weight = np.zeros(1 + len(included_items) + n_random, dtype=np.float32)
    if n_random:
        log_weight[1 + len(included_items) :] = np.log(len(other_items) / n_random)
    candidate_items = np.concatenate([[0], included_items, sampled_items]).astype(np.int64)
    return CandidateItems(torch.from_numpy(candidate_items), torch.from_numpy(log_weight))
