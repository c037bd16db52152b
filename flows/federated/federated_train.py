"""Flow ``federated-train``: train over clients that keep their rows, then gate as any other."""

import time
from pathlib import Path
from typing import Any, Final
from uuid import UUID

from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE

from chronotope.contracts.escaping import markdown_rows
from chronotope.datasets.loading import load_spec
from chronotope.federated.round_selection import RoundRecord
from chronotope.pipelines.federated.client_roots import require_client_lakes
from chronotope.pipelines.federated.results import FederatedResult
from chronotope.pipelines.federated.settings import FederatedSettings
from chronotope.pipelines.federated.simulated_clients import simulate_clients
from chronotope.pipelines.federated.steps import federate
from chronotope.pipelines.federated.summary import STEP, FederationSummary
from chronotope.pipelines.report import INGESTION_STEP
from chronotope.pipelines.results import ColumnSelection, TrainingData, TrainingSummary
from chronotope.pipelines.run_dir import training_run_dir
from chronotope.pipelines.search import freeze_folds
from chronotope.runtime.step_cache import StepCost, peak_mb, run_step, step_costs
from flows import dataset_lock_in_flow
from flows.ingest_events import IngestSettings, ingest_locked
from flows.link_runs import link_runs
from flows.train_model import compress, evaluate, promote, publish, report

_TASK: Final[dict[str, Any]] = {"cache_policy": NO_CACHE, "result_serializer": "json"}

_SECTIONS_SHARE: Final = 30.0
"""Percent of the progress that the counts make up."""


@flow(name="federated-train", result_serializer="json")
def federated_train(
    dataset: str,
    settings: FederatedSettings = FederatedSettings(),  # noqa: B008 - frozen
    ingestion: IngestSettings = IngestSettings(),  # noqa: B008 - frozen
) -> FederatedResult:
    """Count and train over clients, then compress, evaluate, gate, promote and report.

    Clients send sums of counts and of updates, no rows. The coordinator's own log gives the
    catalogue and the holdout on which the model is evaluated and gated. A run that was killed
    continues after its last finished round.

    Args:
        dataset: Name of a file in conf/datasets, or path of such a YAML file.
        settings: Clients, rounds, aggregation, training and gate.
        ingestion: Location, reading and validation of the coordinator's data; its root is ignored
            in favour of that of the settings.
    """
    training = settings.used_training()
    dataset_name = load_spec(dataset, conf_dir=ingestion.conf_dir, data_dir=ingestion.data_dir).name
    require_client_lakes(settings, dataset_name)
    with dataset_lock_in_flow(training.workspace, dataset_name):
        return _train_locked(dataset, settings, ingestion)


def _train_locked(
    dataset: str, settings: FederatedSettings, ingestion: IngestSettings
) -> FederatedResult:
    """Body of ``federated_train``; the caller holds the dataset's lock."""
    start_time, training = time.perf_counter(), settings.used_training()
    ingested = ingest_locked(dataset, ingestion.model_copy(update={"root": training.root}))
    cost = StepCost(seconds=time.perf_counter() - start_time, peak_mb=peak_mb())
    snapshot, dataset_name = ingested.features, ingested.events.dataset
    run_dir = training_run_dir(snapshot.path, dataset_name, training, purpose=settings.purpose())
    federation = train_over_clients(snapshot.path, settings, run_dir)
    compression = compress(
        snapshot.path, training, run_dir, federation.model, snapshot.data_version
    )
    evaluation = evaluate(snapshot.path, training, run_dir, compression.bundle)
    promotion = promote(snapshot.path, training, run_dir, compression.bundle, evaluation)
    training_data = TrainingData(counts=ingested.events.event_counts(), features=snapshot)
    summary = TrainingSummary(
        fold_ndcg={},
        columns=ColumnSelection(),
        compression=compression,
        evaluation=evaluation,
        promotion=promotion,
        ingestion_cost=cost,
    )
    written_report = report(run_dir, training, training_data, summary)
    publish(dataset_name, evaluation, promotion, written_report)
    show_rounds(dataset_name, federation)
    link_runs(training.root, promotion)
    return FederatedResult(
        ingestion=ingested,
        federation=federation,
        compression=compression,
        evaluation=evaluation,
        promotion=promotion,
        report=written_report,
        costs={INGESTION_STEP: cost, **step_costs(run_dir)},
    )


@task(**_TASK)
def train_over_clients(
    features_dir: Path, settings: FederatedSettings, run_dir: Path
) -> FederationSummary:
    """Freeze the holdout, simulate clients if none are named, and train over them."""
    training = settings.used_training()
    run_step(run_dir, "freeze_folds", str, freeze_folds, features_dir, training, run_dir)
    if not settings.clients and settings.exchange is None:
        run_step(
            run_dir, "simulate_clients", int, simulate_clients, features_dir, settings, run_dir
        )
    return run_step(
        run_dir,
        STEP,
        FederationSummary,
        federate,
        features_dir,
        settings,
        run_dir,
        _Progress(run_dir.parent.name, settings),
    )


def show_rounds(dataset: str, federation: FederationSummary) -> None:
    """Create an artifact with the rounds: answers, failures, loss, size.

    Args:
        dataset: Name of the dataset.
        federation: The finished federation.
    """
    table_rows = [
        {
            "round": round_record.name,
            "answers": round_record.n_answers,
            "later loss": ""
            if round_record.later_loss is None
            else round(round_record.later_loss, 4),
            "MB a client": round(round_record.mb_per_client, 2),
            "seconds": round(round_record.seconds, 1),
            "failures": ", ".join(f"{n} x {why}" for why, n in round_record.failures.items()),
        }
        for round_record in federation.rounds
    ]
    create_table_artifact(
        markdown_rows(table_rows),
        key=f"federated-{dataset.replace('_', '-')}",
        description=federation.aggregation,
    )


class _Progress:
    """Progress artifact of a federation; a stage that stops early jumps ahead."""

    def __init__(self, dataset: str, settings: FederatedSettings) -> None:
        training, federation = settings.training.training, settings.federation
        self._n_sections = training.n_rounds + 6
        self._n_rounds = federation.rounds + federation.discovery_rounds + 3
        self._sections, self._rounds = 0, 0
        artifact_id: Any = create_progress_artifact(
            progress=0.0,
            key=f"federated-progress-{dataset.replace('_', '-')}",
            description="Counts, then rounds of training",
        )
        self._artifact_id: UUID = artifact_id  # typed as a coroutine as well

    def __call__(self, round_record: RoundRecord) -> None:
        """Take an aggregation into account."""
        if round_record.name.startswith("counts"):
            self._sections += 1
        else:
            self._rounds += 1
        counted = min(1.0, self._sections / self._n_sections)
        trained = min(1.0, self._rounds / self._n_rounds)
        if self._rounds:
            counted = 1.0
        progress = _SECTIONS_SHARE * counted + (100.0 - _SECTIONS_SHARE) * trained
        update_progress_artifact(self._artifact_id, progress=progress)
        get_run_logger().info(
            "%s: %s answers, later loss %s",
            round_record.name,
            round_record.n_answers,
            round_record.later_loss,
        )
