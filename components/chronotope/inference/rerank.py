"""Lists whose items differ: maximal marginal relevance over the best ones.

Greedily ``argmax (1 - d) relevance_i - d max over the chosen of similarity_ij``: d = 0 is the
order of the model, d = 1 only avoids what is there already.

Source: Carbonell and Goldstein (1998), The Use of MMR.
"""

import numpy as np

from chronotope.contracts.event_log import Float64, Int64
from chronotope.inference.item_metadata import ItemMetadata
from chronotope.spacetime.distances import haversine_km

NEAR_KM = 1.0
"""Nearness of two items is ``exp(-km / NEAR_KM)``."""


def diversify(pool: Int64, score: Float64, facts: ItemMetadata, k: int, diversity: float) -> Int64:
    """Choose k items of a pool; the likeliest one is always the first.

    Args:
        pool: Indices of the best items, likeliest first, shape (n,).
        score: Of the pool's items, shape (n,); relevance runs from 0, the least, to 1, the best.
        facts: Kinds and coordinates, which make items similar.
        k: Length of the list.
        diversity: d, from 0 to 1.
    """
    if not diversity or len(pool) < 2:
        return pool[:k]
    relevance = (score - score[-1]) / max(score[0] - score[-1], 1e-12)
    likest, chosen = np.zeros(len(pool)), [0]
    while len(chosen) < min(k, len(pool)):
        likest = np.maximum(likest, similarity(pool, int(pool[chosen[-1]]), facts))
        gain = (1 - diversity) * relevance - diversity * likest
        gain[chosen] = -np.inf
        chosen.append(int(gain.argmax()))  # of equals the likelier one
    return pool[chosen]


def similarity(items: Int64, other: int, facts: ItemMetadata) -> Float64:
    """How alike items are to another one, from 0 to 1, shape (n,).

    The mean of what is known of both: whether they are of one kind, and how near they are.
    Of whom nothing is known they are 0.
    """
    kind, its_kind = facts.category_idx[items], facts.category_idx[other]
    parts = [np.where((kind == 0) | (its_kind == 0), np.nan, kind == its_kind)]
    to = {"to_lat": float(facts.lat[other]), "to_lon": float(facts.lon[other])}
    km = haversine_km(lat=facts.lat[items], lon=facts.lon[items], **to)
    parts.append(np.exp(-km / NEAR_KM))
    known = ~np.isnan(parts)
    told: Float64 = np.where(known, parts, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return told


def can_differ(pool: Int64, facts: ItemMetadata) -> bool:
    """Whether anything is known that tells items of a pool apart."""
    return bool(facts.category_idx[pool].any() or np.isfinite(facts.lat[pool]).any())
