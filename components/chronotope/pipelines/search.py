"""Search hyper-parameters over frozen folds of later time, whoever keeps track."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.protocols import Recommender, Tracker
from chronotope.features.snapshot import load_features
from chronotope.metrics.evaluate import EvaluationResult, evaluate
from chronotope.metrics.summary import ndcg, summarise_metrics
from chronotope.models.baselines import Popularity, UserCounts
from chronotope.models.config import ModelConfig
from chronotope.pipelines.holdout import CHALLENGER, frozen_folds
from chronotope.pipelines.process_cache import cached_features, process_cache
from chronotope.pipelines.run_dir import write_settings
from chronotope.pipelines.settings import TrainSettings
from chronotope.runtime.engine import open_engine
from chronotope.runtime.store_urls import optuna_url
from chronotope.splitting.folds import Fold, Folds, rolling_origin, save_folds
from chronotope.splitting.targets import targets_between
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender
from chronotope.tuning.study import ParameterSuggester, SearchSpace, StudyStorage, tune
from chronotope.tuning.trial_batch import TrackerFactory


def freeze_folds(features: Path, settings: TrainSettings, run: Path) -> str:
    """Cut the log once per study and store the cuts; returns their digest."""
    log, _ = load_features(features)
    write_settings(run, settings)
    return save_folds(rolling_origin(log, settings.folds), run / "frozen_folds.json")


def search_space(settings: TrainSettings) -> SearchSpace:
    """What may vary: the family too, which has to win on later time to be let in."""
    backbones = tuple(dict.fromkeys((settings.model.backbone, *settings.backbones)))

    def draw(trial: ParameterSuggester) -> dict[str, object]:
        backbone = trial.suggest_categorical("backbone", backbones)
        kernels = backbone == "none" or trial.suggest_categorical("kernels", [True, False])
        return {
            "backbone": backbone,
            "kernels": kernels,
            "kinds": kernels and trial.suggest_categorical("kinds", [True, False]),
            "n_hidden": trial.suggest_int("n_hidden", 8, 96),
            "learning_rate": trial.suggest_float("learning_rate", 1e-3, 1e-1, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 1e-6, 1e-1, log=True),
        }

    return draw


def starting_point(settings: TrainSettings) -> dict[str, object]:
    """The settings' own values of what may vary: tried first, so no search ends below."""
    told = settings.model.model_dump() | settings.training.model_dump()
    vary = ("backbone", "kernels", "kinds", "n_hidden", "learning_rate", "weight_decay")
    return {name: told[name] for name in vary}


def configs_from_params(
    params: dict[str, Any], settings: TrainSettings
) -> tuple[ModelConfig, TrainingConfig]:
    """The configs that a set of drawn parameters stands for."""
    known = settings.model.model_dump()
    model = {name: value for name, value in params.items() if name in known}
    training = {name: value for name, value in params.items() if name not in known}
    return (
        ModelConfig.model_validate(known | model),
        TrainingConfig.model_validate(settings.training.model_dump() | training),
    )


def context_columns(log: EventLog, settings: TrainSettings) -> tuple[str, ...]:
    """Columns a model may listen to: those of the settings, by default all of the log."""
    return settings.model.context or tuple(log.context)


def search_parameters(
    features: Path, settings: TrainSettings, run: Path, tracker_factory: TrackerFactory
) -> dict[str, Any]:
    """Best parameters by mean NDCG@10 over the folds; a killed search goes on.

    Args:
        features: Feature snapshot.
        settings: Budget and configs.
        run: Folder of this training; holds the frozen folds.
        tracker_factory: Opens a run for the study, its trials and their folds.

    Returns:
        ``params`` and ``value`` of the best trial, and ``folds``: its NDCG@10 on each
        fold beside the simplest baselines', earliest first. JSON-able.
    """
    folds = frozen_folds(run)
    with process_cache(), open_engine(settings.engine) as engine:
        best = tune(
            search_space(settings),
            FoldObjective(features.resolve(), settings, folds),
            n_folds=len(folds.folds),
            default=starting_point(settings),
            config=settings.study,
            storage=StudyStorage(optuna_url(settings.workspace.mlruns), run.name),
            tracker_factory=tracker_factory,
            engine=engine,
        )
        rivals = _rivals(*cached_features(features.resolve()), settings, folds)
    return {
        "params": best.params,
        "value": best.value,
        "trial": best.trial_number,
        "folds": {CHALLENGER: list(best.fold_values), **rivals},
    }


@dataclass(frozen=True, slots=True)
class FoldObjective:
    """NDCG@10 of parameters on a fold; it travels, so it holds a path and no data.

    Attributes:
        features: Feature snapshot, absolute: wherever it is judged, the same files lie there.
        settings: Budget and configs.
        folds: The frozen folds.
    """

    features: Path
    settings: TrainSettings
    folds: Folds

    def __call__(self, params: dict[str, Any], index: int, tracker: Tracker) -> float:
        """Train on what lies before a fold and judge on it."""
        log, catalog = cached_features(self.features)
        listening = {**params, "context": context_columns(log, self.settings)}
        model_config, training_config = configs_from_params(listening, self.settings)
        most = min(self.settings.trial_targets, training_config.max_targets)
        training_config = training_config.model_copy(update={"max_targets": most})
        model = ChronotopeRecommender(model_config, training_config, tracker=tracker)
        outcomes = _judged(model, log, catalog, self.settings, self.folds.folds[index])
        found = {k: v for k, v in summarise_metrics(outcomes).items() if np.isfinite(v)}
        tracker.metrics(found)
        return found["ndcg_10"]


def _rivals(
    log: EventLog, catalog: Catalog, settings: TrainSettings, folds: Folds
) -> dict[str, list[float]]:
    """NDCG@10 of the baselines that cost next to nothing, on each fold."""
    return {
        make().name: [
            float(ndcg(_judged(make(), log, catalog, settings, fold).rank, 10).mean())
            for fold in folds.folds
        ]
        for make in (Popularity, UserCounts)
    }


def _judged(
    model: Recommender, log: EventLog, catalog: Catalog, settings: TrainSettings, fold: Fold
) -> EvaluationResult:
    """Fit before a fold and judge on its targets."""
    fitted = model.fit(log.before(fold.train_end_s), catalog)
    targets = targets_between(
        log, fold.test_start_s, fold.test_end_s, max_targets=settings.max_fold_targets
    )
    return evaluate(fitted, log, targets, n_items=catalog.n_items, time_given=True)
