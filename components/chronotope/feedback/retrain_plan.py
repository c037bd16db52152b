"""Retraining plan: new events since the last training, and the decision whether to retrain."""

import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.contracts.data_version import EVENTS, TableVersion
from chronotope.contracts.errors import NotEnoughData
from chronotope.contracts.event_log import EventLog
from chronotope.features.snapshot import load_features
from chronotope.feedback.config import FeedbackConfig
from chronotope.feedback.intake import watermark_path
from chronotope.feedback.population_shift import SHIFT_COLUMNS, PopulationShift, measure_shift
from chronotope.feedback.retrain_policy import ChampionState, decide_retraining
from chronotope.feedback.retrain_results import RetrainPlan
from chronotope.feedback.watermark import Watermark, read_watermark, write_watermark
from chronotope.lake import Lake
from chronotope.pipelines.results import RetrainingInputs
from chronotope.pipelines.retrain import cold_start_reason, later_folds, n_new_training_events
from chronotope.pipelines.run_dir import read_settings, training_run_dir
from chronotope.pipelines.settings import TrainSettings
from chronotope.registry.champion_info import ChampionInfo, champion_info
from chronotope.registry.mlflow_store import open_store
from chronotope.runtime.workspace import Workspace

_DAY_S = 86_400

_CLOCK_TOLERANCE = timedelta(days=1)
"""A time further in the future than this was written by a wrong clock."""


def plan_retraining(
    dataset: str,
    features: Path,
    version: TableVersion,
    workspace: Workspace,
    config: FeedbackConfig,
) -> RetrainPlan:
    """Decide whether and how to retrain, or return the plan of an interrupted retraining.

    An interrupted retraining is abandoned if another champion was promoted meanwhile, since its
    holdout may overlap that champion's training, or if the lake was replaced, since its snapshot
    holds other events.

    Args:
        dataset: Name of the dataset.
        features: Folder of the feature snapshot of the version.
        version: Version of the events that a retraining would use.
        workspace: Workspace of the dataset.
        config: Thresholds of the policy.
    """
    watermark = read_watermark(watermark_path(workspace, dataset))
    champion = champion_info(open_store(workspace.mlruns), workspace, dataset)
    event_lake = Lake(workspace.lake(dataset))
    pending_plan = watermark.retraining
    if pending_plan is not None:
        if _continues_champion(pending_plan, champion) and _is_in_lake(pending_plan, event_lake):
            return pending_plan
        record_retraining_failure(dataset, workspace)
    learned_version = _learned_version(champion, watermark, event_lake)
    population_shift = _measure_new_events(event_lake, learned_version, version, config)
    champion_state = _champion_state(champion, watermark, features, workspace)
    retrain_decision = decide_retraining(population_shift, champion_state, config)
    retraining_inputs = None
    if champion is not None and retrain_decision.action == "retrain":
        retraining_inputs = _retraining_inputs(champion, features, retrain_decision.mode, workspace)
    return RetrainPlan(
        action=retrain_decision.action,
        mode=retrain_decision.mode,
        reasons=(*retrain_decision.reasons, *_replaced_lake_notes(champion, learned_version)),
        shift=population_shift,
        champion=None if champion is None else champion.version,
        learned_version=learned_version,
        version=version,
        inputs=retraining_inputs,
    )


def record_retraining_start(dataset: str, plan: RetrainPlan, workspace: Workspace) -> None:
    """Record that a retraining has started, so that it is resumed after an interruption."""
    _update_watermark(dataset, workspace, retraining=plan)


def record_retraining_failure(dataset: str, workspace: Workspace) -> None:
    """Record that a retraining failed; its events stay new for the next decision."""
    _update_watermark(dataset, workspace, retraining=None)


def record_retraining_end(dataset: str, version: TableVersion, workspace: Workspace) -> None:
    """Record that a retraining on a version of the events has ended, promoted or not.

    These events do not trigger another retraining. The champion's ``trained_until_s`` tells which
    of them it was trained on.
    """
    current_time = datetime.now(UTC)
    _update_watermark(
        dataset, workspace, retraining=None, learned_version=version, learned_at=current_time
    )


def _update_watermark(dataset: str, workspace: Workspace, **field_values: Any) -> None:
    mark_path = watermark_path(workspace, dataset)
    write_watermark(mark_path, read_watermark(mark_path).model_copy(update=field_values))


def _continues_champion(plan: RetrainPlan, champion: ChampionInfo | None) -> bool:
    """Whether the plan's champion is still the champion, or the plan's run was promoted."""
    if champion is None:
        return False
    if champion.version == plan.champion:
        return True
    return plan.inputs is not None and champion.run.name == plan.inputs.run_dir.name


def _is_in_lake(plan: RetrainPlan, event_lake: Lake) -> bool:
    return plan.version is not None and event_lake.holds(EVENTS, plan.version)


def _replaced_lake_notes(
    champion: ChampionInfo | None, learned_version: TableVersion | None
) -> list[str]:
    """A note if the champion's events are not in the lake's history."""
    if champion is None or champion.learned_version is None or learned_version is not None:
        return []
    return [
        f"the lake does not have version {champion.learned_version} of the events, which the "
        "champion was trained on: every event counts as new"
    ]


def _retraining_inputs(
    champion: ChampionInfo, features: Path, retrain_mode: str, workspace: Workspace
) -> RetrainingInputs:
    train_settings = read_settings(champion.run, workspace.root)
    run_purpose = f"{retrain_mode}, after version {champion.version}"
    run_dir = training_run_dir(
        features, champion.run.parent.name, train_settings, purpose=run_purpose
    )
    return RetrainingInputs(
        features=features,
        run_dir=run_dir,
        champion_run_dir=champion.run,
        champion_features=champion.features,
        champion_trained_until_s=champion.trained_until_s,
    )


def _learned_version(
    champion: ChampionInfo | None, watermark: Watermark, event_lake: Lake
) -> TableVersion | None:
    """Latest version of the events in the lake's history that a training has used."""
    version_candidates = (
        watermark.learned_version,
        None if champion is None else champion.learned_version,
    )
    in_lake = (
        version
        for version in version_candidates
        if version is not None and event_lake.holds(EVENTS, version)
    )
    return max(in_lake, key=lambda version: version.number, default=None)


def _measure_new_events(
    event_lake: Lake,
    learned_version: TableVersion | None,
    version: TableVersion,
    config: FeedbackConfig,
) -> PopulationShift:
    event_table = event_lake.read("events", version=version, columns=SHIFT_COLUMNS)
    is_new = np.ones(len(event_table), dtype=np.bool_)
    if learned_version is not None:
        old_version = min(learned_version, version, key=lambda candidate: candidate.number)
        old_ids = event_lake.read("events", version=old_version, columns=[c.EVENT_ID]).column(0)
        is_old = pc.is_in(event_table.column(c.EVENT_ID), value_set=old_ids.combine_chunks())
        is_new = ~is_old.combine_chunks().to_numpy(zero_copy_only=False)
    return measure_shift(event_table, is_new, min_compared_rows=config.min_compared_rows)


def _champion_state(
    champion: ChampionInfo | None, watermark: Watermark, features: Path, workspace: Workspace
) -> ChampionState:
    if champion is None:
        return ChampionState(
            version=None,
            age_days=0.0,
            has_holdout=False,
            n_new_events=0,
            can_warm_start=False,
            cold_start_reason="no champion",
        )
    log, item_catalog = load_features(features)
    train_settings = read_settings(champion.run, workspace.root)
    n_new_events = _count_training_events(log, train_settings, champion.trained_until_s)
    blocking_reason = cold_start_reason(item_catalog, champion.features, champion.run / "model.pt")
    return ChampionState(
        version=champion.version,
        age_days=_age_days(
            champion.promoted_at, watermark.learned_at, current_time=datetime.now(UTC)
        ),
        has_holdout=n_new_events is not None,
        n_new_events=n_new_events or 0,
        can_warm_start=not blocking_reason,
        cold_start_reason=blocking_reason,
    )


def _age_days(*trained_at: datetime | None, current_time: datetime) -> float:
    """Days since the latest of the given times; infinite if all are in the future.

    Times in the future are ignored: written by a clock that is a year ahead, they would delay
    the next retraining by a year.
    """
    past_times = [
        training_time
        for training_time in trained_at
        if training_time is not None and training_time <= current_time + _CLOCK_TOLERANCE
    ]
    if not past_times:
        return math.inf
    return max(0.0, (current_time - max(past_times)).total_seconds() / _DAY_S)


def _count_training_events(
    log: EventLog, train_settings: TrainSettings, after_s: int
) -> int | None:
    """Number of new training events; None if too few later events are left for a holdout."""
    try:
        later_split = later_folds(log, train_settings, after_s)
    except NotEnoughData:
        return None
    return n_new_training_events(log, later_split, after_s)
