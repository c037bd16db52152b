"""K-means for codebooks and blocks: float32, k-means++ seeding, a fixed number of rounds.

With k-means++ the few rows far from all others, such as those of popular items, get centroids
of their own; centroids that start at random rows would average them away.
``docs/adr/0024-libraries-and-own-code.md`` compares it with faiss and scikit-learn.

Source:
    Arthur & Vassilvitskii (2007), k-means++: The Advantages of Careful Seeding.
"""

import numpy as np
import torch
from torch import Tensor

BLOCK_ROWS = 1 << 12  # distances of a block to 256 centroids fit the cache


def kmeans(rows: Tensor, k: int, *, n_rounds: int, seed: int) -> Tensor:
    """Centroids of rows, shape (k, s); an empty cluster restarts at a random row.

    Args:
        rows: float32, shape (n, s), at least one.
        k: Number of centroids; with fewer rows some centroids are equal.
        n_rounds: Rounds of assignment and averaging.
        seed: Seed of the initial centroids.
    """
    generator = torch.Generator().manual_seed(seed)
    centroids = _initial_centroids(rows, k, generator)
    for _ in range(n_rounds):
        cluster_idx = nearest_centroid(rows, centroids)
        cluster_sizes = torch.bincount(cluster_idx, minlength=k).float()
        cluster_sums = torch.zeros_like(centroids).index_add_(0, cluster_idx, rows)
        centroids = cluster_sums / cluster_sizes.clamp(min=1.0)[:, None]
        empty_idx = (cluster_sizes == 0).nonzero()[:, 0]
        restart_idx = torch.randint(len(rows), (len(empty_idx),), generator=generator)
        centroids[empty_idx] = rows[restart_idx]
    return centroids


def nearest_centroid(rows: Tensor, centroids: Tensor) -> Tensor:
    """Index of the nearest centroid of each row, int64, shape (n,)."""
    # argmin |x - c|^2 = argmax <x, c> - |c|^2 / 2
    half_norms = 0.5 * centroids.square().sum(1)
    nearest_idx = [
        torch.addmm(-half_norms[None], block_rows, centroids.T).numpy().argmax(1)
        for block_rows in torch.split(rows, BLOCK_ROWS)
    ]
    return torch.from_numpy(np.concatenate(nearest_idx))  # numpy's argmax is ten times as fast


def _initial_centroids(rows: Tensor, k: int, generator: torch.Generator) -> Tensor:
    """Rows sampled in turn with probability proportional to the squared nearest distance."""
    row_idx = [int(torch.randint(len(rows), (1,), generator=generator))]
    nearest_sq = torch.full((len(rows),), torch.inf)
    for uniform in torch.rand(k - 1, generator=generator):
        last_row = rows[row_idx[-1]]
        torch.minimum(nearest_sq, (rows - last_row).square().sum(1), out=nearest_sq)
        cumulative_sq = nearest_sq.double().cumsum(0)
        threshold = uniform * cumulative_sq[-1]
        sampled_idx = int(torch.searchsorted(cumulative_sq, threshold, right=True))
        row_idx.append(min(sampled_idx, len(rows) - 1))  # all rows equal: repeat the last one
    return rows[row_idx].clone()
