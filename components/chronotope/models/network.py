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

import torch
from torch import Tensor, nn

from chronotope.contracts.eventlog import Catalog
from chronotope.models.batch import Batch, hours_between
from chronotope.models.config import ModelConfig
from chronotope.models.context import N_CONTEXT, N_RHYTHM, context_of, rhythm_of
from chronotope.models.crowd import CROWD, crowd_scores
from chronotope.models.items import ItemTables, View
from chronotope.models.kernels import KERNELS, KernelBank
from chronotope.models.priors import Priors
from chronotope.models.sequence import SequenceBackbone

N_COUNTS = 2
"""Counts over the whole history: plain, and decayed by a learned time."""

N_RETURN = 2
"""What a return differs in: the share of the priors it keeps, and a bonus."""

GATED = (len(KERNELS), len(CROWD), N_COUNTS, N_RETURN)
"""Groups of weights that the gate gives for each query."""

PLACE_KERNELS = ("count", "decay_7d", "hour")


class Outputs(NamedTuple):
    """What the model says.

    Attributes:
        item_scores: Logits of *what*, shape (B, n_items), or (B, C) for candidates.
        when: Log-weight, mean and log-scale of log hours, shape (B, 3, n_components).
        place_scores: Logits of *where*, shape (B, n_places).
    """

    item_scores: Tensor
    when: Tensor
    place_scores: Tensor


class ChronotopeNet(nn.Module):
    """Kernels, priors, an optional backbone, and the heads what, when and where."""

    def __init__(self, config: ModelConfig, catalog: Catalog) -> None:
        """Build the layers for a catalogue's size, categories and coordinates."""
        super().__init__()
        self.config = config
        self.n_places = catalog.n_places
        self.items_are_places = catalog.items_are_places
        self.items = ItemTables(catalog)
        self.kernels = KernelBank()
        self.log_tau_h = nn.Parameter(torch.tensor(90.0 * 24.0).log())
        self.gate = nn.Sequential(nn.Linear(N_CONTEXT, 32), nn.GELU(), _opening_layer())
        self.mix_kernels = nn.Linear(len(KERNELS) + N_COUNTS + 1, config.n_hidden)
        self.mix_context = nn.Linear(N_CONTEXT, config.n_hidden)
        self.mix_out = nn.Linear(config.n_hidden, 1)
        nn.init.zeros_(self.mix_out.weight)
        self.backbone = (
            None
            if config.backbone == "none"
            else SequenceBackbone(config, catalog.n_items, self.items.n_categories)
        )
        self.when = nn.Sequential(
            nn.Linear(N_CONTEXT + N_RHYTHM, 64), nn.GELU(), nn.Linear(64, 3 * config.n_components)
        )
        self.place_gate = nn.Linear(N_CONTEXT, 1 + len(PLACE_KERNELS))

    def forward(self, batch: Batch, priors: Priors, candidates: Tensor | None = None) -> Outputs:
        """Score items, the next time and every place.

        Args:
            batch: The queries.
            priors: What everybody did before them.
            candidates: Items to score, int64, shape (C,), the first of them 0; None
                scores the whole catalogue.
        """
        view = self.items.view(priors, candidates)
        recent = _latest(batch, self.config.kernel_len)
        bank = self.kernels(recent, self.items.category)  # (B, L, K)
        slot, is_first = _slots(recent, view)
        context = context_of(batch, recent, is_first, hidden=False)
        of_kernels, of_crowd, of_counts, of_return = self.gate(context).split(GATED, dim=1)
        counts = self._counts(batch, view)
        fading = bank[..., KERNELS.index("decay_30d")]
        crowd = crowd_scores(recent, priors, self.items, view, fading, of_crowd)
        scores = torch.where(counts[0] > 0, crowd * of_return[:, :1] + of_return[:, 1:], crowd)
        for weight, count in zip(of_counts.split(1, dim=1), counts, strict=True):
            scores = scores + count * weight
        columns = view.column[recent.item_idx]
        known = torch.stack([dense.gather(1, columns) for dense in (*counts, crowd)], dim=-1)
        own = self._own_scores(bank, known, slot, context, of_kernels) * is_first
        scores = scores.scatter_add(1, columns, own)
        if self.backbone is not None:
            scores = scores + self._backbone_scores(self.backbone, batch, candidates)
        rhythm = [context_of(batch, recent, is_first, hidden=True), rhythm_of(recent)]
        return Outputs(
            item_scores=scores,
            when=_mixture(self.when(torch.cat(rhythm, dim=1))),
            place_scores=self._place_scores(recent, priors, context, bank),
        )

    def _counts(self, batch: Batch, view: View) -> tuple[Tensor, ...]:
        """log(1 + count) of each candidate over the whole history, N_COUNTS of (B, C)."""
        valid = (batch.item_idx > 0).float()
        age_h = hours_between(batch.request_s[:, None], batch.occurred_s)
        columns = view.column[batch.item_idx]
        empty = torch.zeros(valid.shape[0], view.n_columns, device=valid.device)
        fading = valid * torch.exp(-age_h / self.log_tau_h.exp())
        return tuple(torch.log1p(empty.scatter_add(1, columns, w)) for w in (valid, fading))

    def _own_scores(
        self, bank: Tensor, known: Tensor, slot: Tensor, context: Tensor, weights: Tensor
    ) -> Tensor:
        """Score of each item of the recent past, right at its representative, (B, L).

        Args:
            bank: Kernels of each event, shape (B, L, K).
            known: Counts and crowd's score of each event's item, (B, L, N_COUNTS + 1).
            slot: Representative of each event's item, shape (B, L).
            context: Shape (B, N_CONTEXT).
            weights: Of the kernels, shape (B, K).
        """
        summed = torch.zeros_like(bank).scatter_add(1, slot[..., None].expand_as(bank), bank)
        logged = torch.log1p(summed)
        linear = (logged * weights[:, None, :]).sum(-1)
        seen = torch.cat([logged, known], dim=-1)
        mixed = self.mix_kernels(seen) + self.mix_context(context)[:, None, :]
        score: Tensor = linear + self.mix_out(nn.functional.gelu(mixed))[..., 0]
        return score

    def _backbone_scores(
        self, backbone: SequenceBackbone, batch: Batch, candidates: Tensor | None
    ) -> Tensor:
        """Inner product of the backbone's state with the items, (B, C)."""
        gap_h = hours_between(batch.request_s, batch.occurred_s[:, -1]) * batch.time_given
        state: Tensor = backbone(batch, self.items.category, gap_h)
        table = backbone.item_table(self.items.category)
        return state @ (table if candidates is None else table[candidates]).T

    def _place_scores(self, batch: Batch, priors: Priors, context: Tensor, bank: Tensor) -> Tensor:
        """Logits of the next place from own visits and popularity, (B, n_places)."""
        popular, *own = self.place_gate(context).split(1, dim=1)
        scores: Tensor = priors.place_popularity * popular
        for kernel, weight in zip(PLACE_KERNELS, own, strict=True):
            counts = torch.zeros(weight.shape[0], self.n_places, device=weight.device)
            counts = counts.scatter_add(1, batch.place_idx, bank[..., KERNELS.index(kernel)])
            scores = scores + torch.log1p(counts) * weight
        return scores


def _opening_layer() -> nn.Linear:
    """The gate's last layer: at first counts lead, and a return keeps half of the crowd."""
    layer = nn.Linear(32, sum(GATED))
    nn.init.zeros_(layer.weight)
    start = [0.1] * len(KERNELS) + [0.2] * len(CROWD) + [0.8] * N_COUNTS + [0.5, 1.0]
    layer.bias.data = torch.tensor(start)
    return layer


def _slots(recent: Batch, view: View) -> tuple[Tensor, Tensor]:
    """One representative event of each item: its position, and where it stands.

    Returns:
        Position of the representative of each event's item, int64, shape (B, L), and 1
        at the representatives, float32, shape (B, L).
    """
    items = recent.item_idx
    at = torch.arange(items.shape[1], dtype=torch.int32, device=items.device)
    columns = view.column[items]
    table = torch.zeros(items.shape[0], view.n_columns, dtype=torch.int32, device=items.device)
    slot = table.scatter(1, columns, at.expand_as(items)).gather(1, columns).long()
    return slot, ((slot == at) & (items > 0)).float()


def _mixture(raw: Tensor) -> Tensor:
    """Parameters of the mixture of lognormals, spread over scales, (B, 3, n_components)."""
    logits, mean, log_scale = raw.view(raw.shape[0], 3, -1).unbind(1)
    spread = torch.linspace(-3.0, 5.0, logits.shape[1], device=raw.device)
    return torch.stack(
        [torch.log_softmax(logits, 1), mean + spread, log_scale.clamp(-4.0, 3.0)], dim=1
    )


def _latest(batch: Batch, length: int) -> Batch:
    """The same queries with at most the latest events of their histories."""
    return batch._replace(
        item_idx=batch.item_idx[:, -length:],
        occurred_s=batch.occurred_s[:, -length:],
        utc_offset_min=batch.utc_offset_min[:, -length:],
        place_idx=batch.place_idx[:, -length:],
    )
