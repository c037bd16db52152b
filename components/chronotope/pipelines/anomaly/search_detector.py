"""Search over detectors and their parameters, by average precision on later folds."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

from chronotope.anomalies.config import DetectorConfig, DetectorName
from chronotope.anomalies.fit_detectors import make_detector
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.protocols import Tracker
from chronotope.metrics.anomaly_detection import average_precision
from chronotope.pipelines.anomaly.results import DetectorSearch
from chronotope.pipelines.anomaly.settings import AnomalySettings
from chronotope.pipelines.anomaly.training_log import TrainingLog, load_training_log
from chronotope.registry.anomaly.detector_versions import anomaly_model_name
from chronotope.registry.mlflow_store import RunTracker, open_store
from chronotope.runtime.store_urls import optuna_url
from chronotope.tuning.study import ParameterSuggester, SearchSpace, StudyStorage, run_study

Number = TypeVar("Number", int, float)


def search_detector(
    dataset: str, version: int, settings: AnomalySettings, run_dir: Path
) -> DetectorSearch:
    """Choose detector and parameters; trials and folds are nested runs in MLflow.

    Args:
        dataset: Name of the dataset.
        version: Version of the event table.
        settings: Detectors, folds and budget.
        run_dir: Folder of this training; its name is part of the study's.

    Raises:
        ConfigError: Only the supervised detector may be used, and there are no labels.
    """
    training_log = load_training_log(dataset, version, settings)
    detectors = usable_detectors(training_log, settings)

    def fold_precision(params: dict[str, object], fold: int, tracker: Tracker) -> float:
        fold_value = evaluate_fold(training_log, params, fold, settings)
        tracker.metrics({"average_precision": fold_value})
        return fold_value

    mlflow_store, experiment_name = (
        open_store(settings.workspace.mlruns),
        anomaly_model_name(dataset),
    )

    def open_tracker(run_name: str, parent: Tracker | None) -> AbstractContextManager[RunTracker]:
        return mlflow_store.run(experiment_name, run_name, parent=parent, tags={"dataset": dataset})

    best_trial = run_study(
        search_space(detectors, settings.detector),
        fold_precision,
        n_folds=len(training_log.folds),
        default=default_params(detectors[0], settings.detector),
        config=settings.study,
        storage=StudyStorage(
            optuna_url(settings.workspace.mlruns), f"{experiment_name} {run_dir.name}"
        ),
        tracker_factory=open_tracker,
    )
    params = dict(best_trial.params)
    detector: DetectorName = params.pop("detector")  # type: ignore[assignment]
    return DetectorSearch(
        detector=detector,
        params=params,
        average_precision=best_trial.value,
        fold_values=best_trial.fold_values,
        labels=training_log.labels,
    )


def usable_detectors(
    training_log: TrainingLog, settings: AnomalySettings
) -> tuple[DetectorName, ...]:
    """Detectors of the settings: supervised needs given labels, surprise a recommender.

    Raises:
        ConfigError: None is left.
    """
    detectors = tuple(
        name
        for name in dict.fromkeys(settings.detectors)
        if (training_log.labels == "given" or name != "supervised")
        and (training_log.recommender_dir is not None or name != "surprise")
    )
    if not detectors:
        raise ConfigError(
            "The supervised detector needs labels, the surprise detector a recommender",
            received=f"detectors: {list(settings.detectors)}, {training_log.labels} labels",
            way_out="Set label_column, post labels with POST /labels, set "
            "detector.recommender_features: true, or add a detector",
        )
    return detectors


def search_space(detectors: tuple[DetectorName, ...], config: DetectorConfig) -> SearchSpace:
    """Detector and its parameters; the bounds include the values of the settings.

    Args:
        detectors: Detectors to choose from.
        config: Values of the settings.
    """
    tree_config, network_config = config.trees, config.network

    def suggest_params(trial: ParameterSuggester) -> dict[str, object]:
        detector = trial.suggest_categorical("detector", detectors)
        if detector == "supervised":
            return {
                "detector": detector,
                "n_trees": trial.suggest_int("n_trees", *_bounds(40, 200, tree_config.n_trees)),
                "learning_rate": trial.suggest_float(
                    "learning_rate", *_bounds(0.02, 0.1, tree_config.learning_rate), log=True
                ),
                "max_leaves": trial.suggest_int(
                    "max_leaves", *_bounds(4, 16, tree_config.max_leaves)
                ),
                "l2": trial.suggest_float(
                    "l2", *_bounds(0.5, 50.0, max(tree_config.l2, 1e-3)), log=True
                ),
            }
        if detector == "surprise":
            return {"detector": detector}
        return {
            "detector": detector,
            "n_latent": trial.suggest_int("n_latent", *_bounds(1, 8, network_config.n_latent)),
            "n_epochs": trial.suggest_int("n_epochs", *_bounds(3, 10, network_config.n_epochs)),
            "noise": trial.suggest_float("noise", *_bounds(0.0, 0.6, network_config.noise)),
            "masked_share": trial.suggest_float(
                "masked_share", *_bounds(0.0, 0.5, network_config.masked_share)
            ),
        }

    return suggest_params


def _bounds(low: Number, high: Number, fold_value: Number) -> tuple[Number, Number]:
    """Bounds of a searched value that include that of the settings."""
    return min(low, fold_value), max(high, fold_value)


def default_params(detector: DetectorName, config: DetectorConfig) -> dict[str, object]:
    """Values of the settings for the searched parameters: the first trial."""
    if detector == "surprise":
        return {"detector": detector}
    if detector == "supervised":
        return {"detector": detector, **config.trees.model_dump(exclude={"seed"})}
    searched_names = {"n_latent", "n_epochs", "noise", "masked_share"}
    return {"detector": detector, **config.network.model_dump(include=searched_names)}


def config_from_params(
    detector: DetectorName, params: dict[str, Any], config: DetectorConfig
) -> DetectorConfig:
    """Config with searched parameters in place of those of the settings."""
    config_part = "trees" if detector == "supervised" else "network"
    return config.model_copy(
        update={config_part: getattr(config, config_part).model_copy(update=params)}
    )


def evaluate_fold(
    training_log: TrainingLog, params: dict[str, object], fold: int, settings: AnomalySettings
) -> float:
    """Average precision of one fold; 0 if it has no anomaly.

    Args:
        training_log: The log.
        params: Detector and parameters.
        fold: Index of the fold.
        settings: Values that are not searched.
    """
    detector: DetectorName = params["detector"]  # type: ignore[assignment]
    searched_params = {
        name: fold_value for name, fold_value in params.items() if name != "detector"
    }
    fold_split = training_log.folds[fold]
    train_rows, test_rows = (
        training_log.training_rows(fold_split),
        training_log.test_rows(fold_split),
    )
    config = config_from_params(detector, searched_params, settings.detector)
    fitted_detector = make_detector(detector, config).fit(
        training_log.features.take(train_rows), training_log.labels_of(train_rows)
    )
    is_anomalous = training_log.behaviour.labels.is_anomalous[test_rows] > 0
    if not is_anomalous.any():
        return 0.0
    return average_precision(
        is_anomalous, fitted_detector.surprise(training_log.features.take(test_rows))
    )
