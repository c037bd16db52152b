"""Drift report of one version of data, champion and interaction log."""

import hashlib
import json
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from chronotope.artifact.bundle import read_vocabulary
from chronotope.artifact.open_bundle import open_bundle
from chronotope.artifact.remapped import RemappedRecommender
from chronotope.contracts import columns as c
from chronotope.contracts.data_version import DataVersion
from chronotope.contracts.drift_report import (
    ColumnShares,
    DriftCheck,
    DriftReport,
    OutcomeSummary,
    OverallStatus,
)
from chronotope.contracts.errors import NotEnoughData
from chronotope.features.snapshot import load_features
from chronotope.lake import InteractionLog, Lake
from chronotope.lake.impression_tables import ACTIONS, AT_S, action_table, impression_table
from chronotope.monitoring.config import MonitorConfig
from chronotope.monitoring.data_drift import measure_data_drift
from chronotope.monitoring.encoded_events import EncodedEvents, read_encoded_events
from chronotope.monitoring.outcome_drift import measure_outcome_drift, summarise_outcome
from chronotope.monitoring.prediction_drift import PredictionDrift, measure_prediction_drift
from chronotope.monitoring.prediction_replay import replay_predictions
from chronotope.monitoring.promotion_baseline import promotion_baseline
from chronotope.monitoring.publish import drift_reason
from chronotope.monitoring.thresholds import DriftStatistic, check_statistics
from chronotope.monitoring.windows import Windows
from chronotope.registry.champion import journal_champion_version
from chronotope.registry.champion_info import ChampionInfo, champion_info
from chronotope.registry.mlflow_store import open_store
from chronotope.registry.model_versions import download_version
from chronotope.runtime.workspace import Workspace

_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class MonitoredState:
    """What is watched.

    Attributes:
        dataset: Its name.
        workspace: Its folders.
        features: Feature snapshot of the version, which the champion is asked on.
        data_version: Versions of the lake's tables.
        config: How.
        now: The moment, which tells the champion's age.
    """

    dataset: str
    workspace: Workspace
    features: Path
    data_version: DataVersion
    config: MonitorConfig
    now: datetime


def monitor(subject: MonitoredState) -> DriftReport:
    """Compare the newest window with what was usual: data, predictions, outcome.

    Args:
        subject: What is watched.

    Raises:
        NotEnoughData: The lake holds no events.
    """
    config = subject.config
    lake = Lake(subject.workspace.lake(subject.dataset))
    events = read_encoded_events(lake, subject.data_version.events)
    if not len(events):
        raise NotEnoughData("There are no events to monitor", way_out="Ingest events first")
    windows, king = Windows.over(events.occurred_s, config), find_champion(subject)
    data, columns = measure_data_drift(events, windows, config)
    predicted = _predictions(subject, king, windows)
    outcome, followed = _outcome(subject, events, king, windows)
    checks = check_statistics([*data, *predicted.measured, *followed], config)
    start, end = windows.span(windows.n - 1)
    return DriftReport(
        dataset=subject.dataset,
        data_version=str(subject.data_version),
        champion=None if king is None else king.version,
        champion_age_days=None if king is None else age_days(king, subject.now),
        is_old=is_champion_stale(king, subject.now, config),
        window_start=start,
        window_end=end,
        verdict=overall_status(checks),
        reasons=tuple(map(drift_reason, filter(lambda check: check.verdict == "drift", checks))),
        checks=checks,
        columns=columns,
        windows=predicted.rows,
        pit=predicted.pit,
        outcome=outcome,
        notes=_notes(windows, columns, king, predicted, outcome, config),
    )


def report_key(subject: MonitoredState) -> str:
    """Name of what is found: the same data, champion, log and settings are found once.

    A champion that becomes too old is another finding.

    Args:
        subject: What is watched.
    """
    king = find_champion(subject)
    told = [
        str(subject.data_version),
        subject.features.name,
        None if king is None else king.version,
        is_champion_stale(king, subject.now, subject.config),
        _last_logged(subject),
        subject.config.model_dump(mode="json", exclude={"force"}),
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def find_champion(subject: MonitoredState) -> ChampionInfo | None:
    """The champion; where nothing was promoted, no store is made."""
    if journal_champion_version(subject.workspace.root, subject.dataset) is None:
        return None
    return champion_info(open_store(subject.workspace.mlruns), subject.workspace, subject.dataset)


def age_days(king: ChampionInfo, now: datetime) -> float:
    """Days since the promotion."""
    return (now - king.promoted_at).total_seconds() / _DAY_S


def is_champion_stale(king: ChampionInfo | None, now: datetime, config: MonitorConfig) -> bool:
    """Whether the champion is older than the configured maximum."""
    return king is not None and age_days(king, now) > config.max_age_days


def overall_status(checks: tuple[DriftCheck, ...]) -> OverallStatus:
    """One word for all checks."""
    verdicts = {check.verdict for check in checks}
    if "drift" in verdicts:
        return "drift"
    return "no drift" if "usual" in verdicts else "not enough history"


def _predictions(
    subject: MonitoredState, king: ChampionInfo | None, windows: Windows
) -> PredictionDrift:
    if king is None:
        return PredictionDrift([], (), ())
    store = open_store(subject.workspace.mlruns)
    folder = download_version(store, subject.dataset, king.version)
    log, catalog = load_features(subject.features)
    champion = RemappedRecommender(open_bundle(folder), read_vocabulary(folder), catalog)
    answered = replay_predictions(
        champion, log, catalog, windows, subject.config, after_s=king.trained_until_s
    )
    return measure_prediction_drift(
        answered, promotion_baseline(king, store, subject.dataset), windows
    )


def _outcome(
    subject: MonitoredState, events: EncodedEvents, king: ChampionInfo | None, windows: Windows
) -> tuple[OutcomeSummary | None, list[DriftStatistic]]:
    path = subject.workspace.interactions(subject.dataset)
    if not path.exists():
        return None, []
    with closing(InteractionLog(path)) as log:
        rows, done = impression_table(log), action_table(log)
    followed = summarise_outcome(
        rows, pa.concat_tables([done, _done(events, rows)]), subject.config
    )
    if followed is None:
        return None, []
    champion = None if king is None else king.version
    return followed[0], measure_outcome_drift(followed[1], champion, windows, subject.config)


def _done(events: EncodedEvents, rows: pa.Table) -> pa.Table:
    """What the lake knows was done since anything was shown: not all comes by the service."""
    since = min(rows.column(AT_S).drop_null().to_pylist(), default=np.iinfo(np.int64).max)
    late = np.flatnonzero(events.occurred_s >= since)
    names = {c.USER_ID: events.user, c.ITEM_ID: events.item}
    told = {
        name: pa.array(of.names, pa.string()).take(pa.array(of.codes[late]))
        for name, of in names.items()
    }
    return pa.table({**told, AT_S: events.occurred_s[late]}, schema=ACTIONS)


def _last_logged(subject: MonitoredState) -> int:
    path = subject.workspace.interactions(subject.dataset)
    if not path.exists():
        return 0
    with closing(InteractionLog(path)) as log:
        return log.last()


def _notes(
    windows: Windows,
    columns: tuple[ColumnShares, ...],
    king: ChampionInfo | None,
    predicted: PredictionDrift,
    outcome: OutcomeSummary | None,
    config: MonitorConfig,
) -> tuple[str, ...]:
    """Checks that could not be evaluated, with the reason."""
    wanted = config.reference_windows + config.min_history + 1
    told = []
    if windows.n < wanted:
        told.append(
            f"not enough history: {windows.n} windows of {config.window_days} days, "
            f"{wanted} are required to detect drift"
        )
    if not columns:
        told.append(
            "data are not compared: no reference window, or too few events in one of the windows"
        )
    if king is None:
        told.append("predictions are not evaluated: there is no champion")
    elif not predicted.pit:
        told.append(
            f"predictions are not evaluated: fewer than {config.min_rows} events of the current "
            "window are later than the champion's training and have a history"
        )
    if outcome is None:
        told.append("the outcome is not evaluated: the service has logged no recommendations")
    elif not outcome.n_answers:
        told.append("the outcome is not evaluated: no recommendation is old enough yet")
    return tuple(told)
