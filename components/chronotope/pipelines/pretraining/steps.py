"""Steps of a pretraining: one network over several logs, evaluated, and registered in MLflow.

The logs are cut in time: each trains on the events before its holdout.
"""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from chronotope.contracts.event_log import Catalog, EventLog, Int64
from chronotope.contracts.protocols import Recommender
from chronotope.features.snapshot import load_features
from chronotope.metrics import evaluate, summarise_metrics
from chronotope.models.baselines import UserCounts
from chronotope.models.transfer.checkpoint import write_checkpoint
from chronotope.pipelines.pretraining.card import card_text
from chronotope.pipelines.pretraining.results import (
    CheckpointFile,
    PretrainingEvaluation,
    PretrainingSource,
    SourceEvaluation,
)
from chronotope.pipelines.pretraining.settings import PretrainSettings
from chronotope.pipelines.results import RegisteredVersion
from chronotope.registry import model_versions
from chronotope.registry.lineage import log_dataset
from chronotope.registry.mlflow_store import RunTracker, open_store
from chronotope.registry.pretrained_models import CHECKPOINT_FILE, register_checkpoint
from chronotope.runtime.durable_files import write_text
from chronotope.runtime.private_files import private_folder
from chronotope.splitting.folds import Fold, FoldsConfig, rolling_origin
from chronotope.splitting.targets import targets_between
from chronotope.training.recommender import ChronotopeRecommender

CHECKPOINT_FOLDER: Final = "checkpoint"
"""Folder of a run with the checkpoint and its card, as they are registered."""

CARD_FILE: Final = "card.md"

_METRICS: Final = ("acc_1", "acc_10", "ndcg_10", "mrr")
_PLACE_FIELDS: Final = {"root"}


def pretraining_run_dir(sources: Iterable[PretrainingSource], settings: PretrainSettings) -> Path:
    """Folder of a pretraining: the same logs and settings resume in it.

    Args:
        sources: Logs; the names of their snapshots are digests.
        settings: All settings.
    """
    names = "\n".join(f"{log_source.dataset} {log_source.features.name}" for log_source in sources)
    settings_text = settings.model_dump_json(exclude=_PLACE_FIELDS)
    content_digest = hashlib.sha256(f"{names}\n{settings_text}".encode()).hexdigest()[:12]
    return settings.workspace.runs(settings.name) / content_digest


def pretrain_network(
    sources: tuple[PretrainingSource, ...],
    settings: PretrainSettings,
    run_dir: Path,
    *,
    progress: bool = False,
) -> CheckpointFile:
    """Train one network over all logs; a killed training resumes its last epoch.

    Args:
        sources: The logs.
        settings: Network, training and weights of the logs.
        run_dir: Folder of this pretraining.
        progress: Show a progress bar.
    """
    from chronotope.training.pretraining import PretrainingLog, pretrain  # imports Lightning

    logs = {}
    for log_source in sources:
        event_log, item_catalog = load_features(log_source.features)
        visible = event_log.before(holdout_fold(event_log, settings).train_end_s)
        logs[log_source.dataset] = PretrainingLog(visible, item_catalog)
    checkpoint = pretrain(
        logs,
        settings.model,
        settings.training,
        balance=settings.balance,
        checkpoint_dir=private_folder(run_dir / "epochs"),
        progress=progress,
    )
    card = card_text(sources, settings)
    folder = private_folder(run_dir / CHECKPOINT_FOLDER)
    path = folder / CHECKPOINT_FILE
    sha256 = write_checkpoint(path, type(checkpoint)(checkpoint.model, checkpoint.parameters, card))
    write_text(folder / CARD_FILE, card)
    return CheckpointFile(path=path, sha256=sha256, n_bytes=path.stat().st_size)


def holdout_fold(log: EventLog, settings: PretrainSettings) -> Fold:
    """Cut of a log in time.

    Args:
        log: All events.
        settings: Share of the events before the holdout.
    """
    quantile = settings.holdout_quantile
    config = FoldsConfig(k=1, holdout_quantile=quantile, min_train_share=quantile / 2)
    return rolling_origin(log, config).holdout


def evaluate_checkpoint(
    sources: tuple[PretrainingSource, ...], settings: PretrainSettings, checkpoint: CheckpointFile
) -> PretrainingEvaluation:
    """Metrics on the later events of each log, without training on any.

    Args:
        sources: The logs.
        settings: Cut of the logs, and number of targets.
        checkpoint: Result of ``pretrain_network``.
    """
    start = {"init": str(checkpoint.path), "transfer_epochs": 0}
    training = settings.training.model_copy(update=start)
    evaluations = []
    for log_source in sources:
        event_log, item_catalog = load_features(log_source.features)
        models: dict[str, Recommender] = {
            "pretrained": ChronotopeRecommender(settings.model, training),
            "user_counts": UserCounts(),
        }
        fold = holdout_fold(event_log, settings)
        targets = targets_between(
            event_log, fold.test_start_s, fold.test_end_s, max_targets=settings.max_holdout_targets
        )
        metrics = {
            name: _metrics(
                model.fit(event_log.before(fold.train_end_s), item_catalog),
                event_log,
                item_catalog,
                targets,
            )
            for name, model in models.items()
        }
        evaluations.append(
            SourceEvaluation(dataset=log_source.dataset, n_targets=len(targets), metrics=metrics)
        )
    return PretrainingEvaluation(sources=tuple(evaluations))


def register_pretrained(
    sources: tuple[PretrainingSource, ...],
    settings: PretrainSettings,
    checkpoint: CheckpointFile,
    evaluation: PretrainingEvaluation,
) -> RegisteredVersion:
    """Log metrics and the lineage of all logs to MLflow, and register the checkpoint once.

    Args:
        sources: The logs.
        settings: Name of the model, and root of the registry.
        checkpoint: Result of ``pretrain_network``.
        evaluation: Result of ``evaluate_checkpoint``.
    """
    store = open_store(settings.workspace.mlruns)
    tags = {
        "checkpoint": checkpoint.sha256,
        "datasets": ",".join(log_source.dataset for log_source in sources),
    }
    earlier = model_versions.find_registered(store, settings.name, tags)
    if earlier is not None:  # killed after the registration, before the result was stored
        return RegisteredVersion(name=settings.name, version=earlier[0], run_id=earlier[1])
    run_name = f"pretrain {checkpoint.sha256[:12]}"
    with store.run(settings.name, run_name, tags=tags) as tracker:
        _log_run(tracker, sources, settings, evaluation)
        card = (checkpoint.path.parent / CARD_FILE).read_text(encoding="utf-8")
        tracker.note(card)
        registered = register_checkpoint(
            store,
            name=settings.name,
            checkpoint_dir=checkpoint.path.parent,
            run_id=tracker.run_id,
            tags=tags,
            card=card,
        )
    return RegisteredVersion(
        name=registered.name, version=registered.version, run_id=tracker.run_id
    )


def is_registered_checkpoint(settings: PretrainSettings, registered: RegisteredVersion) -> bool:
    """Whether the registry holds a version under its number and from its run."""
    store = open_store(settings.workspace.mlruns)
    return model_versions.run_of(store, registered.name, registered.version) == registered.run_id


def _log_run(
    tracker: RunTracker,
    sources: tuple[PretrainingSource, ...],
    settings: PretrainSettings,
    evaluation: PretrainingEvaluation,
) -> None:
    """Log parameters, metrics of each log, and each log as a dataset of the run."""
    tracker.params({"balance": settings.balance, **settings.training.model_dump()})
    for source_evaluation in evaluation.sources:
        tracker.metrics(
            {
                f"{source_evaluation.dataset}/{model}/{metric}": value
                for model, metrics in source_evaluation.metrics.items()
                for metric, value in metrics.items()
            }
        )
    for log_source in sources:
        log_dataset(
            tracker,
            name=log_source.dataset,
            data_digest=log_source.data_version,
            data_source=settings.workspace.lake(log_source.dataset),
            data_profile={
                "n_events": log_source.n_events,
                "n_users": log_source.n_users,
                "n_items": log_source.n_items,
            },
        )


def _metrics(
    model: Recommender, log: EventLog, catalog: Catalog, targets: Int64
) -> dict[str, float]:
    summary = summarise_metrics(
        evaluate(model, log, targets, n_items=catalog.n_items, time_given=True)
    )
    return {name: summary[name] for name in _METRICS}
