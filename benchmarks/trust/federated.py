"""Accuracy of a federation of non-IID clients over that of one training on all their events."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.rows import Row
from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int64
from chronotope.contracts.protocols import Recommender
from chronotope.federated.aggregation import Aggregator
from chronotope.federated.clients.client_data import LOG_FILE, ClientFolder, save_log
from chronotope.federated.clients.orders import FederationSpec
from chronotope.federated.config import AggregationConfig, FaultConfig, FederationConfig
from chronotope.federated.coordinator import Coordinator
from chronotope.federated.counts.plan import TimeBins
from chronotope.federated.recommender import FederatedRecommender
from chronotope.federated.splits import split_users
from chronotope.metrics import bootstrap_interval, evaluate, ndcg
from chronotope.models.config import ModelConfig
from chronotope.runtime.engine import EngineConfig
from chronotope.runtime.engine.client_pool import open_client_pool
from chronotope.splitting.targets import targets_between
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender

N_CLIENTS: Final = 20
MAX_TARGETS: Final = 2_000
SPLIT_BY_DATASET: Final = {"foursquare_nyc": "place"}
"""How users are divided; elsewhere by taste."""

FEDERATIONS: Final = {
    "federated_share": FederationConfig(aggregation=AggregationConfig(secure=False)),
    "federated_share_faults": FederationConfig(
        aggregation=AggregationConfig(secure=False, rule="trimmed_mean"),
        faults=FaultConfig(drop_share=1 / 3, poison_share=0.1),
    ),
    "federated_share_poisoned_updates": FederationConfig(
        aggregation=AggregationConfig(secure=False, rule="trimmed_mean"),
        faults=FaultConfig(drop_share=1 / 3, poison_share=0.1, poison_counts=False),
    ),
}
"""Settings of each measure. Secure aggregation gives the sums of the first, as tests hold; its
masks would take most of the time here."""


@dataclass(frozen=True, slots=True)
class FederatedTask:
    """A log cut in time, and the client of each user."""

    name: str
    log: EventLog
    catalog: Catalog
    end_s: int
    seed: int
    client_of_user: Int64

    def training(self) -> TrainingConfig:
        """Training of both, central and federated."""
        return TrainingConfig(seed=self.seed)


def make_federated_task(
    name: str, log: EventLog, catalog: Catalog, end_s: int, seed: int
) -> FederatedTask:
    """Divide the users of a log among clients.

    Args:
        name: Name of the data set.
        log: All events.
        catalog: Its catalogue.
        end_s: End of the training events, UTC seconds.
        seed: Seed of division, training and targets.
    """
    split_kind = SPLIT_BY_DATASET.get(name, "taste")
    clients = split_users(log.before(end_s), catalog, split_kind, N_CLIENTS, seed)
    return FederatedTask(name, log, catalog, end_s, seed, clients)


def federated_rows(task: FederatedTask, work: Path) -> list[Row]:
    """A row for each federation, and the skew of its clients in the note.

    Args:
        task: Log and division.
        work: Folder of the federations; one that was killed continues.
    """
    log, catalog, end_s = task.log, task.catalog, task.end_s
    last_s = int(log.occurred_s.max()) + 1
    targets = targets_between(log, end_s, last_s, max_targets=MAX_TARGETS, seed=task.seed)
    ndcg_by_measure = {
        measure: _ndcg(federated_model(task, federation, work), log, targets, catalog)
        for measure, federation in FEDERATIONS.items()
    }
    central_model = ChronotopeRecommender(ModelConfig(content=False), task.training())
    central = _ndcg(central_model.fit(log.before(end_s), catalog), log, targets, catalog)
    split_kind = SPLIT_BY_DATASET.get(task.name, "taste")
    table_rows = []
    for measure, values in ndcg_by_measure.items():
        share = bootstrap_interval(values / float(central.mean()), log.user_idx[targets])
        table_rows.append(
            {
                "dataset": task.name,
                "measure": measure,
                "value": round(share.estimate, 4),
                "low": round(share.low, 4),
                "high": round(share.high, 4),
                "note": f"of NDCG@10 {central.mean():.4f}; {N_CLIENTS} clients by {split_kind}, "
                f"{skew_text(task)}; {rounds_text(FEDERATIONS[measure])}",
            }
        )
    return table_rows


def federated_model(
    task: FederatedTask, federation: FederationConfig, work: Path
) -> FederatedRecommender:
    """Model of a federation whose clients have their users' events in folders of their own.

    Args:
        task: Log and division.
        federation: Settings.
        work: Parent of the folder of the federation.
    """
    past = task.log.before(task.end_s)
    time_bins = TimeBins.covering(int(past.occurred_s.min()), task.end_s, task.catalog.n_items)
    identity = f"{federation.model_dump_json()} {len(past)} {task.end_s} {task.seed}"
    digest = hashlib.sha256(identity.encode()).hexdigest()[:12]
    folder = work.resolve() / "federated" / task.name / digest
    clients = tuple(
        ClientFolder(client_number, f"client-{client_number:02d}", folder / str(client_number))
        for client_number in range(N_CLIENTS)
    )
    for client in clients:
        is_own = task.client_of_user[past.user_idx] == client.client_number
        save_log(past.take(is_own), client.state(task.name) / LOG_FILE)
    model, training = ModelConfig(content=False), task.training()
    federation_spec = FederationSpec(
        task.name, folder / "run", time_bins, model, training, federation, N_CLIENTS
    )
    with open_client_pool(EngineConfig(), N_CLIENTS) as client_pool:
        aggregator = Aggregator(federation_spec, clients, client_pool)
        federated = Coordinator(federation_spec, task.catalog, aggregator).run()
    return FederatedRecommender(federated, task.catalog, training, task.end_s)


def skew_text(task: FederatedTask) -> str:
    """Events of the smallest and largest client, and how far their items are from all users'."""
    past = task.log.before(task.end_s)
    overall = np.bincount(past.item_idx, minlength=task.catalog.n_items) / len(past)
    sizes, distances = [], []
    for client_number in range(N_CLIENTS):
        own = past.item_idx[task.client_of_user[past.user_idx] == client_number]
        share = np.bincount(own, minlength=task.catalog.n_items) / max(1, len(own))
        sizes.append(len(own))
        distances.append(0.5 * float(np.abs(share - overall).sum()))
    return (
        f"{min(sizes):,} to {max(sizes):,} events, total variation of items "
        f"{np.mean(distances):.2f} on average"
    )


def rounds_text(federation: FederationConfig) -> str:
    """Rounds, aggregation and faults in words."""
    aggregation, faults = federation.aggregation, federation.faults
    kind = aggregation.rule.replace("_", " ")
    text = f"at most {federation.rounds} rounds, {kind}"
    if faults.drop_share or faults.poison_share:
        poisoned = "counts and updates" if faults.poison_counts else "updates"
        text += (
            f", {faults.drop_share:.0%} dropped, {faults.poison_share:.0%} poisoned in {poisoned}"
        )
    return text


def _ndcg(model: Recommender, log: EventLog, targets: Int64, catalog: Catalog) -> Float64:
    result = evaluate(model, log, targets, n_items=catalog.n_items, time_given=True)
    return np.asarray(ndcg(result.rank, 10), np.float64)
