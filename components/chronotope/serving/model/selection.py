"""Selection of the shown items from a ranking: most probable, diverse, or drawn at random."""

from dataclasses import dataclass
from typing import Self

import numpy as np

from chronotope.contracts.event_log import Float64, Int64
from chronotope.experiments.experiment import Exploration
from chronotope.inference.item_metadata import ItemMetadata
from chronotope.inference.ranking import Ranking, TopRanked
from chronotope.inference.recent_activity import RecentActivity
from chronotope.inference.rerank import can_differ, diversify
from chronotope.serving.api.requests import RecommendRequest
from chronotope.serving.model.exploration import MAX_DRAWN_ITEMS, draw_positions, propensities
from chronotope.serving.model.new_item_exposure import NewItemExposure
from chronotope.serving.model.tail_exposure import NO_TAIL_EXPOSURE, TailExposure

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
    new_item_exposure: NewItemExposure = NewItemExposure(),  # noqa: B008 - frozen
    tail_exposure: TailExposure = NO_TAIL_EXPOSURE,
) -> SelectedItems:
    """Greedy list, or with a probability one that is drawn at random or that shows a new item.

    Propensity of an item in a position:
    ``(1 - n) ((1 - e) [greedy list has it there] + e q) + n r``
    with the share e and the probability q of the draw, and the share n and the probability r of
    lists with a new item. Equal seeds give equal draws.

    Args:
        ranking: Ranking of the items.
        recommend_request: List length and diversity.
        exploration: Share and kind of random lists.
        metadata: Categories and coordinates, for diversity.
        recent_activity: Event counts, for Thompson sampling.
        seed: Seed of the draws.
        new_item_exposure: New items, and the share of lists that show one.
        tail_exposure: Bonus of items outside the most popular ones; diversity excludes it.
    """
    greedy_items, greedy_policy, notes = _greedy_list(
        ranking, recommend_request, metadata, tail_exposure
    )
    new_item_exposure = (
        new_item_exposure.allowed(ranking) if len(greedy_items) else NewItemExposure()
    )
    random_draw = _RandomDraw.of(ranking, exploration, recent_activity, recommend_request.k)
    shows_new, explored = new_item_exposure.is_drawn(seed), False
    shown_items = new_item_exposure.shown_items(greedy_items, seed) if shows_new else greedy_items
    if len(greedy_items) and exploration.share and not shows_new:
        random_generator = np.random.default_rng(list(seed.encode()))
        explored = bool(random_generator.random() < exploration.share)
        shown_items = random_draw.draw(random_generator) if explored else greedy_items
    list_propensities = (shown_items == greedy_items).astype(np.float64)
    policy = greedy_policy
    if len(greedy_items) and exploration.share:
        draw_shares = random_draw.propensities(shown_items)
        list_propensities = (
            1 - exploration.share
        ) * list_propensities + exploration.share * draw_shares
        policy = _policy_name(exploration, greedy_policy, len(random_draw.pool.items))
    if new_item_exposure.share:
        shown_new = new_item_exposure.propensities(shown_items, greedy_items)
        list_propensities = (
            1 - new_item_exposure.share
        ) * list_propensities + new_item_exposure.share * shown_new
        policy = f"{policy}, new {new_item_exposure.share:g} of {len(new_item_exposure.item_idx)}"
    return SelectedItems(shown_items, list_propensities, policy, explored or shows_new, notes)


def _greedy_list(
    ranking: Ranking,
    recommend_request: RecommendRequest,
    metadata: ItemMetadata,
    tail_exposure: TailExposure,
) -> tuple[Int64, str, tuple[str, ...]]:
    """The list without a draw, its policy and notes."""
    k, diversity = recommend_request.k, recommend_request.diversity
    if tail_exposure.strength and not diversity:
        return tail_exposure.best(ranking, k).items, tail_exposure.policy, ()
    if not diversity:
        return ranking.best(k).items, "greedy", ()
    pool_items, pool_scores = ranking.best(max(k, RERANK_POOL_SIZE))
    notes = () if can_differ(pool_items, metadata) else (NO_DIVERSITY_NOTE,)
    diverse_items = diversify(pool_items, pool_scores, metadata, k, diversity)
    return diverse_items, f"diverse {diversity:g}", notes


@dataclass(frozen=True, slots=True)
class _RandomDraw:
    """Draw of a list from the most probable items.

    Attributes:
        pool: These items; none where nothing is drawn.
        n_events: Their recent events, shape (n,).
        exploration: Kind of the draw.
        k: Length of the list.
    """

    pool: TopRanked
    n_events: Int64
    exploration: Exploration
    k: int

    @classmethod
    def of(
        cls, ranking: Ranking, exploration: Exploration, recent_activity: RecentActivity, k: int
    ) -> Self:
        pool = ranking.best(max(k, exploration.pool)) if exploration.share else _EMPTY_POOL
        return cls(pool, recent_activity.counts[pool.items], exploration, k)

    def draw(self, rng: np.random.Generator) -> Int64:
        """Items of a drawn list, shape (k,)."""
        positions = draw_positions(self.pool.scores, self.n_events, self.k, self.exploration, rng)
        return self.pool.items[positions]

    def propensities(self, shown_items: Int64) -> Float64:
        """Probability that the draw puts items in positions, shape (k,)."""
        pool_positions = _pool_positions(shown_items, self.pool.items)
        in_pool = pool_positions >= 0
        draw_propensities = np.zeros(len(pool_positions))
        draw_propensities[in_pool] = propensities(
            pool_positions[in_pool],
            np.flatnonzero(in_pool),
            self.pool.scores,
            self.n_events,
            self.exploration,
        )
        return draw_propensities


_EMPTY_POOL = TopRanked(np.empty(0, np.int64), np.empty(0))


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
