"""Static item features (category, location) as tensors, and the subset of candidates to score."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from chronotope.contracts.event_log import Catalog, Float64
from chronotope.models.priors import Priors

GRID_KM = 1.0
"""Side of the squares that count as one neighbourhood."""


AROUND_KM = 1.5
"""Decay length of the neighbourhood, kilometres; the short one is a fifth of it."""

CLOSENESS = ("distance", "next_door", "around")
"""Names of the measures of nearness."""


class CandidateView(NamedTuple):
    """The part of the catalogue that is scored: C candidates, all items by default.

    Column 0 stands for the unknown item and everything that is no candidate.

    Attributes:
        column: Column of each item, int64, shape (n_items,); 0 if it is no candidate.
        category: int64, shape (C,).
        cell: Neighbourhood, int64, shape (C,).
        xy_km: Local kilometres, shape (C, 2).
        located: 1 where the coordinates are known, float32, shape (C,).
        popularity: Of the priors, shape (C,).
        popularity_week: Of the priors, shape (C,).
        by_hour: Of the priors, shape (N_HOUR_BINS, C).
    """

    column: Tensor
    category: Tensor
    cell: Tensor
    xy_km: Tensor
    located: Tensor
    popularity: Tensor
    popularity_week: Tensor
    by_hour: Tensor

    @property
    def n_columns(self) -> int:
        """Number of candidates C."""
        return self.category.shape[0]


class ItemTables(nn.Module):
    """Category, neighbourhood and coordinates of every item, as buffers."""

    category: Tensor
    cell: Tensor
    xy_km: Tensor
    located: Tensor
    cell_rows: Tensor

    def __init__(self, catalog: Catalog) -> None:
        """Project the coordinates and divide the plane into grid cells."""
        super().__init__()
        xy_km, located = project_km(catalog.item_lat, catalog.item_lon)
        cells = np.unique(np.floor(xy_km / GRID_KM), axis=0, return_inverse=True)[1].ravel()
        cells = np.where(located, cells + 1, 0)
        self.n_categories = catalog.categories.size
        n_cells = int(cells.max(initial=0)) + 1
        self.has_coordinates = bool(located.any())
        self.register_buffer("category", torch.from_numpy(catalog.item_category).long())
        self.register_buffer("cell", torch.from_numpy(cells).long())
        self.register_buffer("xy_km", torch.from_numpy(xy_km.astype(np.float32)))
        self.register_buffer("located", torch.from_numpy(located.astype(np.float32)))
        self.register_buffer("cell_rows", torch.zeros(n_cells, 0), persistent=False)

    @property
    def n_items(self) -> int:
        """Number of items, the unknown included: a size of a table, open in an exported graph."""
        return self.category.shape[0]

    @property
    def n_cells(self) -> int:
        """Number of neighbourhoods: a size of a table without columns, for the same reason."""
        return self.cell_rows.shape[0]

    def view(self, priors: Priors, candidates: Tensor | None) -> CandidateView:
        """View of the whole catalogue, or of candidates: int64, shape (C,), the first of them 0."""
        everything = CandidateView(
            column=torch.arange(self.n_items, device=self.category.device),
            category=self.category,
            cell=self.cell,
            xy_km=self.xy_km,
            located=self.located,
            popularity=priors.popularity,
            popularity_week=priors.popularity_week,
            by_hour=priors.by_hour,
        )
        return everything if candidates is None else _chosen(everything, candidates)


def closeness(
    tables: ItemTables, last: Tensor, xy_km: Tensor, located: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Proximity of points to each query's last item: -log(1 + 2 km), and two decays.

    Args:
        tables: Coordinates of the items.
        last: Item of each query's latest event, int64, shape (B,).
        xy_km: Points, shape (N, 2) or (B, N, 2).
        located: 1 where they are known, shape (N,) or (B, N).

    Returns:
        One of each of ``CLOSENESS``, shape (B, N); 0 where either end is unknown.
    """
    from_km = tables.xy_km[last]
    east, north = xy_km[..., 0] - from_km[:, :1], xy_km[..., 1] - from_km[:, 1:]
    apart_km = (east.square() + north.square()).sqrt()
    both = located * tables.located[last][:, None]
    around = torch.exp(-apart_km / AROUND_KM) * both
    next_door = around.square().square() * around  # five times as steep
    return -torch.log1p(2.0 * apart_km) * both, next_door, around


def project_km(lat_deg: Float64, lon_deg: Float64) -> tuple[Float64, np.ndarray]:
    """Local equirectangular kilometres around the mean, and which points are known.

    Args:
        lat_deg: Latitudes WGS 84, shape (n,); NaN if unknown.
        lon_deg: Longitudes, shape (n,).

    Returns:
        Kilometres east and north, shape (n, 2), 0 if unknown; and a mask, shape (n,).
    """
    located = np.isfinite(lat_deg) & np.isfinite(lon_deg)
    if not located.any():
        return np.zeros((len(lat_deg), 2)), located
    lat, lon = lat_deg[located].mean(), lon_deg[located].mean()
    y = 110.57 * (np.where(located, lat_deg, lat) - lat)
    x = 111.32 * np.cos(np.radians(lat)) * (np.where(located, lon_deg, lon) - lon)
    return np.stack([x, y], axis=1), located


def _chosen(everything: CandidateView, candidates: Tensor) -> CandidateView:
    column = torch.zeros_like(everything.column)
    column[candidates] = torch.arange(len(candidates), device=column.device)
    return CandidateView(
        column=column,
        category=everything.category[candidates],
        cell=everything.cell[candidates],
        xy_km=everything.xy_km[candidates],
        located=everything.located[candidates],
        popularity=everything.popularity[candidates],
        popularity_week=everything.popularity_week[candidates],
        by_hour=everything.by_hour[:, candidates],
    )
