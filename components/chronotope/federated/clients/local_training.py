"""Training of a client on its own targets, beside the counts of all clients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import torch
from torch import Tensor

from chronotope.contracts.event_log import Catalog, EventLog, Float64
from chronotope.federated.clients.client_data import load_catalogue
from chronotope.federated.counts.federated_priors import FederatedCounts
from chronotope.models.config import ModelConfig
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import Priors
from chronotope.training.config import TrainingConfig
from chronotope.training.discovery import (
    CONTEXT_RATE,
    LATER_SHARE,
    LEARNING_RATE,
    N_ACCUMULATED,
    WEIGHT_DECAY,
    DiscoveryBatches,
    discovery_loss,
    discovery_targets,
)
from chronotope.training.prequential import PrequentialRound, RoundBatches, new_targets

MAX_SLICES: Final = 24
"""Slices of a client's discoveries, each with the live counts before it."""

MAX_GRADIENT_NORM: Final = 1.0

_DISCOVERY: Final = "discovery_head."
_UNSHARED: Final = ("user_head.", "context_head.", "content_head.", "item_context_head.")
"""Parameters of one log's columns and users; they stay at their start."""


def shared_names(shared_net: ChronotopeNet, *, is_discovery: bool) -> list[str]:
    """Names of the parameters that are federated.

    Args:
        shared_net: Network over the shared catalogue.
        is_discovery: Those of the discovery head, or all others.
    """
    return [
        name
        for name, _ in shared_net.named_parameters()
        if name.startswith(_DISCOVERY) == is_discovery and not name.startswith(_UNSHARED)
    ]


def read_parameters(shared_net: ChronotopeNet, parameter_names: Sequence[str]) -> Float64:
    """Parameters as one vector."""
    parameters = dict(shared_net.named_parameters())
    values = [parameters[name].detach().reshape(-1) for name in parameter_names]
    return torch.cat(values).double().numpy()


def write_parameters(
    shared_net: ChronotopeNet, parameter_names: Sequence[str], flat_vector: Float64
) -> None:
    """Copy a vector of ``read_parameters`` into a network, in place."""
    parameters, position = dict(shared_net.named_parameters()), 0
    with torch.no_grad():
        for name in parameter_names:
            parameter = parameters[name]
            part = flat_vector[position : position + parameter.numel()]
            parameter.copy_(torch.from_numpy(part).to(parameter.dtype).reshape(parameter.shape))
            position += parameter.numel()


@dataclass(frozen=True, slots=True)
class LocalTargets:
    """Targets of a client.

    Attributes:
        train: In rounds of time, each with the counts of all clients before it.
        later: The last round, which chooses the parameters and is trained on at the end.
    """

    train: tuple[PrequentialRound, ...]
    later: tuple[PrequentialRound, ...]

    def n_targets(self, *, is_later: bool) -> int:
        """Number of targets."""
        rounds = self.later if is_later else self.train
        return sum(len(time_round.positions) for time_round in rounds)


@dataclass(frozen=True, slots=True)
class SharedPriors:
    """Counts of all clients and the priors that follow from them, computed once by a process.

    Attributes:
        catalog: The shared catalogue.
        counts: Sums of all clients.
        by_moment: Priors at every moment of the plan.
        by_anchor: Priors with EASE at every anchor but the last.
    """

    catalog: Catalog
    counts: FederatedCounts
    by_moment: tuple[Priors, ...]
    by_anchor: tuple[Priors, ...]


@lru_cache(maxsize=1)
def shared_priors(catalogue_path: Path, plan_path: Path, counts_path: Path) -> SharedPriors:
    """Counts and priors of the files that the coordinator sent.

    Raises:
        ArtifactError: A file is missing or damaged.
    """
    catalog = load_catalogue(catalogue_path)
    counts = FederatedCounts.load(plan_path, counts_path)
    count_plan = counts.count_plan
    by_moment = tuple(
        counts.priors(round_number, catalog) for round_number in range(len(count_plan.moments))
    )
    moments = np.searchsorted(count_plan.moments, count_plan.anchors, side="right") - 1
    by_anchor = []
    for anchor_idx, moment_idx in enumerate(moments[:-1].tolist()):
        item_idx, weight = counts.affinity(anchor_idx, catalog.n_items)
        priors = by_moment[max(0, moment_idx)]
        by_anchor.append(priors._replace(affinity_item=item_idx, affinity_weight=weight))
    return SharedPriors(catalog, counts, by_moment, tuple(by_anchor))


def local_targets(log: EventLog, all_counts: SharedPriors, config: TrainingConfig) -> LocalTargets:
    """Targets between the moments of the plan.

    Args:
        log: Events of the client before the end of the training.
        all_counts: Counts of all clients.
        config: Sample of the targets.
    """
    count_plan = all_counts.counts.count_plan
    target_positions = new_targets(log, config, since_s=count_plan.time_bins.start_s - 1)
    moment_idx = np.searchsorted(
        count_plan.moments,
        count_plan.time_bins.index(log.occurred_s[target_positions]),
        side="right",
    )
    rounds = {
        round_number: PrequentialRound(
            target_positions[moment_idx == round_number + 1], all_counts.by_moment[round_number]
        )
        for round_number in range(len(count_plan.moments) - 1)
    }
    *train, later = rounds.values()
    return LocalTargets(
        tuple(time_round for time_round in train if len(time_round.positions)),
        (later,) if len(later.positions) else (),
    )


def train_network(
    shared_net: ChronotopeNet,
    log: EventLog,
    rounds: Sequence[PrequentialRound],
    config: TrainingConfig,
    *,
    parameter_names: Sequence[str],
    proximal: float,
    n_epochs: int,
    epoch_number: int,
) -> None:
    """Passes over a client's targets with AdamW, in place.

    Args:
        shared_net: Network at the start of the round.
        log: Events of the client.
        rounds: Targets; none leave the network unchanged.
        config: Batches, and the learning rate of the round.
        parameter_names: Parameters that move.
        proximal: Weight of FedProx's term, half the squared distance from the start.
        n_epochs: Number of passes.
        epoch_number: Seeds order and dropout.
    """
    if not rounds:
        return
    round_batches = RoundBatches(
        log, list(rounds), config, model_config=shared_net.config, is_training=True
    )
    from chronotope.training.lightning_module import NextEventModule  # imports Lightning

    module = NextEventModule(shared_net, config, n_steps=len(round_batches))
    moving = {name: p for name, p in shared_net.named_parameters() if name in set(parameter_names)}
    start = {name: parameter.detach().clone() for name, parameter in moving.items()}
    local_optimizer = torch.optim.AdamW(
        moving.values(), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    shared_net.train()
    for round_number in range(n_epochs):
        torch.manual_seed(10_007 * config.seed + epoch_number * n_epochs + round_number)
        round_batches.set_epoch(epoch_number * n_epochs + round_number)
        for batch_idx, batch in enumerate(round_batches):
            local_optimizer.zero_grad()
            torch.autograd.backward(module.training_step(batch, batch_idx))
            torch.nn.utils.clip_grad_norm_(moving.values(), MAX_GRADIENT_NORM)
            if proximal:
                _add_proximal_gradient(moving, start, proximal)
            local_optimizer.step()
    shared_net.eval()


def summed_later_loss(
    shared_net: ChronotopeNet,
    log: EventLog,
    later: Sequence[PrequentialRound],
    config: TrainingConfig,
) -> float:
    """Sum of the item loss over a client's later targets, request time given and hidden.

    Args:
        shared_net: Network at the start of the round.
        log: Events of the client.
        later: Later targets.
        config: Batches.
    """
    if not later:
        return 0.0
    round_batches = RoundBatches(
        log, list(later), config, model_config=shared_net.config, is_training=False
    )
    from chronotope.training.lightning_module import NextEventModule  # imports Lightning

    module = NextEventModule(shared_net, config, n_steps=1)
    shared_net.eval()
    with torch.no_grad():
        losses = [
            float(module._loss(batch)[1]["item"]) * len(batch.target_item)
            for batch in round_batches
        ]
    return sum(losses) / 2.0


def discovery_slices(
    log: EventLog, all_counts: SharedPriors, config: TrainingConfig
) -> LocalTargets:
    """Discoveries of a client in slices of time, each with the live counts before it.

    Args:
        log: Events of the client before the end of the training.
        all_counts: Counts of all clients.
        config: Number of targets, and seed.
    """
    count_plan, catalog = all_counts.counts.count_plan, all_counts.catalog
    target_positions = discovery_targets(log, catalog.n_items, config)
    bin_idx = count_plan.time_bins.index(log.occurred_s[target_positions])
    target_positions = target_positions[bin_idx >= count_plan.anchors[0]]
    bin_idx = bin_idx[bin_idx >= count_plan.anchors[0]]
    if not len(target_positions):
        return LocalTargets((), ())
    n_slices = min(MAX_SLICES, len(np.unique(bin_idx)))
    edges = np.unique(np.quantile(bin_idx, np.arange(n_slices) / n_slices, method="lower"))
    slice_idx = np.searchsorted(edges, bin_idx, side="right") - 1
    anchors = np.searchsorted(count_plan.anchors[:-1], edges, side="right") - 1
    time_slices = [
        PrequentialRound(
            target_positions[slice_idx == round_number],
            all_counts.by_anchor[anchors[round_number]]._replace(
                activity=all_counts.counts.activity(int(bin_edge), catalog)
            ),
        )
        for round_number, bin_edge in enumerate(edges.tolist())
    ]
    n_later = max(1, round(LATER_SHARE * len(time_slices)))
    return LocalTargets(tuple(time_slices[:-n_later]), tuple(time_slices[-n_later:]))


def train_discovery_head(
    shared_net: ChronotopeNet,
    log: EventLog,
    time_slices: Sequence[PrequentialRound],
    config: TrainingConfig,
    *,
    rate_share: float,
    epoch_number: int,
) -> None:
    """One pass over a client's discoveries, in place; nothing but the head moves.

    Args:
        shared_net: Network at the start of the round.
        log: Events of the client.
        time_slices: Training slices of ``discovery_slices``.
        config: Batches and candidates.
        rate_share: Share of the learning rates of a central training.
        epoch_number: Seeds the order.
    """
    head = shared_net.discovery_head
    if head is None or not time_slices:
        return
    local_optimizer = torch.optim.AdamW(
        [
            {"params": [head.layer.weight], "lr": rate_share * CONTEXT_RATE},
            {"params": [head.layer.bias], "lr": rate_share * LEARNING_RATE},
        ],
        weight_decay=WEIGHT_DECAY,
    )
    shared_net.eval()
    round_batches = DiscoveryBatches(
        log, list(time_slices), config, model_config=shared_net.config, is_training=True
    )
    round_batches.set_epoch(epoch_number)
    for round_number, batch in enumerate(round_batches, start=1):
        torch.autograd.backward(discovery_loss(shared_net, batch))
        if round_number % N_ACCUMULATED == 0 or round_number == len(round_batches):
            local_optimizer.step()
            local_optimizer.zero_grad()


def summed_discovery_loss(
    shared_net: ChronotopeNet,
    log: EventLog,
    later: Sequence[PrequentialRound],
    config: TrainingConfig,
) -> float:
    """Sum of the loss over a client's later discoveries, request time given and hidden."""
    if not later:
        return 0.0
    round_batches = DiscoveryBatches(
        log, list(later), config, model_config=shared_net.config, is_training=False
    )
    with torch.no_grad():
        losses = [
            float(discovery_loss(shared_net, batch)) * len(batch.target_item)
            for batch in round_batches
        ]
    return sum(losses) / 2.0


def new_network(model: ModelConfig, catalog: Catalog, seed: int) -> ChronotopeNet:
    """Network over the shared catalogue at the initial values of a seed."""
    torch.manual_seed(seed)
    return ChronotopeNet(model, catalog)


def _add_proximal_gradient(
    moving: Mapping[str, Tensor], start: dict[str, Tensor], proximal: float
) -> None:
    """Gradient of ``proximal / 2 * |w - w0|^2``; source: Li et al. (2020), FedProx, eq. 2."""
    with torch.no_grad():
        for name, parameter in moving.items():
            if parameter.grad is not None:
                parameter.grad += proximal * (parameter - start[name])
