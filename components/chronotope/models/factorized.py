"""Factorized form of the network for large catalogues: one query vector, and scores of a few items.

Without coordinates, the score of an item is an inner product, a score of its category, and
additions for few items (those of the history, their neighbours and successors),

    item_scores(b, i) = <query_b, item_vectors_i> + group_b[category of i]
                        + sum_{s: extra_item_s = i} extra_bs

where ``item_vectors`` holds popularity, popularity of the week, hours, the context embedding,
the content and the backbone embedding. The weights are those of ``ChronotopeNet``, and so are
the scores; no tensor is as wide as the catalogue.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from chronotope.contracts.errors import ConfigError
from chronotope.models.batch import Batch
from chronotope.models.gate import GateWeights, repeat_adjustment
from chronotope.models.history_index import HistoryIndex, truncate_history
from chronotope.models.kernels import EventKernels
from chronotope.models.network import ChronotopeNet
from chronotope.models.prior_scores import PriorParts, PriorWeights, prior_parts
from chronotope.models.priors import N_HOUR_BINS, Priors
from chronotope.models.query_context import query_context
from chronotope.models.repeat_head import event_evidence


class FactorizedOutput(NamedTuple):
    """Outputs for B queries.

    Attributes:
        query: Query vector, shape (B, D), as wide as the rows of ``item_vectors``.
        group: Score of each category, shape (B, n_categories).
        extra_item: Items with an addition, 0 for none, int64, shape (B, S).
        extra: Their additions; several of one item add up, shape (B, S).
        when: Time mixture of ``ChronotopeNet``.
        place_scores: Place logits of ``ChronotopeNet``.
    """

    query: Tensor
    group: Tensor
    extra_item: Tensor
    extra: Tensor
    when: Tensor
    place_scores: Tensor


def item_vectors(net: ChronotopeNet, priors: Priors) -> Tensor:
    """Vectors of all items, shape (n_items, D)."""
    vector_parts = [priors.popularity[:, None], priors.popularity_week[:, None], priors.by_hour.T]
    if net.context_head.columns:
        vector_parts.append(net.context_head.item_table(net.item_tables))
    if net.content_head is not None:
        row_vectors, cold_share = net.content_head.vectors, priors.cold_share[:, None]
        expected = priors.content_popularity[:, None] * cold_share
        vector_parts += [row_vectors, row_vectors * cold_share, expected, cold_share]
    if net.backbone is not None:
        vector_parts.append(net.backbone.item_table(net.item_tables, priors))
    return torch.cat(vector_parts, dim=1)


def is_separable(net: ChronotopeNet) -> bool:
    """Whether the scores are inner products: no item has coordinates or a context of its own."""
    return not (
        net.item_tables.has_coordinates or net.places_are_items or net.item_context_head is not None
    )


class FactorizedNet(nn.Module):
    """A trained network that outputs query vectors instead of scores."""

    def __init__(self, net: ChronotopeNet) -> None:
        """Share the layers of a network.

        Raises:
            ConfigError: The scores are no inner products: items have coordinates.
        """
        super().__init__()
        if not is_separable(net):
            raise ConfigError(
                "A catalogue with coordinates cannot be ranked by an item index",
                received="items with coordinates",
                way_out="Score all items, or leave the coordinates of the items out",
            )
        self.net = net

    def forward(
        self, batch: Batch, priors: Priors, vectors: Tensor, recent: Batch | None = None
    ) -> FactorizedOutput:
        """Query vector, category scores, additions, and the outputs of time and place.

        Args:
            batch: B queries.
            priors: Priors counted before the queries.
            vectors: Embeddings of the histories' items, shape (B, H, d_model); of any width
                where there is no backbone.
            recent: The queries with their latest ``kernel_len`` events; None cuts them here.
        """
        net = self.net
        recent = recent or truncate_history(batch, net.config.kernel_len)
        user_history = _index_history(batch)
        recent_history = user_history if recent is batch else _index_history(recent)
        context = query_context(batch, recent, recent_history.is_first)
        column_features = net.context_head(batch) if net.context_head.columns else None
        if column_features is not None:
            context = torch.cat([context, column_features], dim=1)  # (B, n_context)
        weights = net.gate_weights(context)
        kernels = net.event_kernels(recent)
        prior_weights = (
            None if kernels is None else net.prior_weights(recent, kernels, context, weights)
        )
        parts = _prior_parts(net, recent, priors, prior_weights, weights.priors)
        query_parts, repeat_scores = (
            [parts.popularity_weights],
            torch.zeros_like(user_history.is_first),
        )
        if column_features is not None:
            query_parts.append(net.context_head.context_layer(column_features))
        query_parts += _content_parts(net, recent, kernels, context)
        if net.backbone is not None:
            state = net.backbone.state(batch, vectors[:, -net.backbone.window_len :])  # (B, d)
            query_parts.append(state * weights.backbone[:, 1:])
            repeat_scores = _backbone_repeat_scores(vectors, state, weights) * user_history.is_first
        extra_items, extra_scores = [parts.extra_item_idx, batch.item_idx], [parts.extra_scores]
        if kernels is None:
            extra_scores.append(repeat_scores)
        else:
            counts = net.repeat_head.counts(batch, user_history)  # (B, H, N_COUNTS)
            expected = _expected_scores(batch, priors, parts, net.item_tables.category)  # (B, H)
            adjustment = repeat_adjustment(counts, expected, weights) * user_history.is_first
            extra_scores.append(repeat_scores + adjustment)
            if kernels.bank is not None:
                evidence = event_evidence(kernels.bank, counts, expected, recent_history)
                recent_scores = net.repeat_head(
                    evidence, recent, priors, net.item_tables, context, weights.kernels
                )  # (B, L)
                extra_items.append(recent.item_idx)
                extra_scores.append(recent_scores)
        return FactorizedOutput(
            query=torch.cat(query_parts, dim=1),  # (B, D)
            group=parts.category_scores,
            extra_item=torch.cat(extra_items, dim=1),  # (B, F + H + L)
            extra=torch.cat(extra_scores, dim=1),  # (B, F + H + L)
            when=net.time_head(batch, net.item_tables.last_category(batch)),
            place_scores=net.place_scores(recent, priors, context, kernels),
        )


def _content_parts(
    net: ChronotopeNet, recent: Batch, kernels: EventKernels | None, context: Tensor
) -> list[Tensor]:
    """Parts of the query vector for the content of the items, each (B, n)."""
    profiles = net.content_profiles(recent, kernels)
    if net.content_head is None or profiles is None:
        return []
    cold_weights = net.content_head.cold_weights[-2:].expand(context.shape[0], -1)
    return [
        net.content_head.wanted(profiles, context),
        net.content_head.cold_wanted(profiles),
        cold_weights,
    ]


def _index_history(batch: Batch) -> HistoryIndex:
    """Index in which the first event of each item is its representative and its column."""
    item_idx = batch.item_idx
    positions = torch.arange(item_idx.shape[1], device=item_idx.device)
    is_equal = item_idx[:, :, None] == item_idx[:, None, :]  # (B, H, H)
    first_position = torch.where(is_equal, positions, item_idx.shape[1]).amin(-1)  # (B, H)
    is_first = ((first_position == positions) & (item_idx > 0)).float()
    return HistoryIndex(first_position, first_position, is_first)


def _backbone_repeat_scores(vectors: Tensor, state: Tensor, weights: GateWeights) -> Tensor:
    """Difference of the backbone's score of a repeat from that of a discovery, (B, H)."""
    backbone_scores = (vectors * state[:, None, :]).sum(-1)  # (B, H)
    return backbone_scores * (weights.backbone[:, :1] - weights.backbone[:, 1:])


def _prior_parts(
    net: ChronotopeNet,
    recent: Batch,
    priors: Priors,
    prior_weights: PriorWeights | None,
    gate_weights: Tensor,
) -> PriorParts:
    """Parts of the prior scores; of a network without kernels popularity alone."""
    if prior_weights is not None:
        return prior_parts(recent, priors, net.item_tables, prior_weights)
    popularity_weight = gate_weights[:, :1]
    n_queries, n_categories = len(popularity_weight), priors.next_category.shape[0]
    no_items = popularity_weight.new_zeros(n_queries, 0)
    return PriorParts(
        popularity_weights=nn.functional.pad(popularity_weight, (0, 1 + N_HOUR_BINS)),
        category_scores=popularity_weight.new_zeros(1, n_categories).expand(n_queries, -1),
        extra_item_idx=no_items.long(),
        extra_scores=no_items,
    )


def _expected_scores(batch: Batch, priors: Priors, parts: PriorParts, category: Tensor) -> Tensor:
    """Prior scores of the items of the histories, (B, H)."""
    item_idx = batch.item_idx
    popularity = [priors.popularity[item_idx], priors.popularity_week[item_idx]]
    hour_excess = priors.by_hour[:, item_idx].unbind(0)  # N_HOUR_BINS of (B, H)
    item_table = torch.stack([*popularity, *hour_excess], dim=-1)  # (B, H, 2 + N_HOUR_BINS)
    item_scores = (item_table * parts.popularity_weights[:, None, :]).sum(-1)
    item_scores = item_scores + parts.category_scores.gather(1, category[item_idx])
    is_extra = (item_idx[:, :, None] == parts.extra_item_idx[:, None, :]).float()  # (B, H, F)
    expected: Tensor = item_scores + (is_extra * parts.extra_scores[:, None, :]).sum(-1)
    return expected
