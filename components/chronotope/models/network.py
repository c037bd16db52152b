"""The product's model: own past through kernels, everybody's through priors, gated.

For a query b and an item i,

    score(b, i) = sum_k w_k(c_b) log(1 + sum_{h: item_h = i} K_k(b, h))
                + mlp(log-kernels of i, c_b)                     own recent past
                + sum_l u_l(c_b) log(1 + count_l(b, i))          own whole past
                + sum_g v_g(c_b) G_g(b, i)                       priors, for a discovery
                + <m(c_b, last category), f_category(i)>         kinds, if any, likewise
                  (r(c_b) of both, plus a bonus, for a return)
                + <A c_b, e_i>                                   columns of context, if any
                + a(c_b) <state_b, e_i>                          backbone, if any,
                                                                 for a discovery

where c_b is the context: hour, weekday, gap, history length, repeat rate, and named columns
such as the weather. Without kernels, popularity, columns and the backbone are all there is,
and the backbone has a share of its own in a return.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from chronotope.contracts.event_log import Catalog
from chronotope.models.backbones.backbone import Backbone
from chronotope.models.backbones.event_inputs import PackedSequences
from chronotope.models.batch import Batch
from chronotope.models.category_head import CategoryHead
from chronotope.models.config import ModelConfig
from chronotope.models.context_head import ContextHead
from chronotope.models.history_index import HistoryIndex, index_history, truncate_history
from chronotope.models.item_tables import CandidateView, ItemTables
from chronotope.models.kernels import KERNELS, KernelBank
from chronotope.models.prior_scores import CROWD, PriorWeights, prior_scores
from chronotope.models.priors import Priors
from chronotope.models.query_context import N_CONTEXT, query_context
from chronotope.models.repeat_head import N_COUNTS, EventEvidence, RepeatHead
from chronotope.models.time_head import TimeHead

N_RETURN = 2
"""What a return differs in: the share of the priors it keeps, and a bonus."""

N_BACKBONE = 2
"""The backbone's share in a return, none beside kernels, and in a discovery."""

GATED = (len(KERNELS), len(CROWD), N_COUNTS, N_RETURN, N_BACKBONE)
"""Groups of weights that the gate gives for each query."""

PLACE_KERNELS = ("count", "decay_7d", "hour")


class NetworkOutput(NamedTuple):
    """What the model says.

    Attributes:
        item_scores: Logits of *what*, shape (B, n_items), or (B, C) for candidates.
        when: Log-weight, mean and log-scale of log hours, shape (B, 3, n_components).
        place_scores: Logits of *where*, shape (B, n_places); those of *what* where items
            are places.
    """

    item_scores: Tensor
    when: Tensor
    place_scores: Tensor


class GateWeights(NamedTuple):
    """What the gate gives for each query, one group a part, each of shape (B, n)."""

    kernels: Tensor
    crowd: Tensor
    counts: Tensor
    back: Tensor
    backbone: Tensor


class EncodedQuery(NamedTuple):
    """A batch as the kernels see it: candidates, latest events, items of the past, context."""

    view: CandidateView
    recent: Batch
    past: HistoryIndex
    near: HistoryIndex
    context: Tensor


class ChronotopeNet(nn.Module):
    """Kernels, priors, an optional backbone, and the heads what, when and where."""

    def __init__(self, config: ModelConfig, catalog: Catalog) -> None:
        """Build the layers for a catalogue's size, categories and coordinates."""
        super().__init__()
        self.config = config
        self.n_places = catalog.n_places
        self.places_are_items = catalog.items_are_places and catalog.n_places == catalog.n_items
        self.items = ItemTables(catalog)
        self.surroundings = ContextHead(config.context, self.items)
        n_context = N_CONTEXT + self.surroundings.n_out
        self.kernels = KernelBank(n_context)
        self.own = RepeatHead(self.items.n_categories, config.n_hidden, n_context)
        self.gate = nn.Sequential(
            nn.Linear(n_context, 32), nn.GELU(), _opening_layer(kernels=config.kernels)
        )
        self.next_kind = CategoryHead(self.items.n_categories, n_context) if config.kinds else None
        self.backbone = None if config.backbone == "none" else Backbone(config, self.items)
        self.when = TimeHead(config.n_components)
        self.place_gate = nn.Linear(n_context, 1 + len(PLACE_KERNELS))

    def forward(
        self,
        batch: Batch,
        priors: Priors,
        candidates: Tensor | None = None,
        stretches: PackedSequences | None = None,
    ) -> NetworkOutput:
        """Score items, the next time and every place.

        Args:
            batch: The queries.
            priors: What everybody did before them.
            candidates: Items to score, int64, shape (C,), the first of them 0; None
                scores the whole catalogue.
            stretches: The histories as the backbone may read them, each event once.
        """
        view = self.items.view(priors, candidates)
        recent = truncate_history(batch, self.config.kernel_len)
        past = index_history(batch, view)
        near = past if recent is batch else index_history(recent, view)
        context = query_context(batch, recent, near.is_first)
        told = self.surroundings(batch) if self.surroundings.columns else None
        if told is not None:
            context = torch.cat([context, told], dim=1)
        weights = self.weights(context)
        look = EncodedQuery(view, recent, past, near, context)
        if self.config.kernels:
            bank = self.kernels(recent, self.items, context)  # (B, L, K)
            scores = self._kernel_scores(batch, priors, look, bank, weights)
        else:
            bank, scores = None, weights.crowd[:, :1] * view.popularity
        if told is not None:
            scores = scores + self.surroundings.scores(told, self.items, candidates)
        if self.backbone is not None:
            learned = self.backbone(batch, self.items, priors, candidates, stretches)
            scores = scores + _gated(learned, past, weights.backbone)
        return NetworkOutput(
            item_scores=scores,
            when=self.when(batch, recent),
            place_scores=(
                scores
                if self.places_are_items
                else self._place_scores(recent, priors, context, bank)
            ),
        )

    def weights(self, context: Tensor) -> GateWeights:
        """What the gate gives; beside kernels a backbone says nothing of returns.

        Args:
            context: Of the queries, shape (B, n).
        """
        given = GateWeights(*self.gate(context).split(GATED, dim=1))
        if not self.config.kernels:
            return given
        new = given.backbone[:, 1:]
        return given._replace(backbone=torch.cat([torch.zeros_like(new), new], dim=1))

    def _kernel_scores(
        self, batch: Batch, priors: Priors, look: EncodedQuery, bank: Tensor, weights: GateWeights
    ) -> Tensor:
        """Kernels, counts and priors, (B, C)."""
        view, recent, past, near, context = look
        leaning = self.leaning(recent, bank, context, weights)
        crowd = prior_scores(recent, priors, self.items, view, leaning)
        counts = self.own.counts(batch, past)  # (B, H, N_COUNTS)
        expected = crowd.gather(1, past.column)
        whole = (counts * weights.counts[:, None, :]).sum(-1) + weights.back[:, 1:]
        whole = (whole + expected * (weights.back[:, :1] - 1.0)) * past.is_first
        known = torch.cat([counts, expected[..., None]], dim=-1)[:, -recent.item_idx.shape[1] :]
        evidence = EventEvidence(bank, known, near)
        lately = self.own(evidence, recent, priors, self.items, context, weights.kernels)
        return crowd.scatter_add(1, past.column, whole).scatter_add(1, near.column, lately)

    def leaning(
        self, recent: Batch, bank: Tensor, context: Tensor, weights: GateWeights
    ) -> PriorWeights:
        """How much each query makes of what everybody does.

        Args:
            recent: The queries with their latest L events.
            bank: Kernels, shape (B, L, K).
            context: Shape (B, n).
            weights: What the gate gives.
        """
        leaning = PriorWeights(bank[..., KERNELS.index("decay_30d")], weights.crowd)
        if self.next_kind is None:
            return leaning
        last = self.items.category[recent.item_idx[:, -1]]
        return leaning._replace(kinds=self.next_kind(context, last))

    def _place_scores(
        self, batch: Batch, priors: Priors, context: Tensor, bank: Tensor | None
    ) -> Tensor:
        """Logits of the next place from own visits, if counted, and popularity, (B, n_places)."""
        popular, *own = self.place_gate(context).split(1, dim=1)
        scores: Tensor = priors.place_popularity * popular
        if bank is None:
            return scores
        for kernel, weight in zip(PLACE_KERNELS, own, strict=True):
            counts = torch.zeros(weight.shape[0], self.n_places, device=weight.device)
            counts = counts.scatter_add(1, batch.place_idx, bank[..., KERNELS.index(kernel)])
            scores = scores + torch.log1p(counts) * weight
        return scores


def _gated(learned: Tensor, past: HistoryIndex, weights: Tensor) -> Tensor:
    """A backbone's scores times one weight at returns and another at discoveries, (B, C)."""
    back, new = weights[:, :1], weights[:, 1:]
    more = learned.gather(1, past.column) * (back - new) * past.is_first
    return (learned * new).scatter_add(1, past.column, more)


def _opening_layer(*, kernels: bool) -> nn.Linear:
    """The gate's last layer: at first counts lead, and a return keeps half of the crowd.

    A backbone starts with no share beside kernels, and with a whole one without them.
    """
    layer = nn.Linear(32, sum(GATED))
    nn.init.zeros_(layer.weight)
    start = [0.1] * len(KERNELS) + [0.15] * len(CROWD) + [0.8] * N_COUNTS + [0.5, 1.0]
    layer.bias.data = torch.tensor(start + [0.0 if kernels else 1.0] * N_BACKBONE)
    return layer
