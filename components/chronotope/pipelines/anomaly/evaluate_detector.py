"""Final fit, evaluation on the holdout beside champion and baselines, and the alert threshold."""

from pathlib import Path
from typing import Final

import numpy as np

from chronotope.anomalies import FeatureTable
from chronotope.anomalies.alert_threshold import AlertThreshold, learn_threshold
from chronotope.anomalies.detector_files import DetectorBundle, load_detector, save_detector
from chronotope.anomalies.fit_detectors import make_detector
from chronotope.anomalies.recommender_surprise import RECOMMENDER_FEATURES
from chronotope.anomalies.score_events import LABEL_COLUMN_FACT
from chronotope.contracts.errors import DataError
from chronotope.contracts.event_log import Float64, Int64
from chronotope.metrics.anomaly_detection import (
    Booleans,
    ScoredEvents,
    auroc,
    average_precision,
    card_precision,
)
from chronotope.pipelines.anomaly.results import (
    BudgetPoint,
    CurvePoint,
    DetectorEvaluation,
    DetectorMetrics,
    DetectorSearch,
)
from chronotope.pipelines.anomaly.search_detector import config_from_params
from chronotope.pipelines.anomaly.settings import AnomalySettings
from chronotope.pipelines.anomaly.training_log import TrainingLog, load_training_log
from chronotope.registry.anomaly.detector_versions import champion_detector_folder
from chronotope.registry.mlflow_store import open_store
from chronotope.splitting.label_delay import DAY_S

DETECTOR_FOLDER: Final = "detector"
EVENTS_FILE: Final = "probe_events.npz"
CANDIDATE: Final = "candidate"
CHAMPION: Final = "champion"

_N_PROBES: Final = 200
_N_CURVE_POINTS: Final = 60
_BUDGETS: Final = (10, 25, 50, 100, 200)
_HOUR_S: Final = 3600


def fit_final_detector(
    dataset: str, version: int, settings: AnomalySettings, run_dir: Path, search: DetectorSearch
) -> Path:
    """Fit the chosen detector on the days before the holdout, and store it; returns its folder.

    Args:
        dataset: Name of the dataset.
        version: Version of the event table.
        settings: Days and threshold.
        run_dir: Folder of this training.
        search: Result of ``search_detector``.
    """
    training_log = load_training_log(dataset, version, settings)
    holdout_rows = training_log.training_rows(training_log.holdout)
    config = config_from_params(search.detector, search.params, settings.detector)
    detector = make_detector(search.detector, config).fit(
        training_log.features.take(holdout_rows), training_log.labels_of(holdout_rows)
    )
    test_rows = training_log.test_rows(training_log.holdout)
    holdout_features = training_log.features.take(test_rows)
    surprise = detector.surprise(holdout_features)
    detector_bundle = DetectorBundle(
        detector,
        training_log.typical_value,
        settings.detector.label_delay_days,
        _threshold(training_log, test_rows, surprise, settings),
        (training_log.holdout.start_day + settings.train_days) * DAY_S,
        {
            "dataset": dataset,
            "events_version": str(version),
            "labels": training_log.labels,
            LABEL_COLUMN_FACT: settings.label_column or "",
        },
        training_log.recommender_dir
        if set(detector.feature_names) & set(RECOMMENDER_FEATURES)
        else None,
    )
    probe_events = holdout_features.take(np.arange(min(_N_PROBES, len(test_rows))))
    run_dir.mkdir(parents=True, exist_ok=True)
    np.savez(
        run_dir / EVENTS_FILE,
        names=np.array(probe_events.names),
        values=probe_events.values,
        surprise=detector.surprise(probe_events),
    )
    return save_detector(detector_bundle, run_dir / DETECTOR_FOLDER)


def evaluate_detector(
    dataset: str, version: int, settings: AnomalySettings, detector_dir: Path
) -> DetectorEvaluation:
    """Metrics of the stored detector, of the champion and of the baselines on the holdout.

    Args:
        dataset: Name of the dataset.
        version: Version of the event table.
        settings: Days and alert budget.
        detector_dir: Result of ``fit_final_detector``.
    """
    training_log = load_training_log(dataset, version, settings)
    holdout_rows = training_log.test_rows(training_log.holdout)
    detector_bundle = load_detector(detector_dir)
    holdout_features = training_log.features.take(holdout_rows)
    surprise = detector_bundle.detector.surprise(holdout_features)
    item_scores = {CANDIDATE: surprise} | _reference_scores(
        dataset, training_log, holdout_features, settings
    )
    scored_events = {
        name: _scored(training_log, holdout_rows, values) for name, values in item_scores.items()
    }
    is_anomalous = scored_events[CANDIDATE].is_anomalous
    is_flagged = surprise > detector_bundle.threshold.surprise
    n_anomalies = int(is_anomalous.sum())
    return DetectorEvaluation(
        labels=training_log.labels,
        n_events=len(holdout_rows),
        n_anomalies=n_anomalies,
        threshold=detector_bundle.threshold.surprise,
        recall_at_threshold=float((is_flagged & is_anomalous).sum() / max(n_anomalies, 1)),
        lead_time_h=_lead_time_h(training_log, holdout_rows, is_flagged),
        metrics={name: _metrics(events, settings) for name, events in scored_events.items()},
        curve=_curve(scored_events[CANDIDATE]),
        budgets=tuple(
            BudgetPoint(alerts_per_day=k, precision=card_precision(scored_events[CANDIDATE], k))
            for k in _BUDGETS
        ),
    )


def _threshold(
    training_log: TrainingLog, holdout_rows: Int64, surprise: Float64, settings: AnomalySettings
) -> AlertThreshold:
    is_genuine = training_log.behaviour.labels.is_anomalous[holdout_rows] == 0
    return learn_threshold(
        surprise[is_genuine],
        false_alarm_rate=settings.false_alarm_rate,
        confidence=settings.threshold_confidence,
        alerts_per_day=settings.alerts_per_day,
    )


def _reference_scores(
    dataset: str,
    training_log: TrainingLog,
    holdout_features: FeatureTable,
    settings: AnomalySettings,
) -> dict[str, Float64]:
    """Scores of the champion and of the baselines, fitted on the same events as the candidate."""
    train_values = training_log.features.take(
        training_log.training_rows(training_log.holdout)
    ).values
    train_mean, train_spread = train_values.mean(axis=0), np.maximum(train_values.std(axis=0), 1e-6)
    from sklearn.ensemble import IsolationForest  # takes a second to import

    isolation_forest = IsolationForest(n_estimators=100, random_state=settings.study.seed).fit(
        train_values
    )
    reference_scores = {
        "isolation_forest": -np.asarray(
            isolation_forest.score_samples(holdout_features.values), dtype=np.float64
        ),
        "squared_deviation": np.square((holdout_features.values - train_mean) / train_spread).sum(
            axis=1
        ),
    }
    champion_dir = champion_detector_folder(open_store(settings.workspace.mlruns), dataset)
    if champion_dir is not None:
        try:
            reference_scores[CHAMPION] = load_detector(champion_dir).detector.surprise(
                holdout_features
            )
        except DataError:  # it reads columns that the log has no more
            reference_scores[CHAMPION] = np.zeros(len(holdout_features.values))
    return reference_scores


def _scored(training_log: TrainingLog, holdout_rows: Int64, scores: Float64) -> ScoredEvents:
    log, labels = training_log.behaviour.log, training_log.behaviour.labels
    return ScoredEvents(
        log.user_idx[holdout_rows],
        log.occurred_s[holdout_rows] // DAY_S,
        labels.is_anomalous[holdout_rows] > 0,
        scores,
    )


def _metrics(events: ScoredEvents, settings: AnomalySettings) -> DetectorMetrics:
    anomalous_days = np.unique(events.day[events.is_anomalous])
    daily_precision = [
        average_precision(
            events.is_anomalous[events.day == day], np.asarray(events.scores[events.day == day])
        )
        for day in anomalous_days
    ]
    return DetectorMetrics(
        auroc=auroc(events.is_anomalous, events.scores),
        average_precision=average_precision(events.is_anomalous, events.scores),
        alert_precision=card_precision(events, settings.alerts_per_day),
        daily_average_precision=tuple(daily_precision),
    )


def _curve(events: ScoredEvents) -> tuple[CurvePoint, ...]:
    """ROC and precision-recall at evenly spaced ranks on a logarithmic scale."""
    sort_order = np.argsort(-events.scores, kind="stable")
    n_hits = np.cumsum(events.is_anomalous[sort_order])
    n_anomalies, n_events = int(n_hits[-1]), len(sort_order)
    curve_ranks = np.unique(np.geomspace(1, n_events, _N_CURVE_POINTS).astype(int))
    return tuple(
        CurvePoint(
            false_alarm_rate=float(
                (curve_rank - n_hits[curve_rank - 1]) / max(n_events - n_anomalies, 1)
            ),
            recall=float(n_hits[curve_rank - 1] / max(n_anomalies, 1)),
            precision=float(n_hits[curve_rank - 1] / curve_rank),
        )
        for curve_rank in curve_ranks
    )


def _lead_time_h(
    training_log: TrainingLog, holdout_rows: Int64, is_flagged: Booleans
) -> float | None:
    """Median hours from a user's first flagged anomaly to the arrival of its first label."""
    log, labels = training_log.behaviour.log, training_log.behaviour.labels
    is_anomalous = labels.is_anomalous[holdout_rows] > 0
    user_idx, times_s = log.user_idx[holdout_rows], log.occurred_s[holdout_rows]
    latest = np.iinfo(np.int64).max
    first_s = np.full(int(user_idx.max(initial=0)) + 1, latest)
    flagged_s = first_s.copy()
    np.minimum.at(first_s, user_idx[is_anomalous], times_s[is_anomalous])
    is_found = is_anomalous & is_flagged
    np.minimum.at(flagged_s, user_idx[is_found], times_s[is_found])
    found_users = np.flatnonzero(flagged_s < latest)
    label_s = first_s[found_users] + training_log.holdout.delay_days * DAY_S
    return (
        float(np.median(label_s - flagged_s[found_users]) / _HOUR_S) if len(found_users) else None
    )
