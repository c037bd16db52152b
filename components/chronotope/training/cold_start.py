"""Fit of the scores of items without events, on items that are treated as if they had none.

The network is frozen. In every round of the training a share of the catalogue loses its events
(as in DropoutNet, Volkovs et al. 2017): its priors are what similar items let expect. The order
among items without events is learned from the targets among the hidden ones, and from those that
really had no event before the round; both count alike, since the first are many and the second
are the true ones. All of this is convex: one pass of the network, then a few weights.

A constant places items without events among all items (``training.cold_level``).
"""

import logging
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from torch import Tensor

from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.models.content_head import ContentHead
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import without_events_of
from chronotope.training.cold_level import RIDGE, ColdBatch, expected_new, fit_level, minimise
from chronotope.training.config import TrainingConfig
from chronotope.training.content_metric import (
    ColdStartBatches,
    ContentMetric,
    NextContent,
    next_content,
)
from chronotope.training.prequential import PrequentialRound, TrainingBatch

_LOG = logging.getLogger(__name__)

METRIC_NAMES: Final = ("following_content", "popular_content")
"""Terms of the metric of the content."""

HIDDEN_SHARE: Final = 0.2
"""Share of the items with events that a round hides."""

MAX_TARGETS: Final = 4_000
"""Targets of all rounds together."""

MAX_COLUMNS: Final = 400
"""Items without events that a query is scored for; of more of them a random sample."""

MIN_TARGETS: Final = 100
"""Fewer targets among hidden items do not determine the weights."""

MIN_TRUE_TARGETS: Final = 20
"""Fewer true first events are left out of the fit."""


@dataclass(frozen=True, slots=True)
class ColdStartFit:
    """Targets that the weights were fitted to.

    Attributes:
        n_hidden: Targets among items that were treated as if they had no events.
        n_true: Targets among items that had none.
        weights: The fitted weights, by term.
    """

    n_hidden: int
    n_true: int
    weights: dict[str, float]


def fit_cold_start(
    net: ChronotopeNet,
    log: EventLog,
    catalog: Catalog,
    rounds: list[PrequentialRound],
    config: TrainingConfig,
) -> ColdStartFit | None:
    """Fit the weights of items without events in place; None where there is nothing to fit.

    Args:
        net: The trained network; only the weights of its content head for such items change.
        log: The training log.
        catalog: Its catalogue, with the content that the network reads.
        rounds: Targets and the priors before them.
        config: Batch size, candidates and seed.
    """
    content_head = net.content_head
    if content_head is None:
        return None
    content_head.cold_weights.zero_()
    content_head.metric.zero_()
    net.eval()
    followed = next_content(net, log, rounds, config)
    cold_batches = _score_rounds(net, log, catalog, rounds, config, followed)
    if not cold_batches:
        return None
    is_true = torch.cat(
        [cold_batch.is_true[cold_batch.target_column.clamp(min=0)] for cold_batch in cold_batches]
    )
    is_cold = torch.cat([cold_batch.target_column for cold_batch in cold_batches]) >= 0
    n_true, n_hidden = int((is_true & is_cold).sum()), int((~is_true & is_cold).sum())
    if n_hidden < MIN_TARGETS:
        return None
    weights = _fit_order(cold_batches)
    has_events = torch.from_numpy(np.bincount(log.item_idx, minlength=catalog.n_items) > 0)
    n_new = expected_new(
        int((~has_events & content_head.vectors.any(dim=1)).sum()), len(has_events)
    )
    cold_constant = fit_level(cold_batches, weights, n_new)
    content_head.cold_weights.copy_(torch.cat([weights[:-2], cold_constant]))
    content_head.metric.copy_(followed.metric(has_events).weighted(*weights[-2:]))
    term_names = (*content_head.modalities, "expected_popularity", *METRIC_NAMES, "constant")
    fitted = torch.cat([weights, cold_constant]).tolist()
    cold_fit = ColdStartFit(n_hidden, n_true, dict(zip(term_names, fitted, strict=True)))
    _LOG.info("Items without events: %s", cold_fit)
    return cold_fit


def _score_rounds(
    net: ChronotopeNet,
    log: EventLog,
    catalog: Catalog,
    rounds: list[PrequentialRound],
    config: TrainingConfig,
    followed: NextContent,
) -> list[ColdBatch]:
    """One pass of the frozen network over a sample of the targets, some items hidden."""
    random_generator = np.random.default_rng(config.seed)
    target_share = min(
        1.0, MAX_TARGETS / max(1, sum(len(time_round.positions) for time_round in rounds))
    )
    cold_batches = []
    for time_round in rounds:
        round_positions, priors = time_round.positions, time_round.priors
        is_warm = priors.popularity > 0
        is_first = ~is_warm.numpy()[log.item_idx[round_positions]]
        sampled_positions = round_positions[
            is_first | (random_generator.random(len(round_positions)) < target_share)
        ]
        if not len(sampled_positions):
            continue
        is_hidden = is_warm & torch.from_numpy(random_generator.random(len(is_warm)) < HIDDEN_SHARE)
        hidden_priors = without_events_of(priors, catalog, is_hidden)
        metric = followed.metric(is_warm & ~is_hidden)
        training_batches = ColdStartBatches(
            log,
            [PrequentialRound(sampled_positions, hidden_priors)],
            config,
            model_config=net.config,
            is_training=True,
        )
        with torch.no_grad():
            scored_batches = [
                _score(net, batch, ~is_warm, metric, random_generator) for batch in training_batches
            ]
        cold_batches += [batch for batch in scored_batches if batch is not None]
    return cold_batches


def _score(
    net: ChronotopeNet,
    training_batch: TrainingBatch,
    is_true: Tensor,
    metric: ContentMetric,
    rng: np.random.Generator,
) -> ColdBatch | None:
    """Scores of a batch, divided into items with events and without; None without the latter."""
    content_head = _head(net)
    candidates, priors = training_batch.candidates, training_batch.priors
    n_items = len(priors.popularity)
    item_idx = torch.arange(n_items) if candidates is None else candidates.item_idx
    log_weight = torch.zeros(n_items) if candidates is None else candidates.log_weight
    is_cold = (priors.cold_share[item_idx] == 1.0) & (item_idx > 0)
    if not is_cold.any():
        return None
    scored_items = net.score_items(
        training_batch.batch,
        priors,
        None if candidates is None else item_idx,
        training_batch.packed_sequences,
    )
    if scored_items.profiles is None:
        raise AssertionError("a network with a content head has profiles")
    item_scores = scored_items.item_scores + log_weight  # (B, C)
    item_scores[:, 0] = -torch.inf
    expected_popularity = priors.content_popularity[item_idx]
    column_of = torch.full((n_items,), -1)
    column_of[item_idx] = torch.arange(len(item_idx))
    target_columns = column_of[training_batch.target_item]  # (B,)
    cold_idx, column_weight = _sample_columns(is_cold, target_columns, rng)
    cold_column = torch.full_like(item_idx, -1)
    cold_column[cold_idx] = torch.arange(len(cold_idx))
    history_columns = column_of[training_batch.batch.item_idx].clamp(min=0)  # (B, H)
    in_history = torch.zeros_like(item_scores).scatter(1, history_columns, 1.0)[:, cold_idx]
    target_score = item_scores.gather(1, target_columns[:, None])  # (B, 1)
    features = content_head.cold_features(
        scored_items.profiles, expected_popularity[cold_idx], item_idx[cold_idx]
    )
    of_metric = metric.features(
        scored_items.profiles.recent, content_head.vectors[item_idx[cold_idx]]
    )
    return ColdBatch(
        features=torch.cat([features, torch.stack(of_metric, dim=2)], dim=2),
        base_scores=(item_scores[:, cold_idx] + in_history * -1e9),
        log_weight=column_weight,
        warm_scores=torch.logsumexp(item_scores.masked_fill(is_cold, -torch.inf), dim=1),
        target_column=_target_columns(cold_column[target_columns], in_history),
        target_score=target_score[:, 0],
        target_rank=((item_scores > target_score) & ~is_cold).sum(1),
        is_true=is_true[item_idx[cold_idx]],
    )


def _target_columns(target_column: Tensor, in_history: Tensor) -> Tensor:
    """Columns of the targets; -2 for a target of the history, which is no first event."""
    is_cold = target_column >= 0
    was_had = in_history.gather(1, target_column.clamp(min=0)[:, None])[:, 0] > 0
    return torch.where(is_cold & was_had, -2, target_column)


def _sample_columns(
    is_cold: Tensor, target_columns: Tensor, rng: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """Columns of items without events, targets among them, and the log of what each stands for."""
    cold_columns = torch.nonzero(is_cold)[:, 0]
    if len(cold_columns) <= MAX_COLUMNS:
        return cold_columns, torch.zeros(len(cold_columns))
    is_target = torch.zeros_like(is_cold)
    is_target[target_columns] = True
    certain_columns = torch.nonzero(is_cold & is_target)[:, 0]
    other_columns = torch.nonzero(is_cold & ~is_target)[:, 0]
    n_sampled = min(MAX_COLUMNS, len(other_columns))
    sampled_columns = other_columns[
        torch.from_numpy(rng.choice(len(other_columns), n_sampled, replace=False))
    ]
    represented = len(other_columns) / max(1, n_sampled)  # items that a sampled column stands for
    column_log_weight = torch.full((n_sampled,), float(np.log(max(1.0, represented))))
    return torch.cat([certain_columns, sampled_columns]), torch.cat(
        [torch.zeros(len(certain_columns)), column_log_weight]
    )


def _fit_order(cold_batches: list[ColdBatch]) -> Tensor:
    """Weights of all features: softmax among items without events."""
    feature_scale = (
        torch.cat([cold_batch.features.flatten(0, 1) for cold_batch in cold_batches]).std(0) + 1e-6
    )

    def loss(scaled_weights: Tensor) -> Tensor:
        loss_sum = RIDGE * scaled_weights.square().sum()
        for of_true in (False, True):
            target_losses = [
                _order_losses(cold_batch, scaled_weights / feature_scale, of_true)
                for cold_batch in cold_batches
            ]
            group_losses = torch.cat(target_losses)
            if len(group_losses) >= MIN_TRUE_TARGETS:
                loss_sum = loss_sum + group_losses.mean()
        return loss_sum

    return minimise(loss, len(feature_scale)) / feature_scale


def _order_losses(cold_batch: ColdBatch, weights: Tensor, of_true: bool) -> Tensor:
    """Loss of each target among the hidden items, or among those truly without events."""
    in_group = cold_batch.is_true == of_true
    row_idx = torch.nonzero(cold_batch.target_column >= 0)[:, 0]
    row_idx = row_idx[in_group[cold_batch.target_column[row_idx]]]
    if not len(row_idx):
        return torch.zeros(0)
    cold_scores = (
        cold_batch.base_scores[row_idx]
        + cold_batch.features[row_idx] @ weights
        + cold_batch.log_weight
    )
    cold_scores = cold_scores.masked_fill(~in_group, -torch.inf)
    return torch.nn.functional.cross_entropy(
        cold_scores, cold_batch.target_column[row_idx], reduction="none"
    )


def _head(net: ChronotopeNet) -> ContentHead:
    if net.content_head is None:
        raise AssertionError("only a network with a content head is fitted")
    return net.content_head
