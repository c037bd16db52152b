"""Ranking of the scored items: filters, top k, and descriptions with reasons."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isnan
from typing import NamedTuple, Protocol

import numpy as np

from chronotope.artifact.bundle import Vocabulary
from chronotope.artifact.indexed_recommender import IndexedRecommender, QueryOutput
from chronotope.artifact.item_index import Mask
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.event_log import Float32, Float64, Int32, Int64
from chronotope.contracts.queries import Queries
from chronotope.inference.explanations import explain_items
from chronotope.inference.history import UserHistory
from chronotope.inference.item_metadata import ItemMetadata
from chronotope.inference.recent_activity import RecentActivity
from chronotope.inference.request import RecommendedItem, RecommendOptions
from chronotope.spacetime.distances import haversine_km


class TopRanked(NamedTuple):
    """Items by descending probability; ties by ascending index.

    Attributes:
        items: Indices, shape (k,), fewer if fewer are allowed.
        scores: Log-probabilities, or the same but for one constant, shape (k,).
    """

    items: Int64
    scores: Float64


class Ranking(Protocol):
    """Ranked items of one query, dense or by an index."""

    def best(self, k: int) -> TopRanked:
        """The k likeliest allowed items."""

    def probabilities(self, items: Int64) -> Sequence[float | None]:
        """Probabilities over the whole catalogue; None if the normalising sum is not computed."""

    def allowed_items(self, items: Int64) -> Int64:
        """Those of some items that the options allow."""

    def relative_scores(self, items: Int64) -> Float64:
        """Log-probabilities of items but for one constant; all 0 if they are not computed."""


@dataclass(frozen=True, slots=True)
class DenseRanking:
    """Scores of every item of the catalogue for one query.

    Attributes:
        log_probability: Over all known items, shape (n_items,); -inf for the unknown.
        allowed: Which items the options allow, shape (n_items,).
    """

    log_probability: Float64
    allowed: Mask

    def best(self, k: int) -> TopRanked:
        """The k likeliest allowed items."""
        item_scores = np.where(self.allowed, self.log_probability, -np.inf)
        min_score = -np.inf if k >= len(item_scores) else np.partition(item_scores, -k)[-k]
        candidate_idx = np.flatnonzero((item_scores >= min_score) & self.allowed)
        rank_order = np.argsort(-self.log_probability[candidate_idx], kind="stable")
        top_idx = candidate_idx[rank_order[:k]]  # (k,)
        return TopRanked(top_idx, self.log_probability[top_idx])

    def probabilities(self, items: Int64) -> list[float]:
        """Probabilities over the whole catalogue."""
        probabilities: list[float] = np.exp(self.log_probability[items]).tolist()
        return probabilities

    def allowed_items(self, items: Int64) -> Int64:
        """Those of some items that the options allow."""
        return items[self.allowed[items]]

    def relative_scores(self, items: Int64) -> Float64:
        """Log-probabilities of items."""
        return self.log_probability[items]


@dataclass(frozen=True, slots=True)
class IndexedRanking:
    """Ranking of a large catalogue by its index, searched on demand.

    Attributes:
        model: Holds the index.
        query_output: Output of the graph for the query, without excluded items.
        allowed: Which items the options allow, shape (n_items,); None allows all.
    """

    model: IndexedRecommender
    query_output: QueryOutput
    allowed: Mask | None

    def best(self, k: int) -> TopRanked:
        """The k likeliest allowed items, by their logits."""
        ranked = self.model.rank_items(self.query_output, k, allowed=self.allowed)
        return TopRanked(ranked.item_idx, ranked.score.astype(np.float64))

    def probabilities(self, items: Int64) -> list[None]:
        """None: the index does not sum over the catalogue."""
        return [None] * len(items)

    def allowed_items(self, items: Int64) -> Int64:
        """Those of some items that the options allow."""
        is_excluded = np.isin(items, self.query_output.excluded_items())
        is_allowed = ~is_excluded if self.allowed is None else self.allowed[items] & ~is_excluded
        return items[is_allowed]

    def relative_scores(self, items: Int64) -> Float64:
        """Zeros: the index finds the best items alone."""
        return np.zeros(len(items))


def score_items(
    logits: Float32,
    history: UserHistory,
    metadata: ItemMetadata,
    options: RecommendOptions,
    excluded_idx: Int32 | None = None,
) -> DenseRanking:
    """Dense ranking of a query: probabilities and allowed items.

    Args:
        logits: Scores of all items, shape (n_items,).
        history: Events of the user, whose items ``exclude_seen`` leaves out.
        metadata: Categories and coordinates of the items.
        options: Filters.
        excluded_idx: Items that are left out in any case, shape (n,).

    Raises:
        ConfigError: The category of the options does not exist.
    """
    item_scores = logits.astype(np.float64)
    item_scores[0] = -np.inf
    filter_mask = _filter_mask(metadata, options, history)
    allowed = np.ones(len(item_scores), np.bool_) if filter_mask is None else filter_mask
    allowed[0] = False
    if options.exclude_seen:
        allowed[history.item_idx] = False
    if excluded_idx is not None:
        allowed[excluded_idx] = False
    max_score = item_scores.max()
    # float32 halves the time of exp; the sum stays exact to seven digits
    exp_scores = np.exp((item_scores - max_score).astype(np.float32))
    log_total = max_score + np.log(exp_scores.sum(dtype=np.float64))
    return DenseRanking(item_scores - log_total, allowed)


def search_items(
    model: IndexedRecommender,
    queries: Queries,
    history: UserHistory,
    metadata: ItemMetadata,
    options: RecommendOptions,
    excluded_idx: Int32 | None = None,
) -> IndexedRanking:
    """Indexed ranking of a query: output of the graph and allowed items.

    Args:
        model: Holds the index.
        queries: The query, a batch of size 1.
        history: Events of the user, whose items ``exclude_seen`` leaves out.
        metadata: Categories and coordinates of the items.
        options: Filters.
        excluded_idx: Items that are left out in any case, shape (n,).

    Raises:
        ConfigError: The category of the options does not exist.
    """
    (query_output,) = model.query_outputs(queries)
    if excluded_idx is not None and len(excluded_idx):
        query_output = query_output.without(excluded_idx)
    return rank_by_index(model, query_output, history, metadata, options)


def rank_by_index(
    model: IndexedRecommender,
    query_output: QueryOutput,
    history: UserHistory,
    metadata: ItemMetadata,
    options: RecommendOptions,
) -> IndexedRanking:
    """Indexed ranking of one output of the graph, with the items that the options allow.

    Raises:
        ConfigError: The category of the options does not exist.
    """
    if options.exclude_seen:
        query_output = query_output.without(history.item_idx)
    return IndexedRanking(model, query_output, _filter_mask(metadata, options, history))


def _filter_mask(
    metadata: ItemMetadata, options: RecommendOptions, history: UserHistory
) -> Mask | None:
    """Items of the category, within the distance, and of enough users or of this one.

    Returns:
        Shape (n_items,); None allows all.
    """
    filters = []
    if metadata.is_rare is not None:
        is_shown = ~metadata.is_rare
        is_shown[history.item_idx] = True
        filters.append(is_shown)
    if options.within_km is not None and options.lat is not None and options.lon is not None:
        filters.append(_distance_km(metadata.lat, metadata.lon, options) <= options.within_km)
    if options.category is not None:
        filters.append(metadata.category_idx == _category_idx(metadata, options.category))
    return np.logical_and.reduce(filters) if filters else None


def _distance_km(lat: Float64, lon: Float64, options: RecommendOptions) -> Float64:
    """Distance of items from the user; NaN if either has no coordinates."""
    if options.lat is None or options.lon is None:
        return np.full(len(lat), np.nan)
    return haversine_km(lat=lat, lon=lon, to_lat=options.lat, to_lon=options.lon)


def describe_items(
    item_idx: Int64,
    ranking: Ranking,
    options: RecommendOptions,
    history: UserHistory,
    activity: RecentActivity,
    vocabulary: Vocabulary,
    metadata: ItemMetadata,
) -> tuple[RecommendedItem, ...]:
    """Recommended items with titles, coordinates, distances and reasons."""
    lat_deg, lon_deg = metadata.lat[item_idx], metadata.lon[item_idx]
    item_rows = zip(
        vocabulary.items.names(item_idx),
        item_idx.tolist(),
        ranking.probabilities(item_idx),
        lat_deg.tolist(),
        lon_deg.tolist(),
        _distance_km(lat_deg, lon_deg, options).tolist(),
        metadata.categories.names(metadata.category_idx[item_idx]),
        explain_items(item_idx, history, activity, vocabulary, metadata),
        metadata.confidences(item_idx),
        strict=True,
    )
    return tuple(
        RecommendedItem(
            id=str(name),
            title=vocabulary.titles[i] or "",
            probability=probability,
            lat=none_if_nan(lat_deg),
            lon=none_if_nan(lon_deg),
            distance_km=none_if_nan(km),
            category=category,
            reason=reason,
            category_confidence=confidence,
        )
        for name, i, probability, lat_deg, lon_deg, km, category, reason, confidence in item_rows
    )


def none_if_nan(value: float | None) -> float | None:
    """The number, or None for NaN."""
    return None if value is None or isnan(value) else value


def _category_idx(metadata: ItemMetadata, name: str) -> int:
    category_idx = int(metadata.categories.index([name])[0])
    if not category_idx:
        examples = ", ".join(metadata.categories.ids[:10].to_pylist()) or "none"
        raise ConfigError(
            "There is no such category", received=name, way_out=f"Known are {examples}"
        )
    return category_idx
