"""Scores from global priors, and from the categories and neighbourhoods of the history."""

from typing import NamedTuple

import torch
from torch import Tensor

from chronotope.models.batch import Batch
from chronotope.models.item_tables import CLOSENESS, CandidateView, ItemTables, closeness
from chronotope.models.priors import Priors, request_hour_weights

N_LATEST = 8
"""Events of the history whose neighbours are looked up."""

PRIOR_NAMES = (
    "popularity",
    "popularity_week",
    "by_hour",
    "taste",
    "category_succession",
    "neighbourhood",
    "distance",
    "succession",
    "category_by_hour",
    "next_door",
    "around",
    "neighbours",
)
"""Names of the priors, in the order of their weights."""


class PriorWeights(NamedTuple):
    """Weights of the priors for each query.

    Attributes:
        event_weights: Weight of each event of the history in counts of categories and
            neighbourhoods, shape (B, H).
        prior_weights: One weight for each of ``PRIOR_NAMES``, shape (B, len(PRIOR_NAMES)).
        category_scores: Output of the category head, shape (B, n_categories), if there is one.
    """

    event_weights: Tensor
    prior_weights: Tensor
    category_scores: Tensor | None = None


class PriorParts(NamedTuple):
    """Prior scores by group, before they are mapped to candidates.

    Attributes:
        popularity_weights: Weights of popularity, of that of the week and of each hour bin,
            shape (B, 2 + N_HOUR_BINS).
        category_scores: Score of each category, shape (B, n_categories).
        extra_item_idx: Neighbours and successors of the latest items, int64, shape (B, F).
        extra_scores: Their scores; several of one item add up, shape (B, F).
    """

    popularity_weights: Tensor
    category_scores: Tensor
    extra_item_idx: Tensor
    extra_scores: Tensor


def prior_parts(
    batch: Batch, priors: Priors, item_tables: ItemTables, weights: PriorWeights
) -> PriorParts:
    """Parts of ``prior_scores`` that need no candidates; closeness in space is not among them.

    Args:
        batch: B queries.
        priors: Priors counted before the queries.
        item_tables: Categories of the items.
        weights: Weights of the priors.
    """
    named_weights = _weights_by_name(weights.prior_weights)
    last_item = batch.item_idx[:, -1]
    hour_one_hot = request_hour_weights(batch)  # (B, N_HOUR_BINS)
    category_counts = _log_counts(
        batch, item_tables.category, priors.next_category.shape[0], weights.event_weights
    )  # (B, n_categories)
    category_scores = (
        category_counts * named_weights["taste"]
        + priors.next_category[item_tables.category[last_item]]
        * named_weights["category_succession"]
        + hour_one_hot @ priors.category_by_hour * named_weights["category_by_hour"]
    )
    if weights.category_scores is not None:
        category_scores = category_scores + weights.category_scores
    hour_weights = hour_one_hot * named_weights["by_hour"]
    popularity_weights = torch.cat(
        [named_weights["popularity"], named_weights["popularity_week"], hour_weights], dim=1
    )
    extra_item_idx, extra_scores = _neighbours_and_successors(batch, priors, named_weights)
    return PriorParts(popularity_weights, category_scores, extra_item_idx, extra_scores)


def _neighbours_and_successors(
    batch: Batch, priors: Priors, named_weights: dict[str, Tensor]
) -> tuple[Tensor, Tensor]:
    """Neighbours of the latest items and successors of the last one, and their scores, (B, F)."""
    last_item, latest_items = batch.item_idx[:, -1], batch.item_idx[:, -N_LATEST:]
    n_latest = latest_items.shape[1]
    rank_decay = torch.exp(torch.arange(1 - n_latest, 1, device=latest_items.device) / 3.0)
    similarity = 20.0 * priors.neighbour_weight[latest_items] * rank_decay[:, None]  # (B, N, M)
    neighbour_scores = torch.log1p(similarity).flatten(1)  # (B, N * M)
    neighbour_scores = neighbour_scores * named_weights["neighbours"]
    successor_scores = priors.next_item_log[last_item] * named_weights["succession"]  # (B, M)
    neighbour_idx = priors.neighbour[latest_items].flatten(1)  # (B, N_LATEST * M)
    item_idx = torch.cat([neighbour_idx, priors.next_item[last_item]], dim=1)
    return item_idx, torch.cat([neighbour_scores, successor_scores], dim=1)


def prior_scores(
    batch: Batch,
    priors: Priors,
    item_tables: ItemTables,
    view: CandidateView,
    weights: PriorWeights,
) -> Tensor:
    """Weighted sum of the priors for every candidate, shape (B, C).

    Args:
        batch: B queries.
        priors: Priors counted before the queries.
        item_tables: Categories and coordinates of the items.
        view: The candidates.
        weights: Weights of the priors.
    """
    parts = prior_parts(batch, priors, item_tables, weights)
    popularity_table = torch.cat(
        [view.popularity[None], view.popularity_week[None], view.by_hour]
    )  # (2 + N_HOUR_BINS, C)
    item_scores = parts.popularity_weights @ popularity_table
    item_scores = item_scores + parts.category_scores.index_select(1, view.category)
    if item_tables.has_coordinates:
        named_weights = _weights_by_name(weights.prior_weights)
        cell_counts = _log_counts(
            batch, item_tables.cell, item_tables.n_cells, weights.event_weights
        )  # (B, n_cells)
        cell_scores = cell_counts * named_weights["neighbourhood"]
        item_scores = item_scores + cell_scores.index_select(1, view.cell)
        last_item = batch.item_idx[:, -1:]
        distance_km = item_tables.distance_km(last_item, view.east_km, view.north_km)  # (B, C)
        is_located = item_tables.located[last_item]  # (B, 1)
        closeness_scores = sum(
            measure * (named_weights[name] * is_located)
            for name, measure in zip(CLOSENESS, closeness(distance_km), strict=True)
        )
        item_scores = item_scores + closeness_scores * view.located
    return item_scores.scatter_add(1, view.column[parts.extra_item_idx], parts.extra_scores)


def _weights_by_name(prior_weights: Tensor) -> dict[str, Tensor]:
    """Weight of each of ``PRIOR_NAMES``, each (B, 1)."""
    return dict(zip(PRIOR_NAMES, torch.split(prior_weights, 1, dim=1), strict=True))


def _log_counts(batch: Batch, item_group: Tensor, n_groups: int, event_weights: Tensor) -> Tensor:
    """log(1 + weighted count) of the history in groups of items, shape (B, n_groups)."""
    counts = torch.zeros(event_weights.shape[0], n_groups, device=event_weights.device)
    return torch.log1p(counts.scatter_add(1, item_group[batch.item_idx], event_weights))
