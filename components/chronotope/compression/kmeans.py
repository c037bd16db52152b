"""K-means for code books and blocks: float32, a fixed number of rounds, seeded.

The first centroids lie far apart (k-means++): rows that are few and far off, such as those of
the popular items, have a centroid of their own, which averaging alone would never give them.

Source:
    Arthur & Vassilvitskii (2007), k-means++: The Advantages of Careful Seeding.
"""

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
    centre = _apart(rows, k, draw)
    for _ in range(n_rounds):
        at = nearest_centroid(rows, centre)
        size = torch.bincount(at, minlength=k).float()
        total = torch.zeros_like(centre).index_add_(0, at, rows)
        centre = total / size.clamp(min=1.0)[:, None]
        empty = (size == 0).nonzero()[:, 0]
        centre[empty] = rows[torch.randint(len(rows), (len(empty),), generator=draw)]
    return centre


def nearest_centroid(rows: Tensor, centre: Tensor) -> Tensor:
    """Index of the nearest centroid of each row, int64, shape (n,)."""
    half = 0.5 * centre.square().sum(1)
    parts = torch.split(rows, ROWS_AT_ONCE)
    near = [torch.addmm(-half[None], part, centre.T).numpy().argmax(1) for part in parts]
    return torch.from_numpy(np.concatenate(near))  # numpy's argmax is ten times as fast


def _apart(rows: Tensor, k: int, draw: torch.Generator) -> Tensor:
    """Rows drawn one after the other by their squared distance to the nearest before them."""
    chosen = [int(torch.randint(len(rows), (1,), generator=draw))]
    far = torch.full((len(rows),), torch.inf)
    for u in torch.rand(k - 1, generator=draw):
        torch.minimum(far, (rows - rows[chosen[-1]]).square().sum(1), out=far)
        until = far.double().cumsum(0)
        at = int(torch.searchsorted(until, u * until[-1], right=True))
        chosen.append(min(at, len(rows) - 1))  # if all are equal, the last again and again
    return rows[chosen].clone()
