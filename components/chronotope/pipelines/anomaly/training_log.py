"""Log of a training of an anomaly detector: features, outcomes and cuts in time."""

import hashlib
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from chronotope.anomalies import EventLabels, FeatureTable, behaviour_features, risk_features
from chronotope.anomalies.behaviour_features import mean_value
from chronotope.anomalies.behaviour_log import BehaviourLog, read_behaviour_log
from chronotope.anomalies.count_recommender import count_recommender
from chronotope.anomalies.detector_files import RECOMMENDER_FOLDER
from chronotope.anomalies.planted_anomalies import has_labels, plant_takeovers
from chronotope.anomalies.recommender_surprise import (
    behaviour_catalog,
    open_recommender,
    recommender_features,
    with_places,
)
from chronotope.contracts.errors import NotEnoughData
from chronotope.contracts.event_log import Int64
from chronotope.lake import Lake
from chronotope.lake.event_labels import read_event_labels
from chronotope.pipelines.anomaly.settings import AnomalySettings
from chronotope.splitting.label_delay import DAY_S, DelayedSplit, weekly_splits


@dataclass(frozen=True, slots=True)
class TrainingLog:
    """A log with features, outcomes and cuts.

    Attributes:
        behaviour: Events and outcomes.
        features: Features of every event.
        typical_value: Prior of the amounts.
        labels: ``given`` or ``planted``.
        folds: Cuts of the search, earliest first.
        holdout: Cut of the evaluation.
        recommender_dir: Bundle of the recommender whose surprise is a feature; None without.
    """

    behaviour: BehaviourLog
    features: FeatureTable
    typical_value: float
    labels: str
    folds: tuple[DelayedSplit, ...]
    holdout: DelayedSplit
    recommender_dir: Path | None = None

    def training_rows(self, split: DelayedSplit) -> Int64:
        """Positions of the events a detector is fitted on."""
        return split.train_rows(self.behaviour.log.occurred_s)

    def test_rows(self, split: DelayedSplit) -> Int64:
        """Positions of the labelled test events of users that are not known as compromised."""
        log, labels = self.behaviour.log, self.behaviour.labels
        is_anomalous = labels.is_anomalous * labels.is_labelled
        rows = split.test_rows(log.occurred_s, log.user_idx.astype(np.int64), is_anomalous)
        return rows[labels.is_labelled[rows]]

    def labels_of(self, rows: Int64) -> EventLabels:
        """Outcomes of some events."""
        labels = self.behaviour.labels
        return EventLabels(labels.is_anomalous[rows], labels.is_labelled[rows])


@lru_cache(maxsize=1)
def load_training_log(dataset: str, version: int, settings: AnomalySettings) -> TrainingLog:
    """Read the lake at a version and compute the features; kept for the next step.

    Args:
        dataset: Name of the dataset.
        version: Version of the event table.
        settings: Labels, delay and days.

    Raises:
        NotEnoughData: The log is too short for the folds.
    """
    run_workspace = settings.workspace
    event_table = Lake(run_workspace.lake(dataset)).read("events", version)
    posted_labels = read_event_labels(run_workspace.event_labels(dataset))
    behaviour = read_behaviour_log(
        event_table, label_column=settings.label_column, posted_labels=posted_labels
    )
    if not len(behaviour.log):
        raise NotEnoughData("The lake contains no events", received=dataset)
    labels = "given" if has_labels(behaviour) else "planted"
    if labels == "planted":
        behaviour = plant_takeovers(behaviour, settings.planted_share, settings.study.seed)
    typical_value = mean_value(behaviour.log)
    features = behaviour_features(behaviour.log, behaviour.places, typical_value=typical_value)
    delay_days = settings.detector.label_delay_days
    if labels == "given" and settings.detector.risk_features:
        risk_table = risk_features(behaviour.log, behaviour.labels, delay_days=delay_days)
        features = features.joined(risk_table)
    times_s = behaviour.log.occurred_s
    (holdout,) = weekly_splits(
        times_s,
        1,
        train_days=settings.train_days,
        delay_days=delay_days,
        test_days=settings.holdout_days,
    )
    before_holdout = times_s[times_s < holdout.test_start_day * DAY_S]
    folds = weekly_splits(
        before_holdout,
        settings.n_folds,
        train_days=settings.train_days,
        delay_days=delay_days,
        test_days=settings.fold_days,
    )
    training_log = TrainingLog(behaviour, features, typical_value, labels, folds, holdout)
    if not settings.detector.recommender_features:
        return training_log
    bundle_dir = anomaly_run_dir(dataset, version, settings) / RECOMMENDER_FOLDER
    return _with_recommender(training_log, bundle_dir, dataset, version)


def _with_recommender(
    training_log: TrainingLog, bundle_dir: Path, dataset: str, version: int
) -> TrainingLog:
    """The log with the surprise of a recommender that counts the events before all folds.

    Earlier events are in no fold: their features are those of an event that it expects.
    """
    behaviour = training_log.behaviour
    start_day = min(split.start_day for split in (*training_log.folds, training_log.holdout))
    counted = count_recommender(
        behaviour,
        start_day * DAY_S,
        bundle_dir,
        dataset=dataset,
        data_version=str(version),
    )
    rows = np.flatnonzero(behaviour.log.occurred_s >= start_day * DAY_S)
    recommender = open_recommender(counted, behaviour_catalog(behaviour))
    surprise = recommender_features(recommender, with_places(behaviour), rows)
    values = np.zeros((len(behaviour.log), len(surprise.names)), dtype=np.float32)
    values[rows] = surprise.values
    features = training_log.features.joined(FeatureTable(surprise.names, values))
    return replace(training_log, features=features, recommender_dir=counted)


def anomaly_run_dir(dataset: str, version: int, settings: AnomalySettings) -> Path:
    """Folder of a training: the same events and settings resume in it."""
    settings_text = settings.model_dump_json(exclude={"root"})
    content_digest = hashlib.sha256(f"{version}\n{settings_text}".encode()).hexdigest()[:12]
    return settings.workspace.runs(dataset) / f"anomaly-{content_digest}"
