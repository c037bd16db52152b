"""Priors of all clients' events from sums of their counts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import sparse
from torch import Tensor

from chronotope.contracts.event_log import Catalog, Float64
from chronotope.features.activity_counts import (
    ACTIVITY_NAMES,
    MIN_USERS_LEFT,
    WINDOWS_DAYS,
)
from chronotope.features.context_lift import n_states
from chronotope.federated.counts.client_counts import Tables
from chronotope.federated.counts.plan import CountPlan
from chronotope.models.baselines.ease import EaseConfig, ease_weights
from chronotope.models.discovery_counts import no_affinity, strongest_affinity
from chronotope.models.priors import (
    Priors,
    hour_lift,
    log_count,
    pair_cosine,
    strongest_pairs,
    visit_rate,
)
from chronotope.runtime.stored_arrays import load_arrays, save_arrays

N_SUCCESSORS = 32
WEEK_DAYS = 7


@dataclass(frozen=True, slots=True)
class FederatedCounts:
    """Sums over the clients, by ``section/table``.

    Attributes:
        count_plan: Cells of the counts.
        sum_tables: Sums in the shapes of the plan.
    """

    count_plan: CountPlan
    sum_tables: Tables

    def save(self, plan_path: Path, tables_path: Path) -> None:
        """Write plan and tables; the clients read them."""
        self.count_plan.save(plan_path)
        save_arrays(tables_path, **self.sum_tables)

    @classmethod
    def load(cls, plan_path: Path, tables_path: Path) -> "FederatedCounts":
        """Read plan and tables.

        Raises:
            ArtifactError: A file is missing or damaged.
        """
        return cls(CountPlan.load(plan_path), load_arrays(tables_path))

    def priors(self, moment_idx: int, catalog: Catalog, *, anchor_idx: int | None = None) -> Priors:
        """Priors of the events before a moment.

        Args:
            moment_idx: Number of the moment in the plan.
            catalog: The shared catalogue; content is not read.
            anchor_idx: Number of the anchor whose EASE weights are taken; None takes none.
        """
        bin_edge, n = int(self.count_plan.moments[moment_idx]), catalog.n_items
        event_counts, visitor_counts = (
            self._sum(name, 0, bin_edge) for name in ("events", "first_events")
        )
        hour_counts = self._until("item_hours", moment_idx)
        next_item, next_count = self._strongest("next_item", moment_idx, n)
        neighbour, cosine = self._strongest("near", moment_idx, n)
        affinity_item, affinity_weight = (
            no_affinity(n) if anchor_idx is None else self.affinity(anchor_idx, n)
        )
        places = event_counts if catalog.items_are_places else self._until("places", moment_idx)
        return Priors(
            popularity=log_count(event_counts),
            popularity_week=log_count(self._window("events", bin_edge, WEEK_DAYS)),
            by_hour=hour_lift(hour_counts),
            next_item=torch.from_numpy(next_item),
            next_item_log=log_count(next_count),
            next_category=log_count(self._until("next_category", moment_idx)),
            category_by_hour=hour_lift(_sum_by_category(hour_counts, catalog)),
            neighbour=torch.from_numpy(neighbour),
            neighbour_weight=torch.from_numpy(cosine.astype(np.float32)),
            place_popularity=log_count(places),
            stickiness=visit_rate(event_counts, visitor_counts, catalog),
            activity=self.activity(bin_edge, catalog),
            affinity_item=affinity_item,
            affinity_weight=affinity_weight,
            content_popularity=torch.zeros(n),
            cold_share=torch.zeros(n),
            context_lift=torch.zeros(n, n_states(catalog)),
        )

    def activity(self, bin_edge: int, catalog: Catalog) -> Tensor:
        """Live counts at an edge of the bins, as ``ActivityCounter.at``; ages to half a bin.

        Args:
            bin_edge: Edge of a bin.
            catalog: Categories of the items.
        """
        event_counts = [self._window("events", bin_edge, days) for days in WINDOWS_DAYS]
        first_events = [self._window("first_events", bin_edge, days) for days in WINDOWS_DAYS]
        n_users = self._sum("first_events", 0, bin_edge)
        n_active = max(1.0, float(self.sum_tables["bins/active_users"][bin_edge]))
        has_events = self.sum_tables["bins/events"][:bin_edge] > 0
        first_bin = np.where(has_events.any(0), has_events.argmax(0), bin_edge)
        age_s = np.maximum(bin_edge - first_bin - 0.5, 0.0) * self.count_plan.time_bins.bin_s
        table_rows = [
            *(np.log1p(2.0 * cell_counts) for cell_counts in event_counts),
            *(np.log1p(2.0 * cell_counts) for cell_counts in first_events),
            np.log1p(2.0 * n_users),
            np.log(np.maximum(1.0 - n_users / n_active, MIN_USERS_LEFT)),
            np.log1p(_sum_by_category(event_counts[-1], catalog))[catalog.item_category],
            np.log1p(age_s / (7.0 * 86_400.0)),
        ]
        if len(table_rows) != len(ACTIVITY_NAMES):
            raise AssertionError(table_rows)
        return torch.from_numpy(np.stack(table_rows).astype(np.float32))

    def affinity(self, anchor_idx: int, n_items: int) -> tuple[Tensor, Tensor]:
        """Items with the strongest EASE weights at an anchor, and the weights.

        Args:
            anchor_idx: Number of the anchor in the plan.
            n_items: Size of the catalogue.
        """
        n_pair_items = len(self.count_plan.pair_items)
        gram_matrix = np.zeros((n_pair_items, n_pair_items), np.float32)
        gram_matrix[np.triu_indices(n_pair_items)] = self.sum_tables[f"anchor-{anchor_idx}/pairs"]
        gram_matrix += np.triu(gram_matrix, 1).T
        is_known = gram_matrix.diagonal() > 0
        known_gram = torch.from_numpy(np.ascontiguousarray(gram_matrix[np.ix_(is_known, is_known)]))
        weights = ease_weights(known_gram, EaseConfig().l2)
        items = torch.from_numpy(self.count_plan.pair_items[is_known])
        return strongest_affinity(items, weights, n_items)

    def _sum(self, name: str, start: int, end: int) -> Float64:
        """Sum of a table of the section ``bins`` over some bins, shape (n_items,)."""
        return np.asarray(self.sum_tables[f"bins/{name}"][start:end].sum(0), np.float64)

    def _window(self, name: str, bin_edge: int, days: int) -> Float64:
        return self._sum(name, max(0, bin_edge - self.count_plan.time_bins.width(days)), bin_edge)

    def _until(self, name: str, moment_idx: int) -> Float64:
        """Sum of a table over the sections up to a moment."""
        sections = (
            self.sum_tables[f"moment-{section_number}/{name}"]
            for section_number in range(moment_idx + 1)
        )
        return np.asarray(sum(sections), np.float64)

    def _strongest(self, name: str, moment_idx: int, n_items: int) -> tuple[Any, Any]:
        """Strongest pairs of each item of the catalogue, from the table of the plan's items."""
        item_pairs = sparse.csr_matrix(self._until(name, moment_idx))
        if name == "near":
            item_pairs = pair_cosine(item_pairs)
        entries, items = item_pairs.tocoo(), self.count_plan.pair_items
        placed = sparse.csr_matrix(
            (entries.data, (items[entries.row], items[entries.col])), shape=(n_items, n_items)
        )
        return strongest_pairs(placed, N_SUCCESSORS)


def _sum_by_category(cell_counts: Float64, catalog: Catalog) -> Float64:
    """Sums of the counts of items by category, shape (..., n_categories)."""
    table_rows = cell_counts.reshape(-1, cell_counts.shape[-1])
    n_categories = catalog.categories.size
    sums = [np.bincount(catalog.item_category, row, minlength=n_categories) for row in table_rows]
    return np.asarray(np.stack(sums).reshape(*cell_counts.shape[:-1], n_categories), np.float64)
