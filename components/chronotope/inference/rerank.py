"""Reranking of the best items: diversified, or with more exposure of the tail.

**Diversified**: maximal marginal relevance (MMR).

Greedily ``argmax (1 - d) relevance_i - d max over the chosen of similarity_ij``: d = 0 is the
order of the model, d = 1 only avoids items similar to the chosen ones.

**Tail exposure**: the log-probability of an item outside the most popular fifth gets the bonus
``w s_u``: w is the strength, s_u the share of such items in the user's own history, shrunk to their
share among all events. Who chooses rare items is shown more of them, who does not hardly any.

Sources: Carbonell and Goldstein (1998), *The use of MMR*; Steck (2018), *Calibrated
recommendations*, for the calibration by the user's own history.
"""

from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import Float64, Int64
from chronotope.inference.item_metadata import ItemMetadata
from chronotope.spacetime.distances import haversine_km

NEAR_KM = 1.0
"""Nearness of two items is ``exp(-km / NEAR_KM)``."""

SHRINKAGE: Final = 5.0
"""Events that the share among all events counts for in a user's own."""

Mask = npt.NDArray[np.bool_]


class TailList(NamedTuple):
    """Chosen items, best first, and their scores without the bonus, shape (k,) each."""

    items: Int64
    scores: Float64


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


def expose_tail(
    pool: Int64, pool_scores: Float64, is_tail: Mask, tail_share: float, k: int, strength: float
) -> TailList:
    """Choose k items of a pool, with a bonus for items of the tail.

    Args:
        pool: Indices of the best items, likeliest first, shape (n,).
        pool_scores: Log-probabilities, or the same but for one constant, shape (n,).
        is_tail: Items of the tail, bool, shape (n_items,).
        tail_share: Share of the tail in the user's history, see ``own_tail_share``.
        k: Length of the list.
        strength: Bonus of a user with nothing but items of the tail, nats.
    """
    adjusted_scores = pool_scores + strength * tail_share * is_tail[pool]
    order = np.argsort(-adjusted_scores, kind="stable")[:k]  # ties go to the likelier item
    return TailList(pool[order], pool_scores[order])


def own_tail_share(
    history_items: npt.NDArray[np.integer], is_tail: Mask, item_counts: Int64
) -> float:
    """Share of the tail in a history, shrunk to that among all events.

    Args:
        history_items: Items of the user's events, shape (n_history,).
        is_tail: Items of the tail, bool, shape (n_items,).
        item_counts: Events of all users by item, shape (n_items,).
    """
    all_share = float(item_counts[is_tail].sum() / max(1, item_counts.sum()))
    n_tail = float(is_tail[history_items].sum())
    return (n_tail + SHRINKAGE * all_share) / (len(history_items) + SHRINKAGE)


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
