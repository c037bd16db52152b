"""Static item features (category, location) as tensors, and the subset of candidates to score."""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from chronotope.contracts.event_log import Catalog, Float64
from chronotope.models.batch import Batch, lookup
from chronotope.models.priors import Priors
from chronotope.spacetime.local_planes import project_local_km

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
        east_km: Local kilometres to the east, shape (C,).
        north_km: Local kilometres to the north, shape (C,).
        located: 1 where the coordinates are known, float32, shape (C,).
        popularity: Of the priors, shape (C,).
        popularity_week: Of the priors, shape (C,).
        by_hour: Of the priors, shape (N_HOUR_BINS, C).
        activity: Of the priors, shape (len(ACTIVITY_NAMES), C).
    """

    column: Tensor
    category: Tensor
    cell: Tensor
    east_km: Tensor
    north_km: Tensor
    located: Tensor
    popularity: Tensor
    popularity_week: Tensor
    by_hour: Tensor
    activity: Tensor

    @property
    def n_columns(self) -> int:
        """Number of candidates C."""
        return self.category.shape[0]


class ItemTables(nn.Module):
    """Category, neighbourhood and coordinates of every item, as buffers."""

    category: Tensor
    cell: Tensor
    east_km: Tensor
    north_km: Tensor
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
        # one array each: a column of a matrix is read several times slower
        for buffer_name, column in zip(("east_km", "north_km"), xy_km.T, strict=True):
            self.register_buffer(buffer_name, torch.from_numpy(column.astype(np.float32)))
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

    def last_category(self, batch: Batch) -> Tensor:
        """Category of each query's latest event, int64, shape (B,); 0 if unknown."""
        return lookup(self.category, batch.item_idx[:, -1])

    def distance_km(self, last: Tensor, east_km: Tensor, north_km: Tensor) -> Tensor:
        """Kilometres from the queries' last items to points, shape (B, N) or (N,).

        Args:
            last: Items of the queries' latest events, int64, shape (B, 1), or (N,).
            east_km: Kilometres of the points to the east, shape (N,) or (B, N).
            north_km: Kilometres of the points to the north, alike.
        """
        to_east = east_km - lookup(self.east_km, last)
        to_north = north_km - lookup(self.north_km, last)
        return torch.addcmul(to_east * to_east, to_north, to_north).sqrt()

    def view(self, priors: Priors, candidates: Tensor | None) -> CandidateView:
        """View of the whole catalogue, or of candidates: int64, shape (C,), the first of them 0."""
        everything = CandidateView(
            column=torch.arange(self.n_items, device=self.category.device),
            category=self.category,
            cell=self.cell,
            east_km=self.east_km,
            north_km=self.north_km,
            located=self.located,
            popularity=priors.popularity,
            popularity_week=priors.popularity_week,
            by_hour=priors.by_hour,
            activity=priors.activity,
        )
        return everything if candidates is None else _chosen(everything, candidates)


def closeness(distance_km: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """One of each of ``CLOSENESS``: -log(1 + 2 km), and two decays; each of the input's shape."""
    around = torch.exp(distance_km * (-1.0 / AROUND_KM))
    next_door = around.square().square() * around  # five times as steep
    return -torch.log1p(2.0 * distance_km), next_door, around


def project_km(lat_deg: Float64, lon_deg: Float64) -> tuple[Float64, np.ndarray]:
    """Kilometres on planes local to the points, and which points are known.

    Args:
        lat_deg: Latitudes WGS 84, shape (n,); NaN if unknown.
        lon_deg: Longitudes, shape (n,).

    Returns:
        Kilometres east and north, shape (n, 2), 0 if unknown; and a mask, shape (n,).
    """
    located = np.isfinite(lat_deg) & np.isfinite(lon_deg)
    projected = np.zeros((len(lat_deg), 2))
    if located.any():
        projected[located] = project_local_km(lat_deg[located], lon_deg[located])
    return projected, located


def _chosen(everything: CandidateView, candidates: Tensor) -> CandidateView:
    column = torch.zeros_like(everything.column)
    column[candidates] = torch.arange(len(candidates), device=column.device)
    return CandidateView(
        column=column,
        category=everything.category[candidates],
        cell=everything.cell[candidates],
        east_km=everything.east_km[candidates],
        north_km=everything.north_km[candidates],
        located=everything.located[candidates],
        popularity=everything.popularity[candidates],
        popularity_week=everything.popularity_week[candidates],
        by_hour=everything.by_hour[:, candidates],
        activity=everything.activity[:, candidates],
    )
