"""Bucket of a user: a hash of the id, equal on every machine and in every version."""

from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chronotope.contracts.ids import text_hashes

MAX_BUCKETS: Final = 4_096
"""Largest number of buckets; each has a folder and at least one file a delivery."""


def user_buckets(user_ids: pa.ChunkedArray | pa.Array, n_buckets: int) -> npt.NDArray[np.int32]:
    """Bucket of each user: BLAKE2b of the id, modulo the number of buckets.

    Args:
        user_ids: Ids of users as texts, shape (n,).
        n_buckets: Number of buckets, at least 1.

    Returns:
        Buckets 0 to ``n_buckets - 1``, shape (n,).

    Example:
        >>> user_buckets(pa.array(["ann", "bob", "ann"]), 4).tolist()
        [0, 1, 0]
        >>> user_buckets(pa.array(["ann", "bob"]), 1).tolist()
        [0, 0]
    """
    if n_buckets == 1 or not len(user_ids):
        return np.zeros(len(user_ids), np.int32)
    return (text_hashes(user_ids) % np.uint64(n_buckets)).astype(np.int32)


def bucket_of_user(user_id: str, n_buckets: int) -> int:
    """Bucket of one user, as ``user_buckets``.

    Args:
        user_id: Id of the user.
        n_buckets: Number of buckets, at least 1.
    """
    return int(user_buckets(pa.array([user_id], pa.string()), n_buckets)[0])
