"""Training of the discovery head: softmax over the items that are new to the user.

The rest of the network is frozen. Targets are events whose item the user never had, in slices of
time; before each slice the live counts are recounted, so that the head learns from them as fresh
as a service that recounts them often. EASE is solved before the first slice and once in between.
The last slices decide whether the head helps; if not, it stays without effect.
"""

import logging
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from chronotope.contracts.event_log import Catalog, EventLog, Int64
from chronotope.models.config import ModelConfig
from chronotope.models.discovery_counts import activity_counter
from chronotope.models.gap_features import GapFeatures
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import count_priors
from chronotope.training.config import TrainingConfig
from chronotope.training.prequential import PrequentialRound, RoundBatches, TrainingBatch

_LOG = logging.getLogger(__name__)

HISTORY_SHARE: Final = 0.5
"""First share of the log's time: history only, so that EASE and counts have something to count."""

LATER_SHARE: Final = 0.15
"""Last share of the targets: decides whether the head is used."""

N_ANCHORS: Final = 2
"""Moments at which all priors are counted; between them only the live counts follow."""

MAX_SLICES: Final = 96
MIN_SLICE: Final = 64
"""Fewest targets of a slice, about."""

MIN_TARGETS: Final = 1_000
"""Fewer discoveries do not determine the head: it stays without effect."""

N_FOCUS: Final = 500
"""Best new items of each query among which the target's rank counts most."""

N_CANDIDATES: Final = 2_000
"""Popular and random items, each, that stand for a large catalogue."""

CATALOGUE_WEIGHT: Final = 0.2
"""Weight of the loss over all new items; that of the loss over the best ones is 1."""

N_EPOCHS: Final = 6
N_ACCUMULATED: Final = 4
"""Batches whose gradients are summed for a step."""

LEARNING_RATE: Final = 0.1
CONTEXT_RATE: Final = 0.015
"""Learning rate of the weights of the context; that of the constants is ``LEARNING_RATE``."""

WEIGHT_DECAY: Final = 1e-3


@dataclass(frozen=True, slots=True)
class DiscoveryFit:
    """Loss of the ranking of new items on the last slices, nats a target.

    Attributes:
        loss_before: Without the head.
        loss_after: With the trained head.
    """

    loss_before: float
    loss_after: float

    @property
    def helps(self) -> bool:
        """Whether the head is better on later targets."""
        return self.loss_after < self.loss_before


class DiscoveryBatches(RoundBatches):
    """Batches of discoveries; the time head is not trained, so they have no gap features."""

    def _gap_features_of(self, positions: Int64) -> GapFeatures | None:
        del positions
        return None


def fit_discovery_head(
    net: ChronotopeNet,
    log: EventLog,
    catalog: Catalog,
    config: TrainingConfig,
    model_config: ModelConfig,
) -> DiscoveryFit | None:
    """Train the discovery head in place; None where there are too few discoveries.

    Args:
        net: The trained network; nothing but the head is changed.
        log: The training log.
        catalog: Its catalogue.
        config: Batch size, candidates, seed and number of targets.
        model_config: Lengths of the histories.
    """
    head = net.discovery_head
    if head is None or config.discovery_targets == 0:
        return None
    head.reset()
    positions = discovery_targets(log, catalog.n_items, config)
    if len(positions) < MIN_TARGETS:
        return None
    config = config.model_copy(update={"n_negatives": max(N_CANDIDATES, config.n_negatives)})
    slices = _slices(log, catalog, positions)
    n_later = max(1, round(LATER_SHARE * len(slices)))

    def batches(rounds: list[PrequentialRound], *, is_training: bool) -> DiscoveryBatches:
        return DiscoveryBatches(
            log, rounds, config, model_config=model_config, is_training=is_training
        )

    net.eval()
    later = batches(slices[-n_later:], is_training=False)
    loss_before = _mean_loss(net, later)
    _optimise(net, batches(slices[:-n_later], is_training=True))
    fit = DiscoveryFit(loss_before, _mean_loss(net, later))
    _LOG.info("Discovery head: later loss %.4f -> %.4f", fit.loss_before, fit.loss_after)
    if not fit.helps:
        head.reset()
    head.active = fit.helps
    return fit


def discovery_targets(log: EventLog, n_items: int, config: TrainingConfig) -> Int64:
    """Positions of discoveries in the later part of the log, sampled, increasing."""
    pairs = log.user_idx.astype(np.int64) * n_items + log.item_idx
    _, first, pair_idx = np.unique(pairs, return_index=True, return_inverse=True)
    basket, start_s = log.basket_start(), np.quantile(log.occurred_s, HISTORY_SHARE)
    is_new = (first[pair_idx] >= basket) & (basket > log.user_start()) & (log.item_idx > 0)
    positions = np.flatnonzero(is_new & (log.occurred_s >= start_s)).astype(np.int64)
    if len(positions) <= config.discovery_targets:
        return positions
    random_generator = np.random.default_rng(config.seed)
    return np.sort(random_generator.choice(positions, config.discovery_targets, replace=False))


def discovery_loss(net: ChronotopeNet, training_batch: TrainingBatch) -> Tensor:
    """Mean loss of the ranking of new items, nats a target.

    It is the softmax cross-entropy over all new items, times ``CATALOGUE_WEIGHT``, plus the one
    over the ``N_FOCUS`` best of them and the target; in training, where the target is among
    these. The first keeps the rest of the catalogue calibrated; few weights cannot fit both, and
    lists are read from the top.
    """
    candidates = training_batch.candidates
    item_idx = None if candidates is None else candidates.item_idx
    item_scores, is_new = net.new_item_scores(
        training_batch.batch, training_batch.priors, item_idx, training_batch.packed_sequences
    )
    item_scores = item_scores + (1.0 - is_new) * -1e9
    target_column, log_weight = training_batch.target_item, torch.zeros(())
    if candidates is not None:
        column = torch.zeros_like(training_batch.priors.popularity, dtype=torch.int64)
        column[candidates.item_idx] = torch.arange(candidates.item_idx.shape[0])
        target_column, log_weight = column[target_column], candidates.log_weight
    catalogue_loss = torch.nn.functional.cross_entropy(item_scores + log_weight, target_column)
    target_scores = item_scores.gather(1, target_column[:, None])  # (B, 1)
    n_focus = min(N_FOCUS, item_scores.shape[1])
    best_scores = item_scores.topk(n_focus, dim=1).values  # (B, n_focus)
    in_focus = (target_scores >= best_scores[:, -1:]).float()[:, 0]  # (B,)
    competitors = torch.cat([best_scores, target_scores + (in_focus[:, None] * -1e9)], dim=1)
    focus_loss = torch.logsumexp(competitors, 1) - target_scores[:, 0]  # (B,)
    if torch.is_grad_enabled():  # else the best ones would be the only negatives of a rare target
        focus_loss = focus_loss * in_focus
    return CATALOGUE_WEIGHT * catalogue_loss + focus_loss.mean()


def _slices(
    log: EventLog, catalog: Catalog, positions: npt.NDArray[np.int64]
) -> list[PrequentialRound]:
    """Targets in slices of time of about equally many, each with the live counts before it."""
    seconds = log.occurred_s[positions]
    n_slices = min(MAX_SLICES, max(2, len(positions) // MIN_SLICE))
    starts_s = np.unique(np.quantile(seconds, np.arange(n_slices) / n_slices, method="lower"))
    slice_idx = np.searchsorted(starts_s, seconds, side="right") - 1
    n_per_anchor = -(-len(starts_s) // N_ANCHORS)
    counter, slices = activity_counter(log, catalog), []
    for number, start_s in enumerate(starts_s.astype(np.int64).tolist()):
        if number % n_per_anchor == 0:
            anchor = count_priors(log.before(start_s), catalog, affinity=True)
        priors = anchor._replace(activity=torch.from_numpy(counter.at(start_s)))
        slices.append(PrequentialRound(positions[slice_idx == number], priors))
    return slices


def _optimise(net: ChronotopeNet, batches: DiscoveryBatches) -> None:
    """Adam under a one-cycle learning rate over the head's weights.

    Few targets of a batch are among the best new items, so gradients are summed over some batches;
    what depends on the context moves more slowly than what does not.
    """
    head = net.discovery_head
    if head is None:
        return
    rates = [CONTEXT_RATE, LEARNING_RATE]
    optimizer = torch.optim.AdamW(
        [
            {"params": [head.layer.weight], "lr": CONTEXT_RATE},
            {"params": [head.layer.bias], "lr": LEARNING_RATE},
        ],
        weight_decay=WEIGHT_DECAY,
    )
    n_steps = N_EPOCHS * -(-len(batches) // N_ACCUMULATED)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rates, total_steps=n_steps)
    for epoch in range(N_EPOCHS):
        batches.set_epoch(epoch)
        n_batches = len(batches)
        for number, training_batch in enumerate(batches, start=1):
            torch.autograd.backward(discovery_loss(net, training_batch))
            if number % N_ACCUMULATED == 0 or number == n_batches:
                optimizer.step()
                optimizer.zero_grad()
                schedule.step()


def _mean_loss(net: ChronotopeNet, batches: DiscoveryBatches) -> float:
    """Mean loss over the targets, the time of the request given and hidden."""
    with torch.no_grad():
        losses = [
            float(discovery_loss(net, training_batch)) * len(training_batch.target_item)
            for training_batch in batches
        ]
    return sum(losses) / (2 * len(batches.target_positions))
