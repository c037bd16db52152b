"""Selection of the shown items from a ranking: most probable, diverse, or drawn at random."""

from dataclasses import dataclass

import numpy as np

from chronotope.contracts.event_log import Float64, Int64
from chronotope.experiments.experiment import Exploration
from chronotope.inference.item_metadata import ItemMetadata
from chronotope.inference.ranking import Ranking
from chronotope.inference.recent_activity import RecentActivity
from chronotope.inference.rerank import can_differ, diversify
from chronotope.serving.api.requests import RecommendRequest
from chronotope.serving.model.exploration import MAX_DRAWN_ITEMS, draw_positions, propensities

RERANK_POOL_SIZE = 100
"""Most probable items that diversity re-ranks, or k if that is more."""

NO_DIVERSITY_NOTE = (
    "Items have neither categories nor coordinates, so diversity does not change the order."
)


@dataclass(frozen=True, slots=True)
class SelectedItems:
    """Selected list with its propensities.

    Attributes:
        items: Item indices in the order shown, shape (k,).
        propensities: Probability that the policy shows each item in its position, shape (k,).
        policy: Description of the policy.
        explored: Whether the list was drawn at random.
        notes: Notes for the caller.
    """

    items: Int64
    propensities: Float64
    policy: str
    explored: bool = False
    notes: tuple[str, ...] = ()


def exploration_settings(recommend_request: RecommendRequest, default: Exploration) -> Exploration:
    """Exploration of one request; share 0 never draws.

    Args:
        recommend_request: The request; its epsilon replaces the default share.
        default: Exploration of the arm or the service.
    """
    epsilon = recommend_request.epsilon
    share = default.share if epsilon is None else epsilon
    can_draw = default.kind == "uniform" or recommend_request.k <= MAX_DRAWN_ITEMS
    share = share if recommend_request.explore and can_draw else 0.0
    return default.model_copy(update={"share": share})


def select_items(
    ranking: Ranking,
    recommend_request: RecommendRequest,
    exploration: Exploration,
    metadata: ItemMetadata,
    recent_activity: RecentActivity,
    seed: str,
) -> SelectedItems:
    """Greedy list, or with probability ``exploration.share`` one that is drawn at random.

    Propensity of an item in a position: ``(1 - e) [greedy list has it there] + e q``, with the
    share e and the probability q of the draw. Equal seeds give equal draws.

    Args:
        ranking: Ranking of the items.
        recommend_request: List length and diversity.
        exploration: Share and kind of random lists.
        metadata: Categories and coordinates, for diversity.
        recent_activity: Event counts, for Thompson sampling.
        seed: Seed of the draw.
    """
    k, diversity, notes = recommend_request.k, recommend_request.diversity, tuple[str, ...]()
    if diversity:
        pool_items, pool_scores = ranking.best(max(k, RERANK_POOL_SIZE))
        greedy_items = diversify(pool_items, pool_scores, metadata, k, diversity)
        notes = () if can_differ(pool_items, metadata) else (NO_DIVERSITY_NOTE,)
    else:
        greedy_items = ranking.best(k).items
    greedy_policy = f"diverse {diversity:g}" if diversity else "greedy"
    if not exploration.share or not len(greedy_items):
        return SelectedItems(greedy_items, np.ones(len(greedy_items)), greedy_policy, notes=notes)
    pool_items, pool_scores = ranking.best(max(k, exploration.pool))
    pool_counts = recent_activity.counts[pool_items]
    rng = np.random.default_rng(list(seed.encode()))
    explored = rng.random() < exploration.share
    if explored:
        pool_positions = draw_positions(pool_scores, pool_counts, k, exploration, rng)
        shown_items = pool_items[pool_positions]
    else:
        pool_positions, shown_items = _pool_positions(greedy_items, pool_items), greedy_items
    in_pool = pool_positions >= 0
    draw_propensities = np.zeros(len(pool_positions))
    draw_propensities[in_pool] = propensities(
        pool_positions[in_pool], np.flatnonzero(in_pool), pool_scores, pool_counts, exploration
    )
    is_greedy = shown_items == greedy_items
    mixed = (1 - exploration.share) * is_greedy + exploration.share * draw_propensities
    policy = _policy_name(exploration, greedy_policy, len(pool_items))
    return SelectedItems(shown_items, mixed, policy, explored, notes)


def _pool_positions(items: Int64, pool_items: Int64) -> Int64:
    """Positions of items in a pool; -1 for items outside: the greedy pool may be larger."""
    order = np.argsort(pool_items)
    sorted_pool = pool_items[order]
    insertion = np.minimum(np.searchsorted(sorted_pool, items), len(pool_items) - 1)
    return np.where(sorted_pool[insertion] == items, order[insertion], -1)


def _policy_name(exploration: Exploration, greedy_policy: str, n_pool: int) -> str:
    is_uniform = exploration.kind == "uniform"
    kind = "epsilon" if is_uniform else exploration.kind
    has_temperature = not is_uniform and exploration.temperature != 1
    temperature = f" at {exploration.temperature:g}" if has_temperature else ""
    fallback = "" if greedy_policy == "greedy" else f", else {greedy_policy}"
    return f"{kind} {exploration.share:g} of {n_pool}{temperature}{fallback}"
