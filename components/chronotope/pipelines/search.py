"""Hyper-parameter search over frozen folds of later time, with any experiment tracker."""

import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.protocols import Recommender, Tracker
from chronotope.features.snapshot import load_features
from chronotope.metrics import EvaluationResult, evaluate, ndcg, summarise_metrics
from chronotope.models.baselines import Popularity, UserCounts
from chronotope.models.config import ModelConfig
from chronotope.pipelines.holdout import CHALLENGER, FOLDS_FILE, frozen_folds
from chronotope.pipelines.pretraining.start import with_local_checkpoint
from chronotope.pipelines.process_cache import cached_features, process_cache
from chronotope.pipelines.results import SearchResult
from chronotope.pipelines.run_dir import write_settings
from chronotope.pipelines.settings import TrainSettings
from chronotope.runtime.engine import open_engine
from chronotope.runtime.plugins.installed_recommenders import (
    installed_recommenders,
    recommender_errors,
)
from chronotope.runtime.store_urls import optuna_url
from chronotope.splitting.folds import Fold, Folds, rolling_origin, save_folds
from chronotope.splitting.targets import targets_between
from chronotope.training.config import SCRATCH, TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender
from chronotope.tuning.study import ParameterSuggester, SearchSpace, StudyStorage, run_study
from chronotope.tuning.trial_batch import TrackerFactory

_AUGMENTATION: Final = "augmentation_"
"""Beginning of the searched parameters of the augmentation."""


def freeze_folds(features: Path, settings: TrainSettings, run_dir: Path) -> str:
    """Split the log once per study and store the folds.

    Returns:
        Digest of the folds.
    """
    installed_recommenders()  # one that cannot be built is no reason to fail after the search
    log, _ = load_features(features)
    write_settings(run_dir, settings)
    return save_folds(rolling_origin(log, settings.folds), run_dir / FOLDS_FILE)


def search_space(settings: TrainSettings) -> SearchSpace:
    """Search space of the parameters; the backbone is one of them."""
    backbones = tuple(dict.fromkeys((settings.model.backbone, *settings.backbones)))

    def suggest_params(trial: ParameterSuggester) -> dict[str, object]:
        backbone = trial.suggest_categorical("backbone", backbones)
        kernels = backbone == "none" or trial.suggest_categorical("kernels", [True, False])
        start = _suggest_start(trial, settings, backbone)
        is_scratch = start.get("init", SCRATCH) == SCRATCH
        return {
            **start,
            **_suggest_augmentation(trial, settings),
            "backbone": backbone,
            "kernels": kernels,
            "category_head": is_scratch
            and kernels
            and trial.suggest_categorical("category_head", [True, False]),
            # a checkpoint has the width of the settings
            "n_hidden": trial.suggest_int("n_hidden", 8, 96)
            if is_scratch
            else settings.model.n_hidden,
            "learning_rate": trial.suggest_float("learning_rate", 1e-3, 1e-1, log=True),
            "weight_decay": trial.suggest_float("weight_decay", 1e-6, 1e-1, log=True),
        }

    return suggest_params


def _suggest_start(
    trial: ParameterSuggester, settings: TrainSettings, backbone: str
) -> dict[str, str]:
    """Start of the parameters: the checkpoint of the settings or scratch; a backbone has none."""
    if not settings.training.is_pretrained:
        return {}
    if backbone != "none":
        return {"init": SCRATCH}
    return {"init": trial.suggest_categorical("init", (settings.training.init, SCRATCH))}


def _suggest_augmentation(trial: ParameterSuggester, settings: TrainSettings) -> dict[str, object]:
    """Kind, amount and users of the augmentation, where one is searched."""
    if not settings.augmentations:
        return {}
    kinds = tuple(dict.fromkeys((settings.training.augmentation.kind, *settings.augmentations)))
    return {
        f"{_AUGMENTATION}kind": trial.suggest_categorical(f"{_AUGMENTATION}kind", kinds),
        f"{_AUGMENTATION}amount": trial.suggest_float(f"{_AUGMENTATION}amount", 0.0, 1.0),
        f"{_AUGMENTATION}sparse_only": trial.suggest_categorical(
            f"{_AUGMENTATION}sparse_only", [False, True]
        ),
    }


def starting_point(settings: TrainSettings) -> dict[str, object]:
    """Values of the settings for the searched parameters: the first trial of every search."""
    config_values = settings.model.model_dump() | settings.training.model_dump()
    start = ("init",) if settings.training.is_pretrained else ()
    sizes = ("backbone", "kernels", "category_head", "n_hidden", "learning_rate", "weight_decay")
    start_values = {name: config_values[name] for name in (*start, *sizes)}
    if not settings.augmentations:
        return start_values
    augmentation = settings.training.augmentation.model_dump(exclude={"weight"})
    return start_values | {f"{_AUGMENTATION}{name}": augmentation[name] for name in augmentation}


def configs_from_params(
    params: dict[str, Any], settings: TrainSettings
) -> tuple[ModelConfig, TrainingConfig]:
    """Configs of model and training, with the given parameters in place of the settings'."""
    base_model = settings.model.model_dump()
    model_params = {name: value for name, value in params.items() if name in base_model}
    training_params = {name: value for name, value in params.items() if name not in base_model}
    base_training = settings.training.model_dump()
    for name in [name for name in training_params if name.startswith(_AUGMENTATION)]:
        value = training_params.pop(name)
        base_training["augmentation"][name.removeprefix(_AUGMENTATION)] = value
    training = TrainingConfig.model_validate(base_training | training_params)
    return (
        ModelConfig.model_validate(base_model | model_params),
        with_local_checkpoint(training, settings),
    )


def context_columns(log: EventLog, settings: TrainSettings) -> tuple[str, ...]:
    """Context columns a model may use: those of the settings, by default all of the log.

    Without a training there are no weights for them.
    """
    if settings.training.is_zero_shot:
        return ()
    return settings.model.context or tuple(log.context)


def item_context_params(log: EventLog, settings: TrainSettings) -> dict[str, tuple[str, ...]]:
    """Columns of the item context a model may read: those of the settings, by default all.

    Without item context, and without a training, there is no such parameter.
    """
    if log.item_context is None or settings.training.is_zero_shot:
        return {}
    names = tuple(column.name for column in log.item_context.columns)
    return {"item_context": settings.model.item_context or names}


def run_search(
    features: Path, settings: TrainSettings, run_dir: Path, tracker_factory: TrackerFactory
) -> SearchResult:
    """Best parameters by mean NDCG@10 over the folds; a killed search resumes.

    Args:
        features: Feature snapshot.
        settings: Budget and configs.
        run_dir: Folder of this training, with the frozen folds.
        tracker_factory: Opens a run for the study, its trials and their folds.
    """
    folds = frozen_folds(run_dir)
    with process_cache(), open_engine(settings.engine) as engine:
        best = run_study(
            search_space(settings),
            FoldObjective(features.resolve(), settings, folds),
            n_folds=len(folds.folds),
            default=starting_point(settings),
            config=settings.study,
            storage=StudyStorage(optuna_url(settings.workspace.mlruns), run_dir.name),
            tracker_factory=tracker_factory,
            engine=engine,
        )
        baseline_ndcg = _baseline_ndcg(*cached_features(features.resolve()), settings, folds)
    return SearchResult(
        params=best.params,
        mean_ndcg=best.value,
        trial_number=best.trial_number,
        fold_ndcg={CHALLENGER: best.fold_values, **baseline_ndcg},
    )


@dataclass(frozen=True, slots=True)
class FoldObjective:
    """NDCG@10 of parameters on a fold; sent to other processes, so it holds a path, no data.

    Attributes:
        features: Feature snapshot, absolute; every process reads the same files.
        settings: Budget and configs.
        folds: The frozen folds.
    """

    features: Path
    settings: TrainSettings
    folds: Folds

    def __call__(self, params: dict[str, Any], fold_idx: int, tracker: Tracker) -> float:
        """Train on the events before a fold and evaluate on its targets."""
        log, item_catalog = cached_features(self.features)
        columns = {"context": context_columns(log, self.settings)}
        all_params = {**params, **columns, **item_context_params(log, self.settings)}
        model_config, training_config = configs_from_params(all_params, self.settings)
        max_targets = min(self.settings.trial_targets, training_config.max_targets)
        # What is fitted to the finished network has no searched parameter of its own.
        training_config = training_config.model_copy(
            update={
                "max_targets": max_targets,
                "discovery_targets": 0,
                "item_context_targets": 0,
            }
        )
        model = ChronotopeRecommender(model_config, training_config, tracker=tracker)
        evaluation_result = _evaluate_on_fold(
            model, log, item_catalog, self.settings, self.folds.folds[fold_idx]
        )
        metrics = {k: v for k, v in summarise_metrics(evaluation_result).items() if np.isfinite(v)}
        tracker.metrics(metrics)
        return metrics["ndcg_10"]


def _baseline_ndcg(
    log: EventLog, catalog: Catalog, settings: TrainSettings, folds: Folds
) -> dict[str, tuple[float, ...]]:
    """NDCG@10 of the cheapest baselines and of installed models on each fold, by name."""
    fold_ndcg: dict[str, tuple[float, ...]] = {}
    compared_models: list[Recommender] = [Popularity(), UserCounts(), *installed_recommenders()]
    for model in compared_models:
        with recommender_errors(model):
            results = [
                _evaluate_on_fold(copy.deepcopy(model), log, catalog, settings, fold)
                for fold in folds.folds
            ]
        fold_ndcg[model.name] = tuple(float(ndcg(result.rank, 10).mean()) for result in results)
    return fold_ndcg


def _evaluate_on_fold(
    model: Recommender, log: EventLog, catalog: Catalog, settings: TrainSettings, fold: Fold
) -> EvaluationResult:
    """Fit before a fold and evaluate on its targets."""
    fitted_model = model.fit(log.before(fold.train_end_s), catalog)
    targets = targets_between(
        log, fold.test_start_s, fold.test_end_s, max_targets=settings.max_fold_targets
    )
    return evaluate(fitted_model, log, targets, n_items=catalog.n_items, time_given=True)
