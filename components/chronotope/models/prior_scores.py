"""Scores from what everybody does, and from the user's tastes and neighbourhoods."""

from typing import NamedTuple

import torch
from torch import Tensor

from chronotope.models.batch import Batch
from chronotope.models.item_tables import CLOSENESS, CandidateView, ItemTables, closeness
from chronotope.models.priors import N_HOUR_BINS, Priors, request_hour_bin

N_LATEST = 8
"""Events of the history whose neighbours are looked up."""

CROWD = (
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
    """How much each query makes of what everybody does.

    Attributes:
        fading: Weight of each event of the history in tastes, shape (B, H).
        weights: One of each of ``CROWD``, shape (B, len(CROWD)).
        kinds: What the context says of each category, shape (B, n_categories), if anything.
    """

    fading: Tensor
    weights: Tensor
    kinds: Tensor | None = None


class PriorParts(NamedTuple):
    """What the priors say, before it is laid over candidates.

    Attributes:
        everywhere: Weights of popularity, of that of the week and of each hour bin,
            shape (B, 2 + N_HOUR_BINS).
        of_category: Score of each category, shape (B, n_categories).
        found: Neighbours and successors of the latest items, int64, shape (B, F).
        told: Their scores, of one item several add up, shape (B, F).
    """

    everywhere: Tensor
    of_category: Tensor
    found: Tensor
    told: Tensor


def prior_parts(
    batch: Batch, priors: Priors, items: ItemTables, leaning: PriorWeights
) -> PriorParts:
    """The parts of ``prior_scores`` that need no candidates; nearness in space is not among them.

    Args:
        batch: The queries.
        priors: What everybody did before them.
        items: Categories of the items.
        leaning: How much each query makes of it.
    """
    of = _by_name(leaning.weights)
    last = batch.item_idx[:, -1]
    now = torch.nn.functional.one_hot(
        request_hour_bin(batch), N_HOUR_BINS
    ).float()  # (B, N_HOUR_BINS)
    tastes = _log_counts(batch, items.category, items.n_categories, leaning.fading)
    of_category = (
        tastes * of["taste"]
        + priors.next_category[items.category[last]] * of["category_succession"]
        + now @ priors.category_by_hour * of["category_by_hour"]
    )
    if leaning.kinds is not None:
        of_category = of_category + leaning.kinds
    everywhere = torch.cat([of["popularity"], of["popularity_week"], now * of["by_hour"]], dim=1)
    latest = batch.item_idx[:, -N_LATEST:]
    fade = torch.exp(torch.arange(1 - latest.shape[1], 1, device=latest.device) / 3.0)
    close = torch.log1p(20.0 * priors.neighbour_weight[latest] * fade[:, None])
    found = torch.cat([priors.neighbour[latest].flatten(1), priors.next_item[last]], dim=1)
    beside, after = close.flatten(1) * of["neighbours"], priors.next_item_log[last]
    told = torch.cat([beside, after * of["succession"]], dim=1)
    return PriorParts(everywhere, of_category, found, told)


def prior_scores(
    batch: Batch, priors: Priors, items: ItemTables, view: CandidateView, leaning: PriorWeights
) -> Tensor:
    """Weighted sum of the priors for every candidate, shape (B, C).

    Args:
        batch: The queries.
        priors: What everybody did before them.
        items: Categories and coordinates.
        view: The candidates.
        leaning: How much each query makes of it.
    """
    parts = prior_parts(batch, priors, items, leaning)
    table = torch.cat([view.popularity[None], view.popularity_week[None], view.by_hour])
    scores = parts.everywhere @ table + parts.of_category.index_select(1, view.category)
    if items.has_coordinates:
        of = _by_name(leaning.weights)
        nearby = _log_counts(batch, items.cell, items.n_cells, leaning.fading)
        scores = scores + (nearby * of["neighbourhood"]).index_select(1, view.cell)
        near = closeness(items, batch.item_idx[:, -1], view.xy_km, view.located)
        for name, closer in zip(CLOSENESS, near, strict=True):
            scores = scores + closer * of[name]
    return scores.scatter_add(1, view.column[parts.found], parts.told)


def _by_name(weights: Tensor) -> dict[str, Tensor]:
    """Weight of each of ``CROWD``, each (B, 1)."""
    return dict(zip(CROWD, torch.split(weights, 1, dim=1), strict=True))


def _log_counts(batch: Batch, group: Tensor, n_groups: int, weight: Tensor) -> Tensor:
    """log(1 + weighted count) of the history in groups of items, shape (B, n_groups)."""
    counts = torch.zeros(weight.shape[0], n_groups, device=weight.device)
    return torch.log1p(counts.scatter_add(1, group[batch.item_idx], weight))
