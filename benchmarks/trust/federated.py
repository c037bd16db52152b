"""Accuracy of a federation of non-IID clients over that of one training on all their events."""

import tempfile
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
    "federated_share": FederationConfig(),
    "federated_share_faults": FederationConfig(
        aggregation=AggregationConfig(secure=False, rule="trimmed_mean"),
        faults=FaultConfig(drop_share=1 / 3, poison_share=0.1),
    ),
}
"""Settings of each measure."""


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


def federated_rows(name: str, log: EventLog, catalog: Catalog, end_s: int, seed: int) -> list[Row]:
    """A row for each federation, and the skew of its clients in the note.

    Args:
        name: Name of the data set.
        log: All events.
        catalog: Its catalogue.
        end_s: End of the training events, UTC seconds.
        seed: Seed of division, training and targets.
    """
    kind = SPLIT_BY_DATASET.get(name, "taste")
    past = log.before(end_s)
    clients = split_users(past, catalog, kind, N_CLIENTS, seed)
    task = FederatedTask(name, log, catalog, end_s, seed, clients)
    last_s = int(log.occurred_s.max()) + 1
    targets = targets_between(log, end_s, last_s, max_targets=MAX_TARGETS, seed=seed)
    central_model = ChronotopeRecommender(ModelConfig(content=False), task.training())
    central = _ndcg(central_model.fit(past, catalog), log, targets, catalog)
    rows = []
    for measure, federation in FEDERATIONS.items():
        model = federated_model(task, federation)
        values = _ndcg(model, log, targets, catalog)
        share = bootstrap_interval(values / float(central.mean()), log.user_idx[targets])
        rows.append(
            {
                "dataset": name,
                "measure": measure,
                "value": round(share.estimate, 4),
                "low": round(share.low, 4),
                "high": round(share.high, 4),
                "note": f"of NDCG@10 {central.mean():.4f}; {N_CLIENTS} clients by {kind}, "
                f"{skew_text(task)}; {rounds_text(federation)}",
            }
        )
    return rows


def federated_model(task: FederatedTask, federation: FederationConfig) -> FederatedRecommender:
    """Model of a federation whose clients have their users' events in folders of their own.

    Args:
        task: Log and division.
        federation: Settings.
    """
    past = task.log.before(task.end_s)
    bins = TimeBins.covering(int(past.occurred_s.min()), task.end_s, task.catalog.n_items)
    with tempfile.TemporaryDirectory() as work:
        clients = tuple(
            ClientFolder(number, f"client-{number:02d}", Path(work) / f"client-{number:02d}")
            for number in range(N_CLIENTS)
        )
        for client in clients:
            is_own = task.client_of_user[past.user_idx] == client.number
            save_log(past.take(is_own), client.state(task.name) / LOG_FILE)
        model = ModelConfig(content=False)
        spec = FederationSpec(
            task.name, Path(work) / "run", bins, model, task.training(), federation, N_CLIENTS
        )
        with open_client_pool(EngineConfig(kind="processes", n_workers=2), N_CLIENTS) as pool:
            coordinator = Coordinator(spec, task.catalog, Aggregator(spec, clients, pool))
            federated = coordinator.run()
    for record in federated.rounds:
        print(record.name, record.n_answers, record.later_loss, record.update_norm, record.seconds)
    return FederatedRecommender(federated, task.catalog, model, task.training(), task.end_s)


def skew_text(task: FederatedTask) -> str:
    """Events of the smallest and largest client, and how far their items are from all users'."""
    past = task.log.before(task.end_s)
    overall = np.bincount(past.item_idx, minlength=task.catalog.n_items) / len(past)
    sizes, distances = [], []
    for number in range(N_CLIENTS):
        own = past.item_idx[task.client_of_user[past.user_idx] == number]
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
    kind = "secure mean" if aggregation.secure else aggregation.rule
    text = f"{federation.rounds} rounds, {kind}"
    if faults.drop_share or faults.poison_share:
        text += f", {faults.drop_share:.0%} dropped, {faults.poison_share:.0%} poisoned"
    return text


def _ndcg(model: Recommender, log: EventLog, targets: Int64, catalog: Catalog) -> Float64:
    result = evaluate(model, log, targets, n_items=catalog.n_items, time_given=True)
    return np.asarray(ndcg(result.rank, 10), np.float64)
