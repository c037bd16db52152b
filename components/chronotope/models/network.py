"""The product's model: own past through kernels, everybody's through priors, gated.

For a query b and an item i,

    score(b, i) = sum_k w_k(c_b) log(1 + sum_{h: item_h = i} K_k(b, h))
                + mlp(log-kernels of i, c_b)                     own recent past
                + sum_l u_l(c_b) log(1 + count_l(b, i))          own whole past
                + sum_g v_g(c_b) G_g(b, i)                       priors, for a discovery
                  (r(c_b) of them, plus a bonus, for a return)
                + <state_b, e_i>                                 backbone, if any

where c_b is the context: hour, weekday, gap, history length, repeat rate.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from chronotope.contracts.eventlog import Catalog
from chronotope.models.batch import Batch, hours_between, local_hour, local_weekday
from chronotope.models.config import ModelConfig
from chronotope.models.kernels import KERNELS, KernelBank
from chronotope.models.priors import Priors, hour_bin
from chronotope.models.sequence import SequenceBackbone

N_CONTEXT = 12
N_PRIORS = 8
N_COUNTS = 2
"""Counts over the whole history: plain, and decayed by a learned time."""
N_RETURN = 2
"""What a return differs in: the share of the priors it keeps, and a bonus."""

GRID_KM = 1.0


class Outputs(NamedTuple):
    """What the model says.

    Attributes:
        item_scores: Logits of *what*, shape (B, n_items).
        when: Log-weight, mean and log-scale of log hours, shape (B, 3, n_components).
        place_scores: Logits of *where*, shape (B, n_places).
    """

    item_scores: Tensor
    when: Tensor
    place_scores: Tensor


class _View(NamedTuple):
    """The part of the catalogue that is scored: C candidates, all items by default.

    Column 0 stands for the unknown item and everything that is no candidate.

    Attributes:
        column: Column of each item, int64, shape (n_items,); 0 if it is no candidate.
        category, cell: int64, shape (C,).
        xy_km: shape (C, 2); ``located`` float32, shape (C,).
        popularity, popularity_week: shape (C,); ``by_hour`` (N_HOUR_BINS, C).
    """

    column: Tensor
    category: Tensor
    cell: Tensor
    xy_km: Tensor
    located: Tensor
    popularity: Tensor
    popularity_week: Tensor
    by_hour: Tensor


class ChronotopeNet(nn.Module):
    """Kernels, priors, an optional backbone, and the heads what, when and where."""

    item_category: Tensor
    item_cell: Tensor
    item_xy_km: Tensor
    item_located: Tensor

    def __init__(self, config: ModelConfig, catalog: Catalog) -> None:
        """Build the layers for a catalogue's size, categories and coordinates."""
        super().__init__()
        self.config = config
        self.n_places = catalog.n_places
        self.n_categories = catalog.categories.size
        self.items_are_places = catalog.items_are_places
        self._register_catalog(catalog)
        hidden, k = config.n_hidden, len(KERNELS)
        self.kernels = KernelBank()
        opening = nn.Linear(32, k + N_PRIORS + N_COUNTS + N_RETURN)
        nn.init.zeros_(opening.weight)
        # Counts lead at first, and a return keeps half of the priors.
        start = [0.1] * k + [0.2] * N_PRIORS + [0.8] * N_COUNTS + [0.5, 1.0]
        opening.bias.data = torch.tensor(start)
        self.gate = nn.Sequential(nn.Linear(N_CONTEXT, 32), nn.GELU(), opening)
        self.log_tau_h = nn.Parameter(torch.tensor(90.0 * 24.0).log())
        self.mix_kernels = nn.Linear(k + N_COUNTS + 1, hidden)
        self.mix_context = nn.Linear(N_CONTEXT, hidden)
        self.mix_out = nn.Linear(hidden, 1)
        nn.init.zeros_(self.mix_out.weight)
        self.backbone = (
            None
            if config.backbone == "none"
            else SequenceBackbone(config, catalog.n_items, self.n_categories)
        )
        self.when = nn.Sequential(
            nn.Linear(N_CONTEXT + 4, 64), nn.GELU(), nn.Linear(64, 3 * config.n_components)
        )
        self.place_gate = nn.Linear(N_CONTEXT, 4)

    def _register_catalog(self, catalog: Catalog) -> None:
        xy_km, located = _project(catalog.item_lat, catalog.item_lon)
        cells = np.unique(np.floor(xy_km / GRID_KM), axis=0, return_inverse=True)[1].ravel()
        cells = np.where(located, cells + 1, 0)
        self.n_cells = int(cells.max(initial=0)) + 1
        self.has_coordinates = bool(located.any())
        self.register_buffer("item_category", torch.from_numpy(catalog.item_category).long())
        self.register_buffer("item_cell", torch.from_numpy(cells).long())
        self.register_buffer("item_xy_km", torch.from_numpy(xy_km.astype(np.float32)))
        self.register_buffer("item_located", torch.from_numpy(located.astype(np.float32)))

    def forward(self, batch: Batch, priors: Priors, candidates: Tensor | None = None) -> Outputs:
        """Score items, the next time and every place.

        Args:
            batch: The queries.
            priors: What everybody did before them.
            candidates: Items to score, int64, shape (C,), the first of them 0; None
                scores the whole catalogue.
        """
        view = self._view(priors, candidates)
        recent = _latest(batch, self.config.kernel_len)
        bank = self.kernels(recent, self.item_category)  # (B, L, K)
        slot = self._slots(recent.item_idx, view)
        context = self._context(batch, recent, slot, hidden=False)
        n_kernels = len(KERNELS)
        kernel_w, prior_w, count_w, return_w = self.gate(context).split(
            [n_kernels, N_PRIORS, N_COUNTS, N_RETURN], dim=1
        )
        counts = self._counts(batch, view)
        prior = self._prior_scores(recent, priors, view, bank, prior_w)
        scores = torch.where(counts[0] > 0, prior * return_w[:, :1] + return_w[:, 1:], prior)
        for weight, count in zip(count_w.unbind(1), counts, strict=True):
            scores = scores + count * weight[:, None]
        columns = view.column[recent.item_idx]
        counted = torch.stack([count.gather(1, columns) for count in (*counts, prior)], dim=-1)
        own = self._own_scores(recent, bank, counted, slot, context, kernel_w)
        scores = scores.scatter_add(1, columns, own)
        if self.backbone is not None:
            gap_h = hours_between(batch.request_s, batch.occurred_s[:, -1]) * batch.time_given
            state = self.backbone(batch, self.item_category, gap_h)
            table = self.backbone.item_table(self.item_category)
            scores = scores + state @ (table if candidates is None else table[candidates]).T
        return Outputs(
            item_scores=scores,
            when=self._when(batch, recent, slot),
            place_scores=self._place_scores(recent, priors, context, bank),
        )

    def _view(self, priors: Priors, candidates: Tensor | None) -> _View:
        if candidates is None:
            return _View(
                column=torch.arange(self.item_category.shape[0], device=self.item_category.device),
                category=self.item_category,
                cell=self.item_cell,
                xy_km=self.item_xy_km,
                located=self.item_located,
                popularity=priors.popularity,
                popularity_week=priors.popularity_week,
                by_hour=priors.by_hour,
            )
        column = torch.zeros_like(self.item_category)
        column[candidates] = torch.arange(len(candidates), device=column.device)
        return _View(
            column=column,
            category=self.item_category[candidates],
            cell=self.item_cell[candidates],
            xy_km=self.item_xy_km[candidates],
            located=self.item_located[candidates],
            popularity=priors.popularity[candidates],
            popularity_week=priors.popularity_week[candidates],
            by_hour=priors.by_hour[:, candidates],
        )

    def _slots(self, items: Tensor, view: _View) -> Tensor:
        """Position of one representative event of each event's item, int64, (B, H)."""
        at = torch.arange(items.shape[1], dtype=torch.int32, device=items.device)
        columns = view.column[items]
        shape = (items.shape[0], view.category.shape[0])
        table = torch.zeros(shape, dtype=torch.int32, device=items.device)
        return table.scatter(1, columns, at.expand_as(items)).gather(1, columns).long()

    def _counts(self, batch: Batch, view: _View) -> tuple[Tensor, ...]:
        """log(1 + count) of each candidate over the whole history, N_COUNTS of (B, C)."""
        valid = (batch.item_idx > 0).float()
        age_h = hours_between(batch.request_s[:, None], batch.occurred_s)
        columns = view.column[batch.item_idx]
        empty = torch.zeros(valid.shape[0], view.category.shape[0], device=valid.device)
        fading = valid * torch.exp(-age_h / self.log_tau_h.exp())
        return tuple(torch.log1p(empty.scatter_add(1, columns, w)) for w in (valid, fading))

    def _context(self, batch: Batch, recent: Batch, slot: Tensor, *, hidden: bool) -> Tensor:
        """Context of each query, shape (B, N_CONTEXT); without the request if hidden."""
        valid = (recent.item_idx > 0).float()
        last_s, last_offset = batch.occurred_s[:, -1], batch.utc_offset_min[:, -1]
        given = torch.zeros_like(batch.time_given) if hidden else batch.time_given
        at = last_s if hidden else batch.request_s
        offset = last_offset if hidden else batch.request_offset_min
        angle = local_hour(at, offset) * (torch.pi / 12.0)
        weekday = local_weekday(at, offset)
        n_all = (batch.item_idx > 0).float().sum(1)
        n = valid.sum(1)
        columns = torch.arange(slot.shape[1], device=slot.device)
        distinct = ((slot == columns) & (recent.item_idx > 0)).float().sum(1)
        gap_h = hours_between(at, last_s) * valid[:, -1]
        last_gap_h = hours_between(last_s, batch.occurred_s[:, -2]) * valid[:, -2]
        return torch.stack(
            [
                angle.sin(),
                angle.cos(),
                (2 * angle).sin(),
                (2 * angle).cos(),
                (weekday >= 5).float(),
                torch.log1p(gap_h) / 3.0,
                (gap_h < 3.0).float() * given,
                torch.log1p(last_gap_h) / 3.0,
                torch.log1p(n_all) / 4.0,
                distinct / n.clamp(min=1.0),
                given,
                (n > 0).float(),
            ],
            dim=1,
        )

    def _own_scores(
        self,
        recent: Batch,
        bank: Tensor,
        counted: Tensor,
        slot: Tensor,
        context: Tensor,
        weights: Tensor,
    ) -> Tensor:
        """Score of the user's recent past, at one event of each item, shape (B, L)."""
        summed = torch.zeros_like(bank).scatter_add(1, slot[..., None].expand_as(bank), bank)
        logged = torch.log1p(summed)
        linear = (logged * weights[:, None, :]).sum(-1)
        seen = torch.cat([logged, counted], dim=-1)  # (B, L, K + N_COUNTS + 1)
        mixed = self.mix_kernels(seen) + self.mix_context(context)[:, None, :]
        score = linear + self.mix_out(nn.functional.gelu(mixed))[..., 0]
        columns = torch.arange(slot.shape[1], device=slot.device)
        kept: Tensor = score * ((slot == columns) & (recent.item_idx > 0)).float()
        return kept

    def _prior_scores(
        self, batch: Batch, priors: Priors, view: _View, bank: Tensor, weights: Tensor
    ) -> Tensor:
        """Score of everybody's past, the neighbourhood and the tastes, (B, C)."""
        last = batch.item_idx[:, -1]
        moment = hour_bin(
            local_weekday(batch.request_s, batch.request_offset_min),
            local_hour(batch.request_s, batch.request_offset_min),
        )
        month = bank[..., 3]  # decay over 30 days, (B, H)
        taste = torch.log1p(self._histogram(batch, self.item_category, self.n_categories, month))
        succession = priors.next_category[self.item_category[last]]
        of_category = taste * weights[:, 3:4] + succession * weights[:, 4:5]
        scores = (
            view.popularity * weights[:, 0:1]
            + view.popularity_week * weights[:, 1:2]
            + view.by_hour[moment] * weights[:, 2:3]
            + of_category[:, view.category]
        )
        if self.has_coordinates:
            scores = scores + self._near_scores(batch, view, month, weights)
        follow = priors.next_item_log[last] * weights[:, 7:8]  # (B, M)
        return scores.scatter_add(1, view.column[priors.next_item[last]], follow)

    def _near_scores(self, batch: Batch, view: _View, month: Tensor, weights: Tensor) -> Tensor:
        """Score of the user's neighbourhoods and of the distance from the last item, (B, C)."""
        last = batch.item_idx[:, -1]
        nearby = torch.log1p(self._histogram(batch, self.item_cell, self.n_cells, month))
        x_km, y_km = view.xy_km.unbind(1)
        from_km = self.item_xy_km[last]
        apart_km = torch.sqrt((x_km - from_km[:, :1]).square() + (y_km - from_km[:, 1:]).square())
        both = view.located * self.item_located[last][:, None]
        near = torch.log1p(2.0 * apart_km) * both
        return (nearby * weights[:, 5:6])[:, view.cell] - near * weights[:, 6:7]

    def _histogram(self, batch: Batch, group: Tensor, n_groups: int, weight: Tensor) -> Tensor:
        """Weighted count of the history in groups of items, shape (B, n_groups)."""
        counts = torch.zeros(weight.shape[0], n_groups, device=weight.device)
        return counts.scatter_add(1, group[batch.item_idx], weight)

    def _when(self, batch: Batch, recent: Batch, slot: Tensor) -> Tensor:
        """Mixture parameters of log hours to the next event, (B, 3, n_components)."""
        valid = (recent.item_idx > 0).float()
        steps = hours_between(recent.occurred_s[:, 1:], recent.occurred_s[:, :-1])
        steps = torch.log(steps + 0.02)
        known = valid[:, :-1]
        n = known.sum(1).clamp(min=1.0)
        mean = (steps * known).sum(1) / n
        spread = (((steps - mean[:, None]) * known).square().sum(1) / n + 1e-6).sqrt()
        lately = (steps[:, -5:] * known[:, -5:]).sum(1) / known[:, -5:].sum(1).clamp(min=1.0)
        angle = local_weekday(batch.occurred_s[:, -1], batch.utc_offset_min[:, -1]).float()
        extra = torch.stack([mean, spread, lately, angle / 7.0], dim=1)
        raw = self.when(torch.cat([self._context(batch, recent, slot, hidden=True), extra], dim=1))
        logits, mean_h, log_scale = raw.view(raw.shape[0], 3, -1).unbind(1)
        shift = torch.linspace(-3.0, 5.0, logits.shape[1], device=raw.device)
        return torch.stack(
            [torch.log_softmax(logits, 1), mean_h + shift, log_scale.clamp(-4.0, 3.0)], dim=1
        )

    def _place_scores(self, batch: Batch, priors: Priors, context: Tensor, bank: Tensor) -> Tensor:
        """Logits of the next place from own visits and popularity, (B, n_places)."""
        weights = self.place_gate(context)
        scores: Tensor = priors.place_popularity * weights[:, 0:1]
        for column, kernel in enumerate((0, 2, 6), start=1):
            counts = torch.zeros(weights.shape[0], self.n_places, device=weights.device)
            counts = counts.scatter_add(1, batch.place_idx, bank[..., kernel])
            scores = scores + torch.log1p(counts) * weights[:, column : column + 1]
        return scores


def _latest(batch: Batch, length: int) -> Batch:
    """The same queries with at most the latest events of their histories."""
    return batch._replace(
        item_idx=batch.item_idx[:, -length:],
        occurred_s=batch.occurred_s[:, -length:],
        utc_offset_min=batch.utc_offset_min[:, -length:],
        place_idx=batch.place_idx[:, -length:],
    )


def _project(lat_deg: np.ndarray, lon_deg: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Local equirectangular kilometres (n, 2) around the mean, and which are known."""
    located = np.isfinite(lat_deg) & np.isfinite(lon_deg)
    if not located.any():
        return np.zeros((len(lat_deg), 2)), located
    lat, lon = lat_deg[located].mean(), lon_deg[located].mean()
    y = 110.57 * (np.where(located, lat_deg, lat) - lat)
    x = 111.32 * np.cos(np.radians(lat)) * (np.where(located, lon_deg, lon) - lon)
    return np.stack([x, y], axis=1), located
