"""Windows of unequal size made comparable: smaller ones differ more by chance alone."""

import numpy as np

from chronotope.contracts.event_log import Float64


def subsample_counts(counts: Float64, seed: int) -> Float64:
    """Counts with no more rows than the last window's, drawn from each larger one.

    Drawn without replacement, so that its noise becomes that of a window of this size.

    Args:
        counts: Of each window, whole numbers, shape (n, B).
        seed: Of the draw.
    """
    rng, kept = np.random.default_rng(seed), counts.copy()
    most = int(counts[-1].sum())
    for row in np.flatnonzero(counts.sum(axis=1) > most):
        drawn = rng.multivariate_hypergeometric(
            counts[row].astype(np.int64), most, method="marginals"
        )
        kept[row] = drawn
    return kept


def rescale_divergences(values: Float64, expected: Float64) -> Float64:
    """Divergences of smaller windows as they would be with as many rows as the last one had.

    What sampling accounts for, ``min(d_i, e_i)``, is brought to the last window's size; what
    goes beyond it may be real and stays.

    Args:
        values: Divergences d, the current one last, shape (K + 1,).
        expected: What sampling alone leads one to expect of each, shape (K + 1,).
    """
    by_chance = np.minimum(values, expected)
    return np.asarray(values - by_chance + by_chance * expected[-1] / expected)
