"""Diversified reranking: maximal marginal relevance (MMR) over the best items.

Greedily ``argmax (1 - d) relevance_i - d max over the chosen of similarity_ij``: d = 0 is the
order of the model, d = 1 only avoids items similar to the chosen ones.

Source: Carbonell and Goldstein (1998), The Use of MMR.
"""

import numpy as np

from chronotope.contracts.event_log import Float64, Int64
from chronotope.inference.item_metadata import ItemMetadata
from chronotope.spacetime.distances import haversine_km

NEAR_KM = 1.0
"""Nearness of two items is ``exp(-km / NEAR_KM)``."""


def diversify(
    pool: Int64, pool_scores: Float64, metadata: ItemMetadata, k: int, diversity: float
) -> Int64:
    """Choose k items of a pool by MMR; the likeliest one is always the first.

    Args:
        pool: Indices of the best items, likeliest first, shape (n,).
        pool_scores: Scores of the pool's items, shape (n,); scaled to relevance in [0, 1].
        metadata: Categories and coordinates, which define similarity.
        k: Length of the list.
        diversity: d, from 0 to 1.
    """
    if not diversity or len(pool) < 2:
        return pool[:k]
    score_range = max(pool_scores[0] - pool_scores[-1], 1e-12)
    relevance = (pool_scores - pool_scores[-1]) / score_range
    max_similarity, chosen = np.zeros(len(pool)), [0]
    while len(chosen) < min(k, len(pool)):
        max_similarity = np.maximum(
            max_similarity, similarity(pool, int(pool[chosen[-1]]), metadata)
        )
        marginal_relevance = (1 - diversity) * relevance - diversity * max_similarity
        marginal_relevance[chosen] = -np.inf
        chosen.append(int(marginal_relevance.argmax()))  # ties go to the likelier item
    return pool[chosen]


def similarity(item_idx: Int64, reference_idx: int, metadata: ItemMetadata) -> Float64:
    """Similarity of items to a reference item, from 0 to 1, shape (n,).

    Mean of the known parts: equality of the category, and nearness. 0 without metadata.
    """
    category = metadata.category_idx[item_idx]
    reference_category = metadata.category_idx[reference_idx]
    is_unknown = (category == 0) | (reference_category == 0)
    same_category = np.where(is_unknown, np.nan, category == reference_category)
    distance_km = haversine_km(
        lat=metadata.lat[item_idx],
        lon=metadata.lon[item_idx],
        to_lat=float(metadata.lat[reference_idx]),
        to_lon=float(metadata.lon[reference_idx]),
    )
    parts = np.stack([same_category, np.exp(-distance_km / NEAR_KM)])  # (2, n)
    is_known = ~np.isnan(parts)
    known_sum = np.where(is_known, parts, 0.0).sum(axis=0)
    mean_similarity: Float64 = known_sum / np.maximum(is_known.sum(axis=0), 1)
    return mean_similarity


def can_differ(pool: Int64, metadata: ItemMetadata) -> bool:
    """Whether any item of the pool has a category or coordinates."""
    return bool(metadata.category_idx[pool].any() or np.isfinite(metadata.lat[pool]).any())
