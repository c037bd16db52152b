"""Network of the recommender: repeat kernels, global priors, an optional backbone, and a gate.

For a query b and an item i,

    item_scores(b, i) =
        sum_k weights.kernels_k(c_b) log(1 + sum_{h: item_h = i} kernels_k(b, h))
      + mlp(log-kernels of i, item features of i, c_b)            repeat head, latest events
      + sum_l weights.counts_l(c_b) log(1 + count_l(b, i))        repeat head, full history
      + sum_g weights.priors_g(c_b) prior_g(b, i)                 priors, for a discovery
      + <category_head(c_b, last category), category(i)>          optional, with the priors
      + <context_head(columns_b), e_i>                            optional context columns
      + content_head(latest events, c_b)_i                        optional content vectors
      + weights.backbone(c_b) <state_b, e_i>                      optional, for a discovery
      + item_context_head(levels of i, i in the history)          optional item context

A repeat, an item that is in the history, gets the priors and the category score times
``weights.repeat[0]``, plus the bonus ``weights.repeat[1]``. The discovery head then divides
the probability of all items that are new to the user among them anew (``discovery_head``).
Last come the scores of items without events (``content_head``) and of new users (``user_head``).
c_b is the query context: hour, weekday, gap, history length, repeat rate, and named columns.
Without kernels the sum is popularity, context columns and the backbone, weighted for repeats.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.event_log import Catalog
from chronotope.models.backbones.backbone import Backbone, gated_scores
from chronotope.models.backbones.event_inputs import PackedSequences
from chronotope.models.batch import Batch
from chronotope.models.category_head import CategoryHead
from chronotope.models.cold_users.user_head import UserHead
from chronotope.models.config import ModelConfig
from chronotope.models.content_head import ContentHead, Profiles, selected_content
from chronotope.models.context_head import ContextHead
from chronotope.models.discovery_head import DiscoveryHead, new_item_mask, redistribute
from chronotope.models.gap_features import GapFeatures
from chronotope.models.gate import GATE_SIZES, GateWeights, gate_layers, repeat_adjustment
from chronotope.models.history_index import HistoryIndex, index_history, truncate_history
from chronotope.models.item_context import ItemContextHead
from chronotope.models.item_tables import CandidateView, ItemTables
from chronotope.models.kernels import KERNELS, EventKernels, KernelBank
from chronotope.models.prior_scores import PriorWeights, prior_scores
from chronotope.models.priors import Priors
from chronotope.models.query_context import N_CONTEXT, query_context
from chronotope.models.repeat_head import (
    RepeatHead,
    event_evidence,
)
from chronotope.models.time_head import TimeHead

PLACE_KERNELS = ("count", "decay_7d", "hour")
"""Kernels that are summed over the visits to each place."""


class NetworkOutput(NamedTuple):
    """Outputs of the three heads.

    Attributes:
        item_scores: Logits of the next item, shape (B, n_items), or (B, C) for candidates.
        when: Log-weight, mean and log-scale of log hours, shape (B, 3, n_components + N_AHEAD).
        place_scores: Logits of the next place, shape (B, n_places); equal to
            ``item_scores`` where items are places.
    """

    item_scores: Tensor
    when: Tensor
    place_scores: Tensor


class EncodedQuery(NamedTuple):
    """Inputs of the score terms.

    Attributes:
        view: Candidates that are scored.
        recent: The queries with their latest L events.
        history: Items of the full histories, H events.
        recent_history: Items of the latest L events.
        context: Query context, shape (B, n_context).
    """

    view: CandidateView
    recent: Batch
    history: HistoryIndex
    recent_history: HistoryIndex
    context: Tensor


class ScoredItems(NamedTuple):
    """Item scores, and the inputs of the place head.

    Attributes:
        item_scores: Logits, shape (B, C).
        recent: The queries with their latest L events.
        context: Query context, shape (B, n_context).
        kernels: Kernels of the latest L events; None for a network without them.
        query: Inputs of the score terms.
        profiles: Content of the past; None without content.
    """

    item_scores: Tensor
    recent: Batch
    context: Tensor
    kernels: EventKernels | None
    query: EncodedQuery
    profiles: Profiles | None = None


class ChronotopeNet(nn.Module):
    """Kernels, priors, an optional backbone, and heads for the next item, time and place."""

    def __init__(self, config: ModelConfig, catalog: Catalog) -> None:
        """Build the layers for a catalogue's size, categories and coordinates."""
        super().__init__()
        self.config = config
        self.n_places = catalog.n_places
        self.places_are_items = catalog.items_are_places and catalog.n_places == catalog.n_items
        # Creation order sets the random draws: another order gives another initialisation
        self.item_tables = ItemTables(catalog)
        self.context_head = ContextHead(config.context, self.item_tables)
        n_context = N_CONTEXT + self.context_head.n_out
        n_categories = self.item_tables.n_categories
        self.kernel_bank = KernelBank()
        self.repeat_head = RepeatHead(n_categories, config.n_hidden, n_context)
        self.gate = gate_layers(n_context, kernels=config.kernels)
        self.category_head = CategoryHead(n_categories, n_context) if config.category_head else None
        self.backbone = None if config.backbone == "none" else Backbone(config, self.item_tables)
        self.time_head = TimeHead(config.n_components, n_categories)
        self.place_gate = nn.Linear(n_context, 1 + len(PLACE_KERNELS))
        self.discovery_head = DiscoveryHead(n_context) if config.kernels else None
        content = selected_content(catalog, config)
        self.content_head = None if content is None else ContentHead(content, n_context)
        self.item_context_head = ItemContextHead.of_columns(config, catalog)
        self.user_head = UserHead(catalog, len(config.context)) if config.kernels else None

    def forward(
        self,
        batch: Batch,
        priors: Priors,
        candidates: Tensor | None = None,
        packed_sequences: PackedSequences | None = None,
        gap_features: GapFeatures | None = None,
        recent: Batch | None = None,
    ) -> NetworkOutput:
        """Score items, the time of the next event and every place.

        Args:
            batch: B queries.
            priors: Priors counted before the queries.
            candidates: Items to score, int64, shape (C,), the first of them 0; None
                scores the whole catalogue.
            packed_sequences: Histories for the backbone, overlapping ones stored once.
            gap_features: Inputs of the time head, if they were computed before.
            recent: The queries with their latest ``kernel_len`` events; None cuts them here.
        """
        scored = self.score_items(batch, priors, candidates, packed_sequences, recent)
        return NetworkOutput(
            item_scores=scored.item_scores,
            when=self.time_head(batch, self.item_tables.last_category(batch), gap_features),
            place_scores=(
                scored.item_scores
                if self.places_are_items
                else self.place_scores(scored.recent, priors, scored.context, scored.kernels)
            ),
        )

    def item_scores(self, batch: Batch, priors: Priors) -> Tensor:
        """Logits of all items without the other heads, shape (B, n_items)."""
        return self.score_items(batch, priors).item_scores

    def new_item_scores(
        self,
        batch: Batch,
        priors: Priors,
        candidates: Tensor | None,
        packed_sequences: PackedSequences | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Logits with the discovery head's shift, and the mask of new items, each (B, C).

        The gradient reaches the discovery head alone.

        Args:
            batch: B queries.
            priors: Priors counted before the queries.
            candidates: Items to score, int64, shape (C,), the first of them 0; None scores all.
            packed_sequences: Histories for the backbone, overlapping ones stored once.
        """
        with self._require_discovery_head().paused(), torch.no_grad():
            scored = self.score_items(batch, priors, candidates, packed_sequences)
        shift = self.discovery_shift(batch, priors, scored)
        history = scored.query.history
        return scored.item_scores + shift, new_item_mask(history, scored.item_scores.shape[1])

    def _require_discovery_head(self) -> DiscoveryHead:
        if self.discovery_head is None:
            raise ConfigError(
                "A network without kernels has no discovery head",
                received="kernels: false",
                way_out="Set kernels: true",
            )
        return self.discovery_head

    def score_items(
        self,
        batch: Batch,
        priors: Priors,
        candidates: Tensor | None = None,
        packed_sequences: PackedSequences | None = None,
        recent: Batch | None = None,
    ) -> ScoredItems:
        """Logits of the items, and what the other heads read; arguments as of ``forward``."""
        view = self.item_tables.view(priors, candidates)
        recent = recent or truncate_history(batch, self.config.kernel_len)
        history = index_history(batch, view)
        recent_history = history if recent is batch else index_history(recent, view)
        context = query_context(batch, recent, recent_history.is_first)
        column_features = self.context_head(batch) if self.context_head.columns else None
        if column_features is not None:
            context = torch.cat([context, column_features], dim=1)  # (B, n_context)
        weights = self.gate_weights(context)
        query = EncodedQuery(view, recent, history, recent_history, context)
        kernels = self.event_kernels(recent)
        if kernels is None:
            item_scores = weights.priors[:, :1] * view.popularity  # (B, C)
        else:
            item_scores = self._kernel_scores(batch, priors, query, kernels, weights)
        profiles = self.content_profiles(recent, kernels)
        if self.content_head is not None and profiles is not None:
            wanted = self.content_head.wanted(profiles, context)  # (B, A)
            item_scores = item_scores + wanted @ self.content_head.candidate_vectors(candidates).T
        if column_features is not None:
            item_scores = item_scores + self.context_head.item_scores(
                column_features, self.item_tables, candidates
            )
        if self.backbone is not None:
            backbone_scores = self.backbone(
                batch, self.item_tables, priors, candidates, packed_sequences
            )
            item_scores = item_scores + gated_scores(backbone_scores, history, weights.backbone)
        if self.item_context_head is not None:
            item_scores = item_scores + self.item_context_head(batch, priors, view, history)
        scored = ScoredItems(item_scores, recent, context, kernels, query, profiles)
        return self._with_fitted_heads(batch, priors, candidates, scored)

    def _with_fitted_heads(
        self, batch: Batch, priors: Priors, candidates: Tensor | None, scored: ScoredItems
    ) -> ScoredItems:
        """Scores with the heads that are fitted after the training: new items, new users."""
        item_scores, query, profiles = scored.item_scores, scored.query, scored.profiles
        if self.discovery_head is not None and self.discovery_head.active:
            shift = self.discovery_shift(batch, priors, scored)
            is_new = new_item_mask(query.history, query.view.n_columns)
            item_scores = redistribute(item_scores, shift, is_new)
        if self.content_head is not None and profiles is not None:
            item_scores = item_scores + self.content_head.cold_scores(profiles, priors, candidates)
        if self.user_head is not None and self.user_head.active:
            item_scores = item_scores + self.user_head(batch, query.view, candidates)
        return scored._replace(item_scores=item_scores)

    def event_kernels(self, recent: Batch) -> EventKernels | None:
        """Kernels of the latest L events; None for a network without them."""
        if not self.config.kernels:
            return None
        return self.kernel_bank.event_kernels(
            recent, self.item_tables, whole=self.config.scores_repeats
        )

    def content_profiles(self, recent: Batch, kernels: EventKernels | None) -> Profiles | None:
        """Content of the past; None without a content head.

        Args:
            recent: The queries with their latest L events.
            kernels: Kernels of these events; None for a network without them.
        """
        if self.content_head is None or kernels is None:
            return None
        return self.content_head.profiles(recent, kernels.recency)

    def discovery_shift(self, batch: Batch, priors: Priors, scored: ScoredItems) -> Tensor:
        """Change of the logits of new items by the discovery head, before the division, (B, C)."""
        head, query = self._require_discovery_head(), scored.query
        weights = head.weights(scored.context)
        if scored.kernels is None:  # a network without kernels has no head
            return torch.zeros_like(scored.item_scores)
        prior_weights = PriorWeights(scored.kernels.recency, weights.priors)
        prior_shift = prior_scores(
            query.recent, priors, self.item_tables, query.view, prior_weights
        )
        part_shift = head.part_scores(batch, priors, query.view, query.history, weights)
        return prior_shift + part_shift

    def gate_weights(self, context: Tensor) -> GateWeights:
        """Gate weights; with kernels the backbone's weight for repeats is zero.

        Args:
            context: Query context, shape (B, n_context).
        """
        weights = GateWeights(*self.gate(context).split(GATE_SIZES, dim=1))
        if not self.config.kernels:
            return weights
        discovery_weight = weights.backbone[:, 1:]  # (B, 1)
        no_repeat_weight = torch.zeros_like(discovery_weight)
        return weights._replace(backbone=torch.cat([no_repeat_weight, discovery_weight], dim=1))

    def _kernel_scores(
        self,
        batch: Batch,
        priors: Priors,
        query: EncodedQuery,
        kernels: EventKernels,
        weights: GateWeights,
    ) -> Tensor:
        """Scores of kernels, counts and priors, (B, C)."""
        view, recent, history, recent_history, context = query
        prior_weights = self.prior_weights(recent, kernels, context, weights)
        item_scores = prior_scores(recent, priors, self.item_tables, view, prior_weights)
        expected = item_scores.gather(1, history.column)  # (B, H)
        counts = self.repeat_head.counts(batch, history)  # (B, H, N_COUNTS)
        repeat_scores = repeat_adjustment(counts, expected, weights) * history.is_first
        item_scores = item_scores.scatter_add(1, history.column, repeat_scores)  # (B, C)
        if kernels.bank is None:
            return item_scores
        evidence = event_evidence(kernels.bank, counts, expected, recent_history)
        recent_scores = self.repeat_head(
            evidence, recent, priors, self.item_tables, context, weights.kernels
        )  # (B, L)
        return item_scores.scatter_add(1, recent_history.column, recent_scores)

    def prior_weights(
        self, recent: Batch, kernels: EventKernels, context: Tensor, weights: GateWeights
    ) -> PriorWeights:
        """Weights of the priors for each query.

        Args:
            recent: The queries with their latest L events.
            kernels: Kernels of these events.
            context: Query context, shape (B, n_context).
            weights: Gate weights.
        """
        prior_weights = PriorWeights(kernels.recency, weights.priors)
        if self.category_head is None:
            return prior_weights
        last_category = self.item_tables.category[recent.item_idx[:, -1]]  # (B,)
        return prior_weights._replace(category_scores=self.category_head(context, last_category))

    def place_scores(
        self, batch: Batch, priors: Priors, context: Tensor, kernels: EventKernels | None
    ) -> Tensor:
        """Logits of the next place, (B, n_places): popularity, and the user's visits if any.

        Args:
            batch: The queries with their latest L events.
            priors: Priors counted before the queries.
            context: Query context, shape (B, n_context).
            kernels: Kernels of these events; None for a network without them.
        """
        popularity_weight, *kernel_weights = self.place_gate(context).split(1, dim=1)
        place_scores: Tensor = priors.place_popularity * popularity_weight
        if kernels is None or kernels.bank is None:
            return place_scores
        for kernel_name, kernel_weight in zip(PLACE_KERNELS, kernel_weights, strict=True):
            n_queries, kernel = (
                kernel_weight.shape[0],
                kernels.bank[..., KERNELS.index(kernel_name)],
            )
            visits = kernel.new_zeros(n_queries, priors.place_popularity.shape[0])
            visits = visits.scatter_add(1, batch.place_idx, kernel)  # (B, n_places)
            place_scores = place_scores + torch.log1p(visits) * kernel_weight
        return place_scores
