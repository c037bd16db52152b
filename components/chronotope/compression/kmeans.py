"""K-means for code books and blocks: float32, a fixed number of rounds, seeded."""

import numpy as np
import torch
from torch import Tensor

ROWS_AT_ONCE = 1 << 12  # their distances to 256 centroids stay in the cache


def kmeans(rows: Tensor, k: int, *, n_rounds: int, seed: int) -> Tensor:
    """Centroids of rows, shape (k, s); an empty one starts again at a random row.

    Args:
        rows: float32, shape (n, s), at least one.
        k: Number of centroids; where there are fewer rows some are equal.
        n_rounds: Rounds of assignment and averaging.
        seed: Of the first centroids.
    """
    draw = torch.Generator().manual_seed(seed)
    centre = rows[_some(len(rows), k, draw)].clone()
    for _ in range(n_rounds):
        at = nearest(rows, centre)
        size = torch.bincount(at, minlength=k).float()
        total = torch.zeros_like(centre).index_add_(0, at, rows)
        centre = total / size.clamp(min=1.0)[:, None]
        empty = (size == 0).nonzero()[:, 0]
        centre[empty] = rows[_some(len(rows), len(empty), draw)]
    return centre


def nearest(rows: Tensor, centre: Tensor) -> Tensor:
    """Index of the nearest centroid of each row, int64, shape (n,)."""
    half = 0.5 * centre.square().sum(1)
    parts = torch.split(rows, ROWS_AT_ONCE)
    near = [torch.addmm(-half[None], part, centre.T).numpy().argmax(1) for part in parts]
    return torch.from_numpy(np.concatenate(near))  # numpy's argmax is ten times as fast


def _some(n: int, k: int, draw: torch.Generator) -> Tensor:
    distinct = torch.randperm(n, generator=draw)[:k]
    again = torch.randint(n, (k - len(distinct),), generator=draw)
    return torch.cat([distinct, again])
