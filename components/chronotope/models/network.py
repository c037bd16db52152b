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
from chronotope.models.context import N_CONTEXT, context_of
from chronotope.models.crowd import CROWD, crowd_scores
from chronotope.models.items import ItemTables
from chronotope.models.kernels import KERNELS, KernelBank
from chronotope.models.own import N_COUNTS, Evidence, OwnPast
from chronotope.models.past import latest, past_of
from chronotope.models.priors import Priors
from chronotope.models.sequence import SequenceBackbone
from chronotope.models.when import WhenHead

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
        self.own = OwnPast(self.items.n_categories, config.n_hidden)
        self.gate = nn.Sequential(nn.Linear(N_CONTEXT, 32), nn.GELU(), _opening_layer())
        self.backbone = (
            None
            if config.backbone == "none"
            else SequenceBackbone(config, catalog.n_items, self.items.n_categories)
        )
        self.when = WhenHead(config.n_components)
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
        recent = latest(batch, self.config.kernel_len)
        past = past_of(batch, view)
        near = past if recent is batch else past_of(recent, view)
        context = context_of(batch, recent, near.is_first)
        bank = self.kernels(recent, self.items, context)  # (B, L, K)
        of_kernels, of_crowd, of_counts, of_return = self.gate(context).split(GATED, dim=1)
        fading = bank[..., KERNELS.index("decay_30d")]
        crowd = crowd_scores(recent, priors, self.items, view, fading, of_crowd)
        counts = self.own.counts(batch, past)  # (B, H, N_COUNTS)
        expected = crowd.gather(1, past.column)
        whole = (counts * of_counts[:, None, :]).sum(-1) + of_return[:, 1:]
        whole = (whole + expected * (of_return[:, :1] - 1.0)) * past.is_first
        known = torch.cat([counts, expected[..., None]], dim=-1)[:, -recent.item_idx.shape[1] :]
        evidence = Evidence(bank, known, near)
        lately = self.own(evidence, recent, priors, self.items, context, of_kernels)
        scores = crowd.scatter_add(1, past.column, whole).scatter_add(1, near.column, lately)
        if self.backbone is not None:
            scores = scores + self._backbone_scores(self.backbone, batch, candidates)
        return Outputs(
            item_scores=scores,
            when=self.when(batch, recent),
            place_scores=self._place_scores(recent, priors, context, bank),
        )

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
    start = [0.1] * len(KERNELS) + [0.15] * len(CROWD) + [0.8] * N_COUNTS + [0.5, 1.0]
    layer.bias.data = torch.tensor(start)
    return layer
