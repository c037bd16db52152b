"""The model for catalogues too large to score: a query for an index, and scores of few items.

Without coordinates, the score of an item is an inner product, a score of its category, and
what the user's own past and its neighbourhood add to a few items,

    score(b, i) = <q_b, v_i> + g_b[category of i] + sum_{s: item_s = i} x_bs

with v_i = popularity, popularity of the week, hours, taste for the context, embedding. The
weights are those of ``ChronotopeNet``, and so are the scores; nothing is as wide as the catalogue.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from chronotope.contracts.errors import ConfigError
from chronotope.models.batch import Batch
from chronotope.models.history_index import HistoryIndex, truncate_history
from chronotope.models.network import ChronotopeNet
from chronotope.models.prior_scores import PriorParts, PriorWeights, prior_parts
from chronotope.models.priors import N_HOUR_BINS, Priors
from chronotope.models.query_context import query_context
from chronotope.models.repeat_head import EventEvidence


class FactorizedOutput(NamedTuple):
    """What the model says of B queries.

    Attributes:
        query: Shape (B, D), as wide as the rows of ``item_vectors``.
        group: Score of each category, shape (B, n_categories).
        extra_item: Items that get more, 0 for none, int64, shape (B, S).
        extra: What they get; of one item several add up, shape (B, S).
        when: As of ``ChronotopeNet``.
        place_scores: As of ``ChronotopeNet``.
    """

    query: Tensor
    group: Tensor
    extra_item: Tensor
    extra: Tensor
    when: Tensor
    place_scores: Tensor


def item_vectors(net: ChronotopeNet, priors: Priors) -> Tensor:
    """v_i of all items, shape (n_items, D)."""
    parts = [priors.popularity[:, None], priors.popularity_week[:, None], priors.by_hour.T]
    around = net.surroundings
    if around.columns:
        parts.append(around.item.weight + around.category.weight[net.items.category])
    if net.backbone is not None:
        parts.append(net.backbone.table(net.items, priors))
    return torch.cat(parts, dim=1)


def is_separable(net: ChronotopeNet) -> bool:
    """Whether its scores are inner products: no item has coordinates."""
    return not (net.items.has_coordinates or net.places_are_items)


class FactorizedNet(nn.Module):
    """A trained network, asked for a query instead of scores."""

    def __init__(self, net: ChronotopeNet) -> None:
        """Share the layers of a network.

        Raises:
            ConfigError: Its scores are no inner products: items have coordinates.
        """
        super().__init__()
        if not is_separable(net):
            raise ConfigError(
                "A catalogue with coordinates cannot be ranked over codes",
                received="items with coordinates",
                way_out="Score it in full, or leave the coordinates of the items out",
            )
        self.net = net

    def forward(self, batch: Batch, priors: Priors, vectors: Tensor) -> FactorizedOutput:
        """Query, categories, a few items, when and where.

        Args:
            batch: The queries.
            priors: What everybody did before them.
            vectors: Embeddings of the histories' items, shape (B, H, d_model); of any width
                where there is no backbone.
        """
        net = self.net
        recent = truncate_history(batch, net.config.kernel_len)
        past = _own(batch)
        near = past if recent is batch else _own(recent)
        context = query_context(batch, recent, near.is_first)
        told = net.surroundings(batch) if net.surroundings.columns else None
        if told is not None:
            context = torch.cat([context, told], dim=1)
        weights = net.weights(context)
        bank = net.kernels(recent, net.items, context) if net.config.kernels else None
        leaning = None if bank is None else net.leaning(recent, bank, context, weights)
        crowd = _crowd(net, recent, priors, leaning, weights.crowd)
        query, own = [crowd.everywhere], torch.zeros_like(past.is_first)
        if told is not None:
            query.append(net.surroundings.tastes(told))
        if net.backbone is not None:
            state = net.backbone.state(batch, vectors[:, -net.backbone.length :])
            query.append(state * weights.backbone[:, 1:])
            learned = (vectors * state[:, None, :]).sum(-1)  # (B, H)
            own = learned * (weights.backbone[:, :1] - weights.backbone[:, 1:]) * past.is_first
        items, extra = [crowd.found, batch.item_idx], [crowd.told, own]
        if bank is not None:
            counts = net.own.counts(batch, past)  # (B, H, N_COUNTS)
            expected = _expected(batch, priors, crowd, net.items.category)
            whole = (counts * weights.counts[:, None, :]).sum(-1) + weights.back[:, 1:]
            whole = (whole + expected * (weights.back[:, :1] - 1.0)) * past.is_first
            known = torch.cat([counts, expected[..., None]], dim=-1)
            evidence = EventEvidence(bank, known[:, -recent.item_idx.shape[1] :], near)
            extra[1] = own + whole
            items.append(recent.item_idx)
            extra.append(net.own(evidence, recent, priors, net.items, context, weights.kernels))
        return FactorizedOutput(
            query=torch.cat(query, dim=1),
            group=crowd.of_category,
            extra_item=torch.cat(items, dim=1),
            extra=torch.cat(extra, dim=1),
            when=net.when(batch, recent),
            place_scores=net._place_scores(recent, priors, context, bank),
        )


def _own(batch: Batch) -> HistoryIndex:
    """The first event of each item of a history stands for it; its slot is its column."""
    items = batch.item_idx
    at = torch.arange(items.shape[1], device=items.device)
    same = items[:, :, None] == items[:, None, :]  # (B, H, H)
    slot = torch.where(same, at, items.shape[1]).amin(-1)
    return HistoryIndex(slot, slot, ((slot == at) & (items > 0)).float())


def _crowd(
    net: ChronotopeNet, recent: Batch, priors: Priors, leaning: PriorWeights | None, weights: Tensor
) -> PriorParts:
    """The priors' parts; of a network without kernels popularity alone."""
    if leaning is not None:
        return prior_parts(recent, priors, net.items, leaning)
    popular = weights[:, :1]
    nothing = popular.new_zeros(len(popular), 0)
    return PriorParts(
        everywhere=nn.functional.pad(popular, (0, 1 + N_HOUR_BINS)),
        of_category=popular.new_zeros(1, net.items.n_categories).expand(len(popular), -1),
        found=nothing.long(),
        told=nothing,
    )


def _expected(batch: Batch, priors: Priors, crowd: PriorParts, category: Tensor) -> Tensor:
    """What the crowd says of the items of the histories, (B, H)."""
    items = batch.item_idx
    popular = [priors.popularity[items], priors.popularity_week[items]]
    told = torch.stack([*popular, *priors.by_hour[:, items].unbind(0)], dim=-1)
    scores = (told * crowd.everywhere[:, None, :]).sum(-1)
    scores = scores + crowd.of_category.gather(1, category[items])
    beside = (items[:, :, None] == crowd.found[:, None, :]).float()  # (B, H, F)
    total: Tensor = scores + (beside * crowd.told[:, None, :]).sum(-1)
    return total
