"""Scores from what everybody does, and from the user's tastes and neighbourhoods."""

import torch
from torch import Tensor

from chronotope.models.batch import Batch, local_hour, local_weekday
from chronotope.models.items import ItemTables, View
from chronotope.models.priors import Priors, hour_bin

CROWD = (
    "popularity",
    "popularity_week",
    "by_hour",
    "taste",
    "category_succession",
    "neighbourhood",
    "distance",
    "succession",
)
"""Names of the priors, in the order of their weights."""


def crowd_scores(
    batch: Batch, priors: Priors, items: ItemTables, view: View, fading: Tensor, weights: Tensor
) -> Tensor:
    """Weighted sum of the priors for every candidate, shape (B, C).

    Args:
        batch: The queries.
        priors: What everybody did before them.
        items: Categories and coordinates.
        view: The candidates.
        fading: Weight of each event of the history in tastes, shape (B, H).
        weights: One of each of ``CROWD`` a query, shape (B, len(CROWD)).
    """
    each = (weight[:, None] for weight in weights.unbind(1))
    popular, lately, hourly, taste, category, cell, distance, follow = each
    last = batch.item_idx[:, -1]
    moment = hour_bin(
        local_weekday(batch.request_s, batch.request_offset_min),
        local_hour(batch.request_s, batch.request_offset_min),
    )
    tastes = _log_counts(batch, items.category, items.n_categories, fading)
    of_category = tastes * taste + priors.next_category[items.category[last]] * category
    scores: Tensor = (
        view.popularity * popular
        + view.popularity_week * lately
        + view.by_hour[moment] * hourly
        + of_category[:, view.category]
    )
    if items.has_coordinates:
        nearby = _log_counts(batch, items.cell, items.n_cells, fading) * cell
        scores = scores + nearby[:, view.cell] - _log_distance(last, items, view) * distance
    # (B, M) successors of the last item, added where they stand among the candidates
    return scores.scatter_add(
        1, view.column[priors.next_item[last]], priors.next_item_log[last] * follow
    )


def _log_counts(batch: Batch, group: Tensor, n_groups: int, weight: Tensor) -> Tensor:
    """log(1 + weighted count) of the history in groups of items, shape (B, n_groups)."""
    counts = torch.zeros(weight.shape[0], n_groups, device=weight.device)
    return torch.log1p(counts.scatter_add(1, group[batch.item_idx], weight))


def _log_distance(last: Tensor, items: ItemTables, view: View) -> Tensor:
    """log(1 + 2 km) from the last item to each candidate, (B, C); 0 if either is unknown."""
    x_km, y_km = view.xy_km.unbind(1)
    from_km = items.xy_km[last]
    apart_km = torch.sqrt((x_km - from_km[:, :1]).square() + (y_km - from_km[:, 1:]).square())
    return torch.log1p(2.0 * apart_km) * view.located * items.located[last][:, None]
