"""Exact decomposition of item scores into the terms of the network.

The score of an item is a sum (see ``models.network``): every kernel, count and prior with its
weight, the bonus of a repeat, the MLP of the repeat head, and the heads. The MLP is one hidden
layer, so the integrated gradients of its inputs x from a baseline of zeros, an item without events
in the same context, have a closed form. With h = W x, c the rest of the hidden layer's input and
w the output weights,

    share_j = sum_u w_u W_uj x_j (gelu(c_u + h_u) - gelu(c_u)) / h_u

which sum to MLP(x) - MLP(0). A term that is missing here shows as ``other``, which a test holds at
zero: a new term of the network gets a line in ``_head_terms``.

Source:
    Sundararajan et al. (2017), Axiomatic Attribution for Deep Networks: integrated gradients.
"""

from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from chronotope.contracts.errors import ConfigError
from chronotope.models.backbones.backbone import gated_scores
from chronotope.models.batch import Batch
from chronotope.models.discovery_head import new_item_mask, redistribute
from chronotope.models.gate import GateWeights, repeat_adjustment
from chronotope.models.history_index import item_rows
from chronotope.models.kernels import KERNELS, EventKernels
from chronotope.models.network import ChronotopeNet, EncodedQuery, ScoredItems
from chronotope.models.prior_scores import PRIOR_NAMES, PriorWeights, prior_scores
from chronotope.models.priors import Priors
from chronotope.models.repeat_head import N_COUNTS

OTHER: Final = "other"
COUNT_NAMES: Final = ("count of all events", "count of all events, decayed")
MIX_NAMES: Final = (*KERNELS, *COUNT_NAMES, "priors")
"""Inputs of the MLP."""

_SMALL: Final = 1e-4
"""Hidden inputs below it take the derivative instead of the quotient."""


class ScoreTerms(NamedTuple):
    """Terms of the scores of B queries.

    Attributes:
        names: T names: ``kernel NAME``, ``prior NAME``, ``network NAME`` for the shares of the
            MLP, and those of the heads.
        values: Their values, shape (T, B, n_items); they sum to the scores.
    """

    names: tuple[str, ...]
    values: Tensor


@torch.no_grad()
def score_terms(net: ChronotopeNet, batch: Batch, priors: Priors) -> ScoreTerms:
    """Terms of the scores of all items.

    Args:
        net: The network, in evaluation mode.
        batch: B queries.
        priors: Priors counted before the queries.

    Raises:
        ConfigError: The network has no kernels.
    """
    if not net.config.kernels:
        raise ConfigError("Only a network with kernels has a decomposition", received="no kernels")
    scored = net.score_items(batch, priors)
    kernels = scored.kernels
    if kernels is None:
        raise ConfigError("The network has no kernels")
    weights = net.gate_weights(scored.context)
    terms = {
        **_prior_terms(net, priors, scored.query, kernels, weights),
        **_count_terms(net, batch, scored.query, weights),
        **_repeat_terms(net, batch, priors, scored.query, kernels, weights),
        **_head_terms(net, batch, priors, scored, weights),
    }
    before_fitted = torch.stack(list(terms.values())).sum(0)
    terms |= _fitted_terms(net, batch, priors, scored, before_fitted)
    values = torch.stack(list(terms.values()))
    rest = scored.item_scores - values.sum(0)
    return ScoreTerms((*terms, OTHER), torch.cat([values, rest[None]]))


def _at_items(query: EncodedQuery, event_values: Tensor) -> Tensor:
    """Values at the representatives of the full history, moved to their items, (B, n_items)."""
    user_history = query.history
    empty = event_values.new_zeros(len(event_values), query.view.n_columns)
    return empty.scatter_add(1, user_history.column, event_values * user_history.is_first)


def _prior_terms(
    net: ChronotopeNet,
    priors: Priors,
    query: EncodedQuery,
    kernels: EventKernels,
    weights: GateWeights,
) -> dict[str, Tensor]:
    """Each prior; a repeat gets its share of it."""
    repeat_share = weights.repeat[:, :1]
    parts: list[tuple[str, Tensor, Tensor | None]] = [
        (f"prior {name}", weights.priors * (torch.arange(len(PRIOR_NAMES)) == column), None)
        for column, name in enumerate(PRIOR_NAMES)
    ]
    if net.category_head is not None:
        full = net.prior_weights(query.recent, kernels, query.context, weights)
        parts.append(("category head", torch.zeros_like(weights.priors), full.category_scores))
    terms = {}
    for name, prior_weight, category_scores in parts:
        item_scores = prior_scores(
            query.recent,
            priors,
            net.item_tables,
            query.view,
            PriorWeights(kernels.recency, prior_weight, category_scores),
        )
        expected = item_scores.gather(1, query.history.column)  # (B, H)
        terms[name] = item_scores + _at_items(query, expected * (repeat_share - 1.0))
    return terms


def _count_terms(
    net: ChronotopeNet, batch: Batch, query: EncodedQuery, weights: GateWeights
) -> dict[str, Tensor]:
    """Counts over the full history, and the bonus of a repeat."""
    counts = net.repeat_head.counts(batch, query.history)  # (B, H, N_COUNTS)
    terms = {
        COUNT_NAMES[column]: _at_items(query, counts[..., column] * weights.counts[:, column, None])
        for column in range(N_COUNTS)
    }
    bonus = repeat_adjustment(torch.zeros_like(counts), torch.zeros_like(counts[..., 0]), weights)
    return {**terms, "repeat": _at_items(query, bonus)}


def _repeat_terms(
    net: ChronotopeNet,
    batch: Batch,
    priors: Priors,
    query: EncodedQuery,
    kernels: EventKernels,
    weights: GateWeights,
) -> dict[str, Tensor]:
    """Kernels of the latest events, and the shares of the MLP over them; none if unread."""
    bank = kernels.bank
    if bank is None:
        return {}
    head, recent_history = net.repeat_head, query.recent_history
    rows = item_rows(recent_history)
    log_kernels = torch.log1p(rows.sum_by_item(bank))  # (R, K)
    kernel_values = log_kernels * rows.repeat_query(weights.kernels)  # (R, K)
    full = net.prior_weights(query.recent, kernels, query.context, weights)
    expected = prior_scores(query.recent, priors, net.item_tables, query.view, full)
    features = torch.cat(
        [
            head.counts(batch, query.history),
            expected.gather(1, query.history.column)[..., None],
        ],
        dim=-1,
    )[:, -bank.shape[1] :]  # (B, L, N_COUNTS + 1)
    inputs = torch.cat([log_kernels, rows.select(features)], dim=-1)  # (R, K + N_COUNTS + 1)
    context = head.mix_kernels.bias + rows.repeat_query(head.mix_context(query.context))
    context = context + head.mix_features(
        head.item_features(rows, query.recent, priors, net.item_tables)
    )  # (R, n_hidden)
    shares, constant = integrated_gradients(
        inputs, head.mix_kernels.weight, context, head.mix_out.weight[0]
    )

    def at_items(row_values: Tensor) -> Tensor:
        values = rows.at_events(row_values) * recent_history.is_first  # (B, L)
        empty = values.new_zeros(len(values), query.view.n_columns)
        return empty.scatter_add(1, recent_history.column, values)

    terms = {f"kernel {name}": at_items(kernel_values[:, k]) for k, name in enumerate(KERNELS)}
    terms |= {f"network {name}": at_items(shares[:, j]) for j, name in enumerate(MIX_NAMES)}
    return {**terms, "network context": at_items(constant + head.mix_out.bias)}


def integrated_gradients(
    inputs: Tensor, input_weights: Tensor, hidden_offset: Tensor, output_weights: Tensor
) -> tuple[Tensor, Tensor]:
    """Shares of the inputs of an MLP with one hidden layer, and its value without them.

    Args:
        inputs: Inputs x, shape (R, J); the baseline is zero.
        input_weights: W, shape (U, J).
        hidden_offset: Rest c of the hidden layer's input, shape (R, U).
        output_weights: w, shape (U,).

    Returns:
        Shares, shape (R, J), and the output at the baseline, shape (R,).
    """
    hidden = inputs @ input_weights.T  # (R, U)
    gelu = nn.functional.gelu
    is_small = hidden.abs() < _SMALL
    step = torch.where(is_small, torch.full_like(hidden, _SMALL), hidden)
    slope = (gelu(hidden_offset + step) - gelu(hidden_offset)) / step  # (R, U)
    shares = ((slope * output_weights) @ input_weights) * inputs  # (R, J)
    return shares, gelu(hidden_offset) @ output_weights


def _head_terms(
    net: ChronotopeNet, batch: Batch, priors: Priors, scored: ScoredItems, weights: GateWeights
) -> dict[str, Tensor]:
    """Content, context columns and backbone."""
    terms = {}
    if net.content_head is not None and scored.profiles is not None:
        wanted = net.content_head.wanted(scored.profiles, scored.context)
        terms["content"] = wanted @ net.content_head.candidate_vectors(None).T
    if net.context_head.columns:
        columns = net.context_head(batch)
        terms["context columns"] = net.context_head.item_scores(columns, net.item_tables, None)
    if net.backbone is not None:
        backbone_scores = net.backbone(batch, net.item_tables, priors, None, None)
        terms["backbone"] = gated_scores(backbone_scores, scored.query.history, weights.backbone)
    return terms


def _fitted_terms(
    net: ChronotopeNet, batch: Batch, priors: Priors, scored: ScoredItems, before: Tensor
) -> dict[str, Tensor]:
    """Heads that are fitted after the training: new items, items without events, new users."""
    terms = {}
    if net.discovery_head is not None and net.discovery_head.active:
        shift = net.discovery_shift(batch, priors, scored)
        is_new = new_item_mask(scored.query.history, scored.query.view.n_columns)
        terms["discovery head"] = redistribute(before, shift, is_new) - before
    if net.content_head is not None and scored.profiles is not None:
        terms["content of items without events"] = net.content_head.cold_scores(
            scored.profiles, priors, None
        ).expand_as(before)
    if net.user_head is not None and net.user_head.active:
        terms["user head"] = net.user_head(batch, scored.query.view, None)
    return terms
