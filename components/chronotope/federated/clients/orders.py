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
        time_bins: Bins of time; the last one ends with the training.
        model: Network.
        training: Batches, learning rate and seed.
        federation: Rounds, aggregation and simulated faults.
        n_clients: Number of clients.
    """

    dataset: str
    broadcast: Path
    time_bins: TimeBins
    model: ModelConfig
    training: TrainingConfig
    federation: FederationConfig
    n_clients: int


@dataclass(frozen=True, slots=True)
class CountOrder:
    """Count a section."""

    section_name: str
    scale_bits: int = 0
    modulus_bits: ModulusBits = 32

    @property
    def name(self) -> str:
        """Name of the aggregation."""
        return f"counts {self.section_name}"


@dataclass(frozen=True, slots=True)
class TrainOrder:
    """Train from some parameters, or measure them only.

    Attributes:
        stage: Targets: those of training, the later ones, or discoveries.
        round_number: Number of the round.
        parameters: File of the round's start.
        rate_share: Share of the learning rate; 0 measures the later loss only.
    """

    stage: Stage
    round_number: int
    parameters: Path
    rate_share: float
    scale_bits: int = 24
    modulus_bits: ModulusBits = 64

    @property
    def name(self) -> str:
        """Name of the aggregation."""
        kind = "measure" if self.rate_share == 0.0 else "round"
        return f"{self.stage} {kind} {self.round_number}"


Order = CountOrder | TrainOrder


def answer_order(
    client: ClientFolder, federation_spec: FederationSpec, client_order: Order
) -> Float64:
    """The client's vector for an order.

    Args:
        client: The client.
        federation_spec: The federation.
        client_order: What to do.

    Returns:
        Counts, or an update times its weight and ``N_FIGURES`` figures.
    """
    faults = federation_spec.federation.faults
    if client.client_number in faulty_clients(
        federation_spec, faults.straggler_share, client_order.name
    ):
        time.sleep(faults.delay_s)
    catalogue_path = federation_spec.broadcast / CATALOGUE_FILE
    log = cached_log(client, federation_spec.dataset, catalogue_path)
    log = log.before(federation_spec.time_bins.edge_s(federation_spec.time_bins.n_bins))
    is_poisoned = client.client_number in faulty_clients(
        federation_spec, faults.poison_share, "poison"
    )
    if isinstance(client_order, CountOrder):
        counts = _counts(
            log, load_catalogue(catalogue_path), federation_spec, client_order.section_name
        )
        if not (is_poisoned and faults.poison_counts):
            return counts
        order_of_cells = np.random.default_rng(faults.seed).permutation(len(counts))
        return np.asarray(POISON_FACTOR * counts[order_of_cells], np.float64)
    answer = _update(log, federation_spec, client_order)
    if is_poisoned:
        answer[:-N_FIGURES] *= -POISON_FACTOR
    return answer


def faulty_clients(federation_spec: FederationSpec, share: float, purpose: str) -> set[int]:
    """Clients on which a simulated fault falls; equal for equal purposes.

    Args:
        federation_spec: The federation.
        share: Share of the clients.
        purpose: What is simulated, and when.
    """
    faults: FaultConfig = federation_spec.federation.faults
    n_faulty = round(share * federation_spec.n_clients)
    if n_faulty == 0:
        return set()
    random_generator = np.random.default_rng([faults.seed, *purpose.encode()])
    return set(random_generator.permutation(federation_spec.n_clients)[:n_faulty].tolist())


def _counts(
    log: EventLog, catalog: Catalog, federation_spec: FederationSpec, section_name: str
) -> Float64:
    if section_name == BINS_SECTION:
        table_shapes = bin_shapes(federation_spec.time_bins, catalog.n_items)
        return flatten(bin_counts(log, federation_spec.time_bins, catalog.n_items), table_shapes)
    count_plan = CountPlan.load(federation_spec.broadcast / PLAN_FILE)
    table_shapes = section_shapes(count_plan, catalog, section_name)
    return flatten(section_counts(log, catalog, count_plan, section_name), table_shapes)


def _update(log: EventLog, federation_spec: FederationSpec, client_order: TrainOrder) -> Float64:
    """Update times its weight, and figures."""
    names_of_files = (CATALOGUE_FILE, PLAN_FILE, COUNTS_FILE)
    all_counts = shared_priors(*(federation_spec.broadcast / name for name in names_of_files))
    shared_net = new_network(
        federation_spec.model, all_counts.catalog, federation_spec.training.seed
    )
    parameter_names = shared_names(shared_net, is_discovery=client_order.stage == "discovery")
    start = load_parameters(shared_net, client_order.parameters)
    config = _sampled_training(federation_spec, client_order)
    if client_order.stage == "discovery":
        targets = discovery_slices(log, all_counts, config)
        loss_sum = summed_discovery_loss(shared_net, log, targets.later, config)
        if client_order.rate_share:
            train_discovery_head(
                shared_net,
                log,
                targets.train,
                config,
                rate_share=client_order.rate_share,
                epoch_number=client_order.round_number,
            )
    else:
        targets = local_targets(log, all_counts, config)
        loss_sum = summed_later_loss(shared_net, log, targets.later, config)
        if client_order.rate_share:
            train_network(
                shared_net,
                log,
                targets.later if client_order.stage == "later" else targets.train,
                config,
                parameter_names=parameter_names,
                proximal=federation_spec.federation.proximal,
                n_epochs=1
                if client_order.stage == "later"
                else federation_spec.federation.local_epochs,
                epoch_number=client_order.round_number,
            )
    parameter_update = (
        read_parameters(shared_net, parameter_names) - start[names_key(client_order.stage)]
    )
    return _weighted(parameter_update, targets, loss_sum, federation_spec, client_order)


def _weighted(
    parameter_update: Float64,
    targets: LocalTargets,
    loss_sum: float,
    federation_spec: FederationSpec,
    client_order: TrainOrder,
) -> Float64:
    """Update within its bound, times its weight, with figures, and noise where it is asked for.

    With noise every client weighs the same, and no figure of its targets leaves it.
    """
    aggregation = federation_spec.federation.aggregation
    if aggregation.update_norm is not None:
        length = max(1e-12, float(np.linalg.norm(parameter_update)))
        parameter_update = np.asarray(
            parameter_update * min(1.0, aggregation.update_norm / length), np.float64
        )
    if aggregation.noise_multiplier:
        # so many clients make the noise at least
        n_sharing = federation_spec.federation.threshold(federation_spec.n_clients)
        deviation = aggregation.noise_multiplier * (aggregation.update_norm or 0.0)
        noise = np.random.default_rng().normal(
            0.0, deviation / n_sharing**0.5, len(parameter_update)
        )
        return np.concatenate([parameter_update + noise, [1.0, 0.0, 0.0]])
    weight = float(targets.n_targets(is_later=client_order.stage == "later"))
    n_later = float(targets.n_targets(is_later=True))
    return np.concatenate([weight * parameter_update, [weight, loss_sum, n_later]])


def _sampled_training(federation_spec: FederationSpec, client_order: TrainOrder) -> TrainingConfig:
    """Training of one client: its part of the targets, at the rate of the round."""
    training = federation_spec.training
    updates = {
        "max_targets": max(100, training.max_targets // federation_spec.n_clients),
        "discovery_targets": -(-training.discovery_targets // federation_spec.n_clients),
        "learning_rate": max(1e-9, client_order.rate_share) * training.learning_rate,
        "n_threads": 1,
    }
    return training.model_copy(update=updates)


def names_key(stage: Stage) -> str:
    """Array of a file of parameters that a stage changes."""
    return "discovery" if stage == "discovery" else "network"


def load_parameters(shared_net: ChronotopeNet, file_path: Path) -> dict[str, Float64]:
    """Copy the parameters of a file into a network; returns the vectors by ``names_key``.

    Raises:
        ArtifactError: The file is missing or damaged.
    """
    client_vectors = {
        name: np.asarray(flat_vector, np.float64)
        for name, flat_vector in load_arrays(file_path).items()
        if name in ("network", "discovery")
    }
    for key, flat_vector in client_vectors.items():
        write_parameters(
            shared_net, shared_names(shared_net, is_discovery=key == "discovery"), flat_vector
        )
    return client_vectors
