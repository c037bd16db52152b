"""Search of hyper-parameters of a pretraining over folds of later time of all its logs."""

import tempfile
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from chronotope.contracts.event_log import EventLog
from chronotope.contracts.protocols import Tracker
from chronotope.features.snapshot import load_features
from chronotope.metrics import evaluate, summarise_metrics
from chronotope.models.transfer.checkpoint import write_checkpoint
from chronotope.pipelines.pretraining.results import PretrainingSearch, PretrainingSource
from chronotope.pipelines.pretraining.settings import PretrainSettings
from chronotope.registry.mlflow_store import RunTracker, open_store
from chronotope.runtime.store_urls import optuna_url
from chronotope.splitting.folds import Fold, FoldsConfig, rolling_origin
from chronotope.splitting.targets import targets_between
from chronotope.training.recommender import ChronotopeRecommender
from chronotope.tuning.study import ParameterSuggester, StudyStorage, run_study

_TRAINING_PARAMS: Final[tuple[str, ...]] = ("learning_rate", "weight_decay")


def suggest_params(trial: ParameterSuggester) -> dict[str, object]:
    """Searched parameters. Sizes of the network are not: a training has to have the same."""
    return {
        "learning_rate": trial.suggest_float("learning_rate", 1e-3, 1e-1, log=True),
        "weight_decay": trial.suggest_float("weight_decay", 1e-6, 1e-1, log=True),
        "balance": trial.suggest_float("balance", 0.0, 1.0),
    }


def searched_settings(settings: PretrainSettings, params: dict[str, Any]) -> PretrainSettings:
    """Settings with searched parameters in place of their own.

    Args:
        settings: All settings.
        params: Values of ``suggest_params``; empty keeps the settings.
    """
    training = {name: params[name] for name in _TRAINING_PARAMS if name in params}
    return settings.model_copy(
        update={
            "training": settings.training.model_copy(update=training),
            "balance": params.get("balance", settings.balance),
        }
    )


def search_pretraining(
    sources: tuple[PretrainingSource, ...], settings: PretrainSettings, run_dir: Path
) -> PretrainingSearch:
    """Best parameters by NDCG@10 without further training; a killed search resumes.

    The value of a trial on a fold is the mean over the logs, each of which counts alike. Trials and
    folds are nested runs in MLflow.

    Args:
        sources: The logs.
        settings: Folds, budget and the first values that are tried.
        run_dir: Folder of this pretraining; its name is part of the study's.

    Raises:
        NotEnoughData: A log is too short for the folds.
    """
    store = open_store(settings.workspace.mlruns)
    tags = {"datasets": ",".join(log_source.dataset for log_source in sources)}

    def open_tracker(run_name: str, parent: Tracker | None) -> AbstractContextManager[RunTracker]:
        return store.run(settings.name, run_name, parent=parent, tags=tags)

    best_trial = run_study(
        suggest_params,
        TransferObjective(sources, settings),
        n_folds=settings.n_folds,
        default={
            **{name: getattr(settings.training, name) for name in _TRAINING_PARAMS},
            "balance": settings.balance,
        },
        config=settings.study,
        storage=StudyStorage(
            optuna_url(settings.workspace.mlruns), f"{settings.name} {run_dir.name}"
        ),
        tracker_factory=open_tracker,
    )
    return PretrainingSearch(
        params=best_trial.params,
        mean_ndcg=best_trial.value,
        trial_number=best_trial.trial_number,
        fold_ndcg=best_trial.fold_values,
    )


@dataclass(frozen=True, slots=True)
class TransferObjective:
    """Mean NDCG@10 over the logs on a fold, of a network pretrained on what is before it.

    Attributes:
        sources: The logs.
        settings: Folds and budget.
    """

    sources: tuple[PretrainingSource, ...]
    settings: PretrainSettings

    def __call__(self, params: dict[str, Any], fold_idx: int, tracker: Tracker) -> float:
        """Pretrain on the events before a fold of each log; evaluate on the targets of the fold."""
        from chronotope.training.pretraining import PretrainingLog, pretrain  # imports Lightning

        settings = searched_settings(self.settings, params)
        training = settings.training.model_copy(
            update={"max_targets": min(settings.trial_targets, settings.training.max_targets)}
        )
        logs = {source.dataset: load_features(source.features) for source in self.sources}
        folds = {
            dataset: pretraining_folds(event_log, settings)[fold_idx]
            for dataset, (event_log, _) in logs.items()
        }
        checkpoint = pretrain(
            {
                dataset: PretrainingLog(event_log.before(folds[dataset].train_end_s), catalog)
                for dataset, (event_log, catalog) in logs.items()
            },
            settings.model,
            training,
            balance=settings.balance,
            tracker=tracker,
        )
        with tempfile.TemporaryDirectory() as temp_dir:
            path = Path(temp_dir) / "checkpoint.safetensors"
            write_checkpoint(path, checkpoint)
            start = training.model_copy(update={"init": str(path), "transfer_epochs": 0})
            values = {}
            for dataset, (event_log, catalog) in logs.items():
                fold = folds[dataset]
                model = ChronotopeRecommender(settings.model, start)
                model.fit(event_log.before(fold.train_end_s), catalog)
                targets = targets_between(
                    event_log,
                    fold.test_start_s,
                    fold.test_end_s,
                    max_targets=settings.max_holdout_targets,
                )
                result = evaluate(
                    model, event_log, targets, n_items=catalog.n_items, time_given=True
                )
                values[dataset] = summarise_metrics(result)["ndcg_10"]
        tracker.metrics({f"{dataset}/ndcg_10": value for dataset, value in values.items()})
        mean_ndcg = float(np.mean(list(values.values())))
        tracker.metrics({"ndcg_10": mean_ndcg})
        return mean_ndcg


def pretraining_folds(log: EventLog, settings: PretrainSettings) -> tuple[Fold, ...]:
    """Folds of later time before the holdout of a log.

    Args:
        log: All events.
        settings: Number of folds, and share of the events before the holdout.
    """
    quantile = settings.holdout_quantile
    config = FoldsConfig(
        k=settings.n_folds, holdout_quantile=quantile, min_train_share=quantile / 2
    )
    return rolling_origin(log, config).folds
