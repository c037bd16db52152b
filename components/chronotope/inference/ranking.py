"""From the model's scores to items: which are allowed, the best of them, and why."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import NamedTuple, Protocol

import numpy as np

from chronotope.artifact.bundle import Vocabulary
from chronotope.artifact.indexed_recommender import IndexedRecommender, QueryOutput
from chronotope.artifact.item_index import Mask
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.event_log import Float32, Float64, Int64
from chronotope.contracts.queries import Queries
from chronotope.inference.explanations import explain_items
from chronotope.inference.history import UserHistory
from chronotope.inference.item_metadata import ItemMetadata
from chronotope.inference.recent_activity import RecentActivity
from chronotope.inference.request import RecommendedItem, RecommendOptions
from chronotope.spacetime.distances import haversine_km


class TopRanked(NamedTuple):
    """Items, likeliest first; of equals the smaller index first.

    Attributes:
        items: Indices, shape (k,), fewer if fewer are allowed.
        scores: Log-probabilities, or the same but for one constant, shape (k,).
    """

    items: Int64
    scores: Float64


class Ranking(Protocol):
    """The items of one question in order, however they are found."""

    def best(self, k: int) -> TopRanked:
        """The k likeliest allowed items."""

    def probabilities(self, items: Int64) -> Sequence[float | None]:
        """Of some items, over the whole catalogue; None where nobody has summed over it."""


@dataclass(frozen=True, slots=True)
class DenseRanking:
    """Every item of a catalogue, scored for one question.

    Attributes:
        log_probability: Over all known items, shape (n_items,); -inf for the unknown.
        allowed: Which items the wish allows, shape (n_items,).
    """

    log_probability: Float64
    allowed: Mask

    def best(self, k: int) -> TopRanked:
        """The k likeliest allowed items."""
        scores = np.where(self.allowed, self.log_probability, -np.inf)
        least = -np.inf if k >= len(scores) else np.partition(scores, -k)[-k]
        candidates = np.flatnonzero((scores >= least) & self.allowed)
        order = np.argsort(-self.log_probability[candidates], kind="stable")
        items = candidates[order[:k]]
        return TopRanked(items, self.log_probability[items])

    def probabilities(self, items: Int64) -> list[float]:
        """Of some items, over the whole catalogue."""
        told: list[float] = np.exp(self.log_probability[items]).tolist()
        return told


@dataclass(frozen=True, slots=True)
class IndexedRanking:
    """The items of a large catalogue, found by its index when they are asked for.

    Attributes:
        model: Holds the index.
        told: What its graph says of the question, without the items that are left out.
        allowed: Which items the wish allows, shape (n_items,); None allows all.
    """

    model: IndexedRecommender
    told: QueryOutput
    allowed: Mask | None

    def best(self, k: int) -> TopRanked:
        """The k likeliest allowed items, by their logits."""
        found = self.model.found(self.told, k, allowed=self.allowed)
        return TopRanked(found.item_idx, found.score.astype(np.float64))

    def probabilities(self, items: Int64) -> list[None]:
        """Not known: nothing is summed over the catalogue."""
        return [None] * len(items)


def score_items(
    logits: Float32, past: UserHistory, facts: ItemMetadata, wish: RecommendOptions
) -> DenseRanking:
    """Probabilities, and what the wish allows.

    Raises:
        ConfigError: No item is of the wished kind.
    """
    scores = logits.astype(np.float64)
    scores[0] = -np.inf
    wanted = _wanted(facts, wish)
    allowed = np.ones(len(scores), np.bool_) if wanted is None else wanted
    allowed[0] = False
    if wish.exclude_seen:
        allowed[past.item_idx] = False
    best = scores.max()
    shares = np.exp((scores - best).astype(np.float32))  # fast, and exact to seven digits
    total = best + np.log(shares.sum(dtype=np.float64))
    return DenseRanking(scores - total, allowed)


def search_items(
    model: IndexedRecommender,
    queries: Queries,
    past: UserHistory,
    facts: ItemMetadata,
    wish: RecommendOptions,
) -> IndexedRanking:
    """What the graph says of one question, and what the wish allows.

    Raises:
        ConfigError: No item is of the wished kind.
    """
    (told,) = model.told(queries)
    return IndexedRanking(
        model, told.without(past.item_idx) if wish.exclude_seen else told, _wanted(facts, wish)
    )


def _wanted(facts: ItemMetadata, wish: RecommendOptions) -> Mask | None:
    """Which items are of the wished kind and near enough, shape (n_items,); None: any."""
    parts = []
    if wish.within_km is not None and wish.lat is not None and wish.lon is not None:
        parts.append(_km(facts.lat, facts.lon, wish) <= wish.within_km)
    if wish.category is not None:
        parts.append(facts.category_idx == _category(facts, wish.category))
    return np.logical_and.reduce(parts) if parts else None


def _km(lat: Float64, lon: Float64, wish: RecommendOptions) -> Float64:
    """Distance from where the user is; NaN where a side of it is not known."""
    if wish.lat is None or wish.lon is None:
        return np.full(len(lat), np.nan)
    return haversine_km(lat=lat, lon=lon, to_lat=wish.lat, to_lon=wish.lon)


def describe_items(
    chosen: Int64,
    ranking: Ranking,
    wish: RecommendOptions,
    past: UserHistory,
    crowd: RecentActivity,
    words: Vocabulary,
    facts: ItemMetadata,
) -> tuple[RecommendedItem, ...]:
    """The chosen items in words."""
    lat, lon = facts.lat[chosen], facts.lon[chosen]
    told = zip(
        words.items.names(chosen),
        chosen.tolist(),
        ranking.probabilities(chosen),
        lat.tolist(),
        lon.tolist(),
        _km(lat, lon, wish).tolist(),
        facts.categories.names(facts.category_idx[chosen]),
        explain_items(chosen, past, crowd, words),
        strict=True,
    )
    return tuple(
        RecommendedItem(
            id=str(name),
            title=words.titles[i] or "",
            probability=probability,
            lat=none_if_nan(lat),
            lon=none_if_nan(lon),
            distance_km=none_if_nan(km),
            category=category,
            reason=reason,
        )
        for name, i, probability, lat, lon, km, category, reason in told
    )


def none_if_nan(value: float | None) -> float | None:
    """None for NaN."""
    return None if value is None or isnan(value) else value


def _category(facts: ItemMetadata, name: str) -> int:
    found = int(facts.categories.index([name])[0])
    if not found:
        some = ", ".join(facts.categories.ids[:10].to_pylist()) or "none at all"
        raise ConfigError("There is no such category", received=name, way_out=f"Known are {some}")
    return found
