"""Drift report for a data version, the champion and the interaction log."""

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
from chronotope.runtime.state import state_exists
from chronotope.runtime.workspace import Workspace

_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class MonitoredState:
    """Inputs of drift monitoring.

    Attributes:
        dataset: Name of the dataset.
        workspace: Folders of the dataset's lake, models and reports.
        features: Folder of the feature snapshot on which the champion predicts.
        data_version: Versions of the lake's tables.
        config: Settings of the comparison.
        now: Time of the report, from which the champion's age is computed.
    """

    dataset: str
    workspace: Workspace
    features: Path
    data_version: DataVersion
    config: MonitorConfig
    now: datetime


def monitor(monitored_state: MonitoredState) -> DriftReport:
    """Check data, predictions and outcomes of the current window for drift.

    Args:
        monitored_state: Data, champion and settings.

    Raises:
        NotEnoughData: The lake holds no events.
    """
    monitor_config = monitored_state.config
    event_lake = Lake(monitored_state.workspace.lake(monitored_state.dataset))
    encoded_events = read_encoded_events(event_lake, monitored_state.data_version.events)
    if not len(encoded_events):
        raise NotEnoughData("There are no events to monitor", way_out="Ingest events first")
    time_windows, champion = (
        Windows.over(encoded_events.occurred_s, monitor_config),
        find_champion(monitored_state),
    )
    data_statistics, column_shares = measure_data_drift(
        encoded_events, time_windows, monitor_config
    )
    prediction_drift = _prediction_drift(monitored_state, champion, time_windows)
    outcome_summary, outcome_statistics = _outcome_drift(
        monitored_state, encoded_events, champion, time_windows
    )
    drift_checks = check_statistics(
        [*data_statistics, *prediction_drift.measured, *outcome_statistics], monitor_config
    )
    window_start, window_end = time_windows.span(time_windows.n - 1)
    return DriftReport(
        dataset=monitored_state.dataset,
        data_version=str(monitored_state.data_version),
        champion=None if champion is None else champion.version,
        champion_age_days=None if champion is None else age_days(champion, monitored_state.now),
        is_old=is_champion_stale(champion, monitored_state.now, monitor_config),
        window_start=window_start,
        window_end=window_end,
        verdict=overall_status(drift_checks),
        reasons=tuple(
            map(
                drift_reason,
                filter(lambda drift_check: drift_check.verdict == "drift", drift_checks),
            )
        ),
        checks=drift_checks,
        columns=column_shares,
        windows=prediction_drift.rows,
        pit=prediction_drift.pit,
        interval_levels=prediction_drift.interval_levels,
        outcome=outcome_summary,
        notes=_notes(
            time_windows, column_shares, champion, prediction_drift, outcome_summary, monitor_config
        ),
    )


def report_key(monitored_state: MonitoredState) -> str:
    """Identifier of a report: a digest of data, champion, interaction log and settings.

    It changes when the champion becomes stale, since the report says so.

    Args:
        monitored_state: Data, champion and settings.
    """
    champion = find_champion(monitored_state)
    key_parts = [
        str(monitored_state.data_version),
        monitored_state.features.name,
        None if champion is None else champion.version,
        is_champion_stale(champion, monitored_state.now, monitored_state.config),
        _last_logged(monitored_state),
        monitored_state.config.model_dump(mode="json", exclude={"force"}),
    ]
    return hashlib.sha256(json.dumps(key_parts).encode()).hexdigest()[:16]


def find_champion(monitored_state: MonitoredState) -> ChampionInfo | None:
    """The champion; None, without creating a model store, if nothing was ever promoted."""
    if journal_champion_version(monitored_state.workspace.root, monitored_state.dataset) is None:
        return None
    return champion_info(
        open_store(monitored_state.workspace.mlruns),
        monitored_state.workspace,
        monitored_state.dataset,
    )


def age_days(champion: ChampionInfo, current_time: datetime) -> float:
    """Days since the promotion of the champion."""
    return (current_time - champion.promoted_at).total_seconds() / _DAY_S


def is_champion_stale(
    champion: ChampionInfo | None, current_time: datetime, monitor_config: MonitorConfig
) -> bool:
    """Whether the champion is older than the configured maximum."""
    return champion is not None and age_days(champion, current_time) > monitor_config.max_age_days


def overall_status(drift_checks: tuple[DriftCheck, ...]) -> OverallStatus:
    """Summary of all checks: drift if there is one in any of them."""
    check_verdicts = {drift_check.verdict for drift_check in drift_checks}
    if "drift" in check_verdicts:
        return "drift"
    return "no drift" if "usual" in check_verdicts else "not enough history"


def _prediction_drift(
    monitored_state: MonitoredState, champion: ChampionInfo | None, time_windows: Windows
) -> PredictionDrift:
    if champion is None:
        return PredictionDrift([], (), ())
    mlflow_store = open_store(monitored_state.workspace.mlruns)
    version_folder = download_version(mlflow_store, monitored_state.dataset, champion.version)
    event_log, item_catalog = load_features(monitored_state.features)
    bundled_champion = RemappedRecommender(
        open_bundle(version_folder), read_vocabulary(version_folder), item_catalog
    )
    replayed = replay_predictions(
        bundled_champion,
        event_log,
        item_catalog,
        time_windows,
        monitored_state.config,
        after_s=champion.trained_until_s,
    )
    return measure_prediction_drift(
        replayed, promotion_baseline(champion, mlflow_store, monitored_state.dataset), time_windows
    )


def _outcome_drift(
    monitored_state: MonitoredState,
    encoded_events: EncodedEvents,
    champion: ChampionInfo | None,
    time_windows: Windows,
) -> tuple[OutcomeSummary | None, list[DriftStatistic]]:
    log_path = monitored_state.workspace.interactions(monitored_state.dataset)
    if not state_exists(log_path):
        return None, []
    with closing(InteractionLog(log_path)) as event_log:
        impression_rows, action_rows = impression_table(event_log), action_table(event_log)
    outcome = summarise_outcome(
        impression_rows,
        pa.concat_tables([action_rows, _lake_actions(encoded_events, impression_rows)]),
        monitored_state.config,
    )
    if outcome is None:
        return None, []
    outcome_summary, shown_answers = outcome
    champion_version = None if champion is None else champion.version
    return outcome_summary, measure_outcome_drift(
        shown_answers, champion_version, time_windows, monitored_state.config
    )


def _lake_actions(encoded_events: EncodedEvents, impression_rows: pa.Table) -> pa.Table:
    """Events of the lake since the first impression, in the schema ``ACTIONS``.

    They include interactions that were not posted to the service.
    """
    first_shown_s = min(
        impression_rows.column(AT_S).drop_null().to_pylist(), default=np.iinfo(np.int64).max
    )
    later_positions = np.flatnonzero(encoded_events.occurred_s >= first_shown_s)
    columns_by_name = {c.USER_ID: encoded_events.user, c.ITEM_ID: encoded_events.item}
    id_columns = {
        column_name: pa.array(encoded_column.names, pa.string()).take(
            pa.array(encoded_column.codes[later_positions])
        )
        for column_name, encoded_column in columns_by_name.items()
    }
    return pa.table(
        {**id_columns, AT_S: encoded_events.occurred_s[later_positions]}, schema=ACTIONS
    )


def _last_logged(monitored_state: MonitoredState) -> int:
    log_path = monitored_state.workspace.interactions(monitored_state.dataset)
    if not state_exists(log_path):
        return 0
    with closing(InteractionLog(log_path)) as event_log:
        return event_log.last()


def _notes(
    time_windows: Windows,
    column_shares: tuple[ColumnShares, ...],
    champion: ChampionInfo | None,
    prediction_drift: PredictionDrift,
    outcome_summary: OutcomeSummary | None,
    monitor_config: MonitorConfig,
) -> tuple[str, ...]:
    """Checks that could not be evaluated, with the reason."""
    n_wanted_windows = monitor_config.reference_windows + monitor_config.min_history + 1
    notes = []
    if time_windows.n < n_wanted_windows:
        notes.append(
            f"not enough history: {time_windows.n} windows of {monitor_config.window_days} days, "
            f"{n_wanted_windows} are required to detect drift"
        )
    if not column_shares:
        notes.append(
            "data are not compared: no reference window, or too few events in one of the windows"
        )
    if champion is None:
        notes.append("predictions are not evaluated: there is no champion")
    elif not prediction_drift.pit:
        notes.append(
            f"predictions are not evaluated: fewer than {monitor_config.min_rows} events of the "
            "current window are later than the champion's training and have a history"
        )
    if outcome_summary is None:
        notes.append("the outcome is not evaluated: the service has logged no recommendations")
    elif not outcome_summary.n_answers:
        notes.append("the outcome is not evaluated: no recommendation is old enough yet")
    return tuple(notes)
