"""Step of a federated training: rounds over the clients, and the model that results."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from chronotope.contracts.event_log import EventLog
from chronotope.features.snapshot import load_features
from chronotope.federated.aggregation import Aggregator, OrderAggregation
from chronotope.federated.clients.orders import FederationSpec
from chronotope.federated.config import FederationConfig
from chronotope.federated.coordinator import Coordinator, FederatedModel
from chronotope.federated.counts.plan import TimeBins
from chronotope.federated.exchange.exchange_aggregator import (
    ExchangeAggregator,
    open_exchange,
)
from chronotope.federated.recommender import FederatedRecommender
from chronotope.federated.round_selection import RoundRecord
from chronotope.models.content_head import model_catalog
from chronotope.pipelines.federated.settings import FederatedSettings
from chronotope.pipelines.federated.simulated_clients import named_clients, simulated_clients
from chronotope.pipelines.federated.summary import FederationSummary
from chronotope.pipelines.holdout import frozen_folds
from chronotope.pipelines.run_dir import lineage
from chronotope.pipelines.train import MODEL_FILE
from chronotope.registry.mlflow_store import RunTracker, open_store
from chronotope.runtime.engine.client_pool import open_client_pool
from chronotope.training.private.accountant import NoisySteps, spent_epsilon

FEDERATION_FOLDER: Final = "federation"
"""Folder of a run with what the coordinator sends to all clients."""


def federate(
    features: Path,
    settings: FederatedSettings,
    run_dir: Path,
    on_round: Callable[[RoundRecord], None] | None = None,
) -> FederationSummary:
    """Train over the clients; a killed run continues after its last round.

    The curve is an MLflow run of its own. The coordinator's lake gives the catalogue and the time
    of the holdout; its events are used by no training.

    Args:
        features: Feature snapshot of the coordinator.
        settings: Clients, rounds and training.
        run_dir: Folder of the training, with the frozen folds.
        on_round: Called after each aggregation.

    Raises:
        EngineError: Too few clients answer.
    """
    log, catalog = load_features(features)
    catalog = model_catalog(catalog, settings.used_training().model)
    n_clients = len(settings.clients) or settings.n_clients
    federation_spec = _specification(log, catalog.n_items, settings, run_dir, n_clients)
    store, dataset = open_store(settings.training.workspace.mlruns), run_dir.parent.name
    tags = {"dataset": dataset, **lineage(features, settings.used_training(), run_dir)}
    with (
        store.run(dataset, f"federation {run_dir.name}", tags=tags) as tracker,
        _open_aggregator(federation_spec, settings, run_dir) as aggregator,
    ):
        coordinator = Coordinator(
            federation_spec, catalog, aggregator, _round_logger(tracker, on_round)
        )
        federated = coordinator.run()
        texts = aggregation_texts(settings, aggregator)
    model = FederatedRecommender(
        federated,
        catalog,
        federation_spec.training,
        federation_spec.time_bins.edge_s(federation_spec.time_bins.n_bins),
    )
    model_path = run_dir / MODEL_FILE
    model.save(model_path)
    return _summary(federated, settings, model_path, n_clients, texts)


@contextmanager
def _open_aggregator(
    federation_spec: FederationSpec, settings: FederatedSettings, run_dir: Path
) -> Iterator[OrderAggregation]:
    """Clients in this process or its workers, or behind an exchange."""
    if settings.exchange is not None:
        with open_exchange(federation_spec, settings.exchange) as exchange_aggregator:
            yield exchange_aggregator
        return
    clients = (
        named_clients(settings)
        if settings.clients
        else simulated_clients(run_dir, settings.n_clients)
    )
    with open_client_pool(settings.training.engine, len(clients)) as client_pool:
        yield Aggregator(federation_spec, clients, client_pool)


def _specification(
    log: EventLog, n_items: int, settings: FederatedSettings, run_dir: Path, n_clients: int
) -> FederationSpec:
    """What all clients know: dataset, time, network and training."""
    training = settings.used_training()
    train_end_s = frozen_folds(run_dir).holdout.train_end_s
    return FederationSpec(
        dataset=run_dir.parent.name,
        broadcast=(run_dir / FEDERATION_FOLDER).resolve(),
        time_bins=TimeBins.covering(int(log.occurred_s.min()), train_end_s, n_items),
        model=training.model,
        training=training.training,
        federation=settings.federation,
        n_clients=n_clients,
    )


def _round_logger(
    tracker: RunTracker, on_round: Callable[[RoundRecord], None] | None
) -> Callable[[RoundRecord], None]:
    """Function that logs an aggregation to MLflow and passes it on."""
    step = 0

    def log_round(round_record: RoundRecord) -> None:
        nonlocal step
        figures = {
            "federated_later_loss": round_record.later_loss,
            "federated_update_norm": round_record.update_norm,
            "federated_answers": float(round_record.n_answers),
            "federated_mb_per_client": round_record.mb_per_client,
        }
        known_figures = {name: value for name, value in figures.items() if value is not None}
        tracker.metrics(known_figures, step=step)
        step += 1
        if on_round is not None:
            on_round(round_record)

    return log_round


def _summary(
    federated: FederatedModel,
    settings: FederatedSettings,
    model_path: Path,
    n_clients: int,
    texts: tuple[str, str],
) -> FederationSummary:
    n_rounds = sum(round_record.update_norm is not None for round_record in federated.rounds)
    noise = settings.federation.aggregation.noise_multiplier
    delta = settings.training.privacy.delta
    epsilon = spent_epsilon(delta, NoisySteps(noise, 1.0, n_rounds)) if noise else None
    return FederationSummary(
        model=model_path,
        n_clients=n_clients,
        is_simulated=not settings.clients and settings.exchange is None,
        aggregation=texts[0],
        privacy=texts[1],
        epsilon=epsilon,
        delta=None if epsilon is None else delta,
        n_rounds=n_rounds,
        rounds=federated.rounds,
    )


def aggregation_texts(settings: FederatedSettings, aggregator: OrderAggregation) -> tuple[str, str]:
    """How updates became one, and what the coordinator learned, in words.

    Args:
        settings: Clients and rounds.
        aggregator: Who asked the clients.
    """
    if not isinstance(aggregator, ExchangeAggregator):
        return aggregation_text(settings.federation), privacy_text(settings.federation)
    strategy = aggregator.strategy or "aggregated by another program"
    return (
        f"{strategy}, behind an exchange folder",
        "The program that aggregated saw the counts and updates of each client, the coordinator "
        "their sums and averages; no client sent rows. Sums of counts are exact.",
    )


def aggregation_text(federation: FederationConfig) -> str:
    """How updates become one, in words.

    Args:
        federation: Settings.
    """
    aggregation = federation.aggregation
    algorithm = "FedProx" if federation.proximal else "FedAvg"
    bound = "" if aggregation.update_norm is None else f", norm at most {aggregation.update_norm:g}"
    if aggregation.secure:
        return f"{algorithm}, secure aggregation{bound}"
    return f"{algorithm}, {aggregation.rule.replace('_', ' ')} of single updates{bound}"


def privacy_text(federation: FederationConfig) -> str:
    """What the coordinator learns, in words.

    Args:
        federation: Settings.
    """
    if federation.aggregation.secure:
        seen = (
            "The coordinator, which is trusted to follow the protocol, saw sums over the "
            "clients only"
        )
    else:
        seen = "The coordinator saw the counts and updates of each client"
    return f"{seen}; no client sent rows. Sums of counts are exact."
