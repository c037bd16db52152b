"""Which of the scored items are shown: the best, the diverse, or by chance."""

from dataclasses import dataclass

import numpy as np

from chronotope.contracts.event_log import Float64, Int64
from chronotope.experiments.experiment import Exploration
from chronotope.inference.item_metadata import ItemMetadata
from chronotope.inference.ranking import Ranking
from chronotope.inference.recent_activity import RecentActivity
from chronotope.inference.rerank import can_differ, diversify
from chronotope.serving.api.requests import RecommendRequest
from chronotope.serving.model.exploration import LONGEST, draw_positions, propensities

POOL = 100
"""Items of which a diverse list is made, or k if that is more."""

NOTHING_DIFFERS = "Nothing is known that tells items apart, so the list is as likely as it can be."


@dataclass(frozen=True, slots=True)
class SelectedItems:
    """A list, and how it came about.

    Attributes:
        items: Indices, in the order they are shown, shape (k,).
        propensities: Probability that the policy puts each there, shape (k,).
        policy: The policy in words.
        explored: Whether chance made the list.
        notes: What the reader should know.
    """

    items: Int64
    propensities: Float64
    policy: str
    explored: bool = False
    notes: tuple[str, ...] = ()


def exploration_settings(question: RecommendRequest, default: Exploration) -> Exploration:
    """How this answer may be drawn: as asked, or else by default; share 0 is the best list."""
    asked = default.share if question.epsilon is None else question.epsilon
    possible = default.kind == "uniform" or question.k <= LONGEST
    share = asked if question.explore and possible else 0.0
    return default.model_copy(update={"share": share})


def select_items(
    ranking: Ranking,
    question: RecommendRequest,
    how: Exploration,
    facts: ItemMetadata,
    crowd: RecentActivity,
    seed: str,
) -> SelectedItems:
    """The best list, or with probability ``how.share`` one that is drawn.

    The propensity of an item at a position: ``(1 - e) [it is there in the best list] + e q``,
    where q is what the drawing gives it. Of equal seeds the draws are equal.
    """
    k, notes = question.k, tuple[str, ...]()
    if question.diversity:
        pool, score = ranking.best(max(k, POOL))
        best = diversify(pool, score, facts, k, question.diversity)
        notes = () if can_differ(pool, facts) else (NOTHING_DIFFERS,)
    else:
        best = ranking.best(k).items
    policy = f"diverse {question.diversity:g}" if question.diversity else "greedy"
    if not how.share or not len(best):
        return SelectedItems(best, np.ones(len(best)), policy, notes=notes)
    (pool, score), rng = ranking.best(max(k, how.pool)), np.random.default_rng(list(seed.encode()))
    explored = rng.random() < how.share
    told = score, crowd.counts[pool]
    at = draw_positions(*told, k, how, rng) if explored else _positions(best, pool)
    shown, there, drawn = (pool[at] if explored else best), np.zeros(len(at)), at >= 0
    there[drawn] = propensities(at[drawn], np.flatnonzero(drawn), *told, how)
    chance = (1 - how.share) * (shown == best) + how.share * there
    return SelectedItems(shown, chance, _words(how, policy, len(pool)), explored, notes)


def _positions(items: Int64, pool: Int64) -> Int64:
    """Where items are in a pool; -1 if they are not: a pool of its own may be smaller."""
    order = np.argsort(pool)
    found = np.minimum(np.searchsorted(pool[order], items), len(pool) - 1)
    return np.where(pool[order[found]] == items, order[found], -1)


def _words(how: Exploration, greedy: str, n: int) -> str:
    kind = "epsilon" if how.kind == "uniform" else how.kind
    warmth = "" if how.kind == "uniform" or how.temperature == 1 else f" at {how.temperature:g}"
    otherwise = "" if greedy == "greedy" else f", else {greedy}"
    return f"{kind} {how.share:g} of {n}{warmth}{otherwise}"
