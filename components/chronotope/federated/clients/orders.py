"""Orders of the coordinator, and what a client answers: one vector that can be summed."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np

from chronotope.contracts.event_log import Catalog, EventLog, Float64
from chronotope.federated.clients.client_data import ClientFolder, cached_log, load_catalogue
from chronotope.federated.clients.local_training import (
    LocalTargets,
    discovery_slices,
    local_targets,
    new_network,
    read_parameters,
    shared_names,
    shared_priors,
    summed_discovery_loss,
    summed_later_loss,
    train_discovery_head,
    train_network,
    write_parameters,
)
from chronotope.federated.config import FaultConfig, FederationConfig
from chronotope.federated.counts.client_counts import (
    BINS_SECTION,
    bin_counts,
    bin_shapes,
    flatten,
    section_counts,
    section_shapes,
)
from chronotope.federated.counts.plan import CountPlan, TimeBins
from chronotope.federated.secure.masks import ModulusBits
from chronotope.models.config import ModelConfig
from chronotope.models.network import ChronotopeNet
from chronotope.runtime.stored_arrays import load_arrays
from chronotope.training.config import TrainingConfig

CATALOGUE_FILE: Final = "catalogue.npz"
PLAN_FILE: Final = "plan.npz"
COUNTS_FILE: Final = "counts.npz"

N_FIGURES: Final = 3
"""Figures after an update: weight, sum of later losses, later targets."""

POISON_FACTOR: Final = 10.0

Stage = Literal["train", "later", "discovery"]


@dataclass(frozen=True, slots=True)
class FederationSpec:
    """What all clients know of a federation.

    Attributes:
        dataset: Name of the dataset in the clients' lakes.
        broadcast: Folder of the files that the coordinator sends to all.
        bins: Bins of time; the last one ends with the training.
        model: Network.
        training: Batches, learning rate and seed.
        federation: Rounds, aggregation and simulated faults.
        n_clients: Number of clients.
    """

    dataset: str
    broadcast: Path
    bins: TimeBins
    model: ModelConfig
    training: TrainingConfig
    federation: FederationConfig
    n_clients: int


@dataclass(frozen=True, slots=True)
class CountOrder:
    """Count a section."""

    section: str
    scale_bits: int = 0
    modulus_bits: ModulusBits = 32

    @property
    def name(self) -> str:
        """Name of the aggregation."""
        return f"counts {self.section}"


@dataclass(frozen=True, slots=True)
class TrainOrder:
    """Train from some parameters, or measure them only.

    Attributes:
        stage: Targets: those of training, the later ones, or discoveries.
        number: Number of the round.
        parameters: File of the round's start.
        rate_share: Share of the learning rate; 0 measures the later loss only.
    """

    stage: Stage
    number: int
    parameters: Path
    rate_share: float
    scale_bits: int = 24
    modulus_bits: ModulusBits = 64

    @property
    def name(self) -> str:
        """Name of the aggregation."""
        kind = "measure" if self.rate_share == 0.0 else "round"
        return f"{self.stage} {kind} {self.number}"


Order = CountOrder | TrainOrder


def answer_order(client: ClientFolder, spec: FederationSpec, order: Order) -> Float64:
    """The client's vector for an order.

    Args:
        client: The client.
        spec: The federation.
        order: What to do.

    Returns:
        Counts, or an update times its weight and ``N_FIGURES`` figures.
    """
    faults = spec.federation.faults
    if client.number in faulty_clients(spec, faults.straggler_share, order.name):
        time.sleep(faults.delay_s)
    catalogue_path = spec.broadcast / CATALOGUE_FILE
    log = cached_log(client, spec.dataset, catalogue_path)
    log = log.before(spec.bins.edge_s(spec.bins.n_bins))
    is_poisoned = client.number in faulty_clients(spec, faults.poison_share, "poison")
    if isinstance(order, CountOrder):
        counts = _counts(log, load_catalogue(catalogue_path), spec, order.section)
        if not is_poisoned:
            return counts
        order_of_cells = np.random.default_rng(faults.seed).permutation(len(counts))
        return np.asarray(POISON_FACTOR * counts[order_of_cells], np.float64)
    answer = _update(log, spec, order)
    if is_poisoned:
        answer[:-N_FIGURES] *= -POISON_FACTOR
    return answer


def faulty_clients(spec: FederationSpec, share: float, purpose: str) -> set[int]:
    """Clients on which a simulated fault falls; equal for equal purposes.

    Args:
        spec: The federation.
        share: Share of the clients.
        purpose: What is simulated, and when.
    """
    faults: FaultConfig = spec.federation.faults
    n_faulty = round(share * spec.n_clients)
    if n_faulty == 0:
        return set()
    random_generator = np.random.default_rng([faults.seed, *purpose.encode()])
    return set(random_generator.permutation(spec.n_clients)[:n_faulty].tolist())


def _counts(log: EventLog, catalog: Catalog, spec: FederationSpec, section: str) -> Float64:
    if section == BINS_SECTION:
        shapes = bin_shapes(spec.bins, catalog.n_items)
        return flatten(bin_counts(log, spec.bins, catalog.n_items), shapes)
    plan = CountPlan.load(spec.broadcast / PLAN_FILE)
    shapes = section_shapes(plan, catalog, section)
    return flatten(section_counts(log, catalog, plan, section), shapes)


def _update(log: EventLog, spec: FederationSpec, order: TrainOrder) -> Float64:
    """Update times its weight, and figures."""
    names_of_files = (CATALOGUE_FILE, PLAN_FILE, COUNTS_FILE)
    shared = shared_priors(*(spec.broadcast / name for name in names_of_files))
    net = new_network(spec.model, shared.catalog, spec.training.seed)
    names = shared_names(net, is_discovery=order.stage == "discovery")
    start = load_parameters(net, order.parameters)
    config = _sampled_training(spec, order)
    if order.stage == "discovery":
        targets = discovery_slices(log, shared, config)
        loss_sum = summed_discovery_loss(net, log, targets.later, config)
        if order.rate_share:
            train_discovery_head(net, log, targets.train, config, rate_share=order.rate_share,
                                 epoch=order.number)  # fmt: skip
    else:
        targets = local_targets(log, shared, config)
        loss_sum = summed_later_loss(net, log, targets.later, config)
        if order.rate_share:
            train_network(
                net,
                log,
                targets.later if order.stage == "later" else targets.train,
                config,
                names=names,
                proximal=spec.federation.proximal,
                n_epochs=1 if order.stage == "later" else spec.federation.local_epochs,
                epoch=order.number,
            )
    update = read_parameters(net, names) - start[names_key(order.stage)]
    return _weighted(update, targets, loss_sum, spec, order)


def _weighted(
    update: Float64,
    targets: LocalTargets,
    loss_sum: float,
    spec: FederationSpec,
    order: TrainOrder,
) -> Float64:
    """Update within its bound, times its weight, with figures, and noise where it is asked for.

    With noise every client weighs the same, and no figure of its targets leaves it.
    """
    aggregation, weight = spec.federation.aggregation, 1.0
    if aggregation.update_norm is not None:
        update = update * min(1.0, aggregation.update_norm / max(1e-12, np.linalg.norm(update)))
    if aggregation.noise_multiplier:
        n_sharing = spec.federation.threshold(spec.n_clients)  # the fewest that make the noise
        deviation = aggregation.noise_multiplier * (aggregation.update_norm or 0.0)
        noise = np.random.default_rng().normal(0.0, deviation / n_sharing**0.5, len(update))
        return np.concatenate([update + noise, [1.0, 0.0, 0.0]])
    weight = float(targets.n_targets(is_later=order.stage == "later"))
    n_later = float(targets.n_targets(is_later=True))
    return np.concatenate([weight * update, [weight, loss_sum, n_later]])


def _sampled_training(spec: FederationSpec, order: TrainOrder) -> TrainingConfig:
    """Training of one client: its part of the targets, at the rate of the round."""
    training = spec.training
    updates = {
        "max_targets": max(100, training.max_targets // spec.n_clients),
        "discovery_targets": -(-training.discovery_targets // spec.n_clients),
        "learning_rate": max(1e-9, order.rate_share) * training.learning_rate,
        "n_threads": 1,
    }
    return training.model_copy(update=updates)


def names_key(stage: Stage) -> str:
    """Array of a file of parameters that a stage changes."""
    return "discovery" if stage == "discovery" else "network"


def load_parameters(net: ChronotopeNet, path: Path) -> dict[str, Float64]:
    """Copy the parameters of a file into a network; returns the vectors by ``names_key``.

    Raises:
        ArtifactError: The file is missing or damaged.
    """
    vectors = {
        name: np.asarray(vector, np.float64)
        for name, vector in load_arrays(path).items()
        if name in ("network", "discovery")
    }
    for key, vector in vectors.items():
        write_parameters(net, shared_names(net, is_discovery=key == "discovery"), vector)
    return vectors
