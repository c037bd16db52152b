"""Weigh what no retraining has weighed yet against the champion that reigns."""

import math
from dataclasses import asdict
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
from chronotope.feedback.population_shift import COLUMNS, PopulationShift, measure_shift
from chronotope.feedback.retrain_policy import ChampionState, decide_retraining
from chronotope.feedback.watermark import Watermark, read_watermark, write_watermark
from chronotope.lake import Lake
from chronotope.pipelines.retrain import cold_start_reason, later_folds, n_new_training_events
from chronotope.pipelines.run_dir import read_settings, training_run_dir
from chronotope.pipelines.settings import TrainSettings
from chronotope.registry.champion_info import ChampionInfo, champion_info
from chronotope.registry.mlflow_store import open_store
from chronotope.runtime.workspace import Workspace

_DAY_S = 86_400

_CLOCK_TOLERANCE = timedelta(days=1)
"""What is dated later than this from now was dated by a clock that was wrong."""


def plan_retraining(
    dataset: str,
    features: Path,
    version: TableVersion,
    workspace: Workspace,
    config: FeedbackConfig,
) -> dict[str, Any]:
    """Decide whether and how to retrain; a retraining that was cut off comes first.

    It is dropped if somebody else has become champion since: its holdout is not later than
    that one's training, and its network is another's. It is also dropped if the lake was
    replaced: its snapshot is of other events.

    Args:
        dataset: Name of the dataset.
        features: Snapshot of the version.
        version: Version of the events that a retraining would see.
        workspace: Its folders.
        config: Bounds.

    Returns:
        ``action``, ``mode``, ``reasons``; ``shift``: what was measured; ``champion``,
        ``learned_version`` (None without), ``version`` as texts, and ``plan``: what a retraining
        starts from (``features``, ``run``, ``champion_run``, ``champion_features``,
        ``after_s``). JSON-able.
    """
    mark = read_watermark(watermark_path(workspace, dataset))
    king = champion_info(open_store(workspace.mlruns), workspace, dataset)
    lake = Lake(workspace.lake(dataset))
    if mark.retraining is not None:
        if _still_succeeds(mark.retraining, king) and _is_over(mark.retraining, lake):
            return mark.retraining
        record_retraining_failure(dataset, workspace)
    learned = _learned(king, mark, lake)
    shift = _shift(lake, learned, version, config)
    decision = decide_retraining(shift, _standing(king, mark, features, workspace), config)
    retrains = king is not None and decision.action == "retrain"
    return {
        **asdict(decision),
        "reasons": [*decision.reasons, *_another_lake(king, learned)],
        "shift": asdict(shift),
        "champion": None if king is None else king.version,
        "learned_version": None if learned is None else str(learned),
        "version": str(version),
        "plan": _plan(king, features, decision.mode, workspace) if king and retrains else {},
    }


def _still_succeeds(begun: dict[str, Any], king: ChampionInfo | None) -> bool:
    """Whether the champion is still the one to be succeeded, or is already the successor."""
    if king is None:
        return False
    return king.version == begun["champion"] or king.run.name == Path(begun["plan"]["run"]).name


def _is_over(begun: dict[str, Any], lake: Lake) -> bool:
    """Whether a retraining's events are in the lake as they were."""
    return lake.holds(EVENTS, TableVersion.parse(begun["version"]))


def _another_lake(king: ChampionInfo | None, learned: TableVersion | None) -> list[str]:
    """A note if the champion's events are not in the lake's history."""
    if king is None or king.learned_version is None or learned is not None:
        return []
    return [
        f"the lake does not hold version {king.learned_version} of the events, which the champion "
        "was trained on: every event counts as new"
    ]


def record_retraining_start(dataset: str, decision: dict[str, Any], workspace: Workspace) -> None:
    """Note that a retraining begins, so that it is finished whatever happens."""
    _mark(dataset, workspace, retraining=decision)


def record_retraining_failure(dataset: str, workspace: Workspace) -> None:
    """Note that a retraining failed; what is new stays new and is weighed again."""
    _mark(dataset, workspace, retraining=None)


def record_retraining_end(dataset: str, version: TableVersion, workspace: Workspace) -> None:
    """Note that a retraining on a version of the events has finished, however it ended.

    They start no other. What of them was trained on, the champion's ``trained_until_s`` tells.
    """
    now = datetime.now(UTC)
    _mark(dataset, workspace, retraining=None, learned_version=version, learned_at=now)


def _mark(dataset: str, workspace: Workspace, **told: Any) -> None:
    path = watermark_path(workspace, dataset)
    write_watermark(path, read_watermark(path).model_copy(update=told))


def _plan(king: ChampionInfo, features: Path, mode: str, workspace: Workspace) -> dict[str, Any]:
    settings = read_settings(king.run, workspace.root)
    purpose = f"{mode}, after version {king.version}"
    run = training_run_dir(features, king.run.parent.name, settings, purpose=purpose)
    return {
        "features": str(features),
        "run": str(run),
        "champion_run": str(king.run),
        "champion_features": str(king.features),
        "after_s": king.trained_until_s,
    }


def _learned(king: ChampionInfo | None, mark: Watermark, lake: Lake) -> TableVersion | None:
    """Latest version that a training has seen, of those in the lake's history."""
    candidates = (mark.learned_version, None if king is None else king.learned_version)
    held = (each for each in candidates if each is not None and lake.holds(EVENTS, each))
    return max(held, key=lambda each: each.number, default=None)


def _shift(
    lake: Lake, learned: TableVersion | None, version: TableVersion, config: FeedbackConfig
) -> PopulationShift:
    rows = lake.read("events", version=version, columns=COLUMNS)
    is_new = np.ones(len(rows), dtype=np.bool_)
    if learned is not None:
        earlier = min(learned, version, key=lambda each: each.number)
        known = lake.read("events", version=earlier, columns=[c.EVENT_ID]).column(0)
        found = pc.is_in(rows.column(c.EVENT_ID), value_set=known.combine_chunks())
        is_new = ~found.combine_chunks().to_numpy(zero_copy_only=False)
    return measure_shift(rows, is_new, compared_rows=config.compared_rows)


def _standing(
    king: ChampionInfo | None, mark: Watermark, features: Path, workspace: Workspace
) -> ChampionState:
    if king is None:
        return ChampionState(
            champion=None,
            age_days=0.0,
            can_judge=False,
            n_teaching=0,
            can_warm=False,
            why_full="no champion",
        )
    log, catalog = load_features(features)
    teaching = _teaching(log, read_settings(king.run, workspace.root), king.trained_until_s)
    why = cold_start_reason(catalog, king.features, king.run / "model.pt")
    return ChampionState(
        champion=king.version,
        age_days=_age_days(king.promoted_at, mark.learned_at, now=datetime.now(UTC)),
        can_judge=teaching is not None,
        n_teaching=teaching or 0,
        can_warm=not why,
        why_full=why,
    )


def _age_days(*trained_at: datetime | None, now: datetime) -> float:
    """Days since the latest of some moments; infinite if all of them lie in the future.

    A clock that was a year ahead would otherwise put off the next retraining by that year.
    """
    past = [at for at in trained_at if at is not None and at <= now + _CLOCK_TOLERANCE]
    return max(0.0, (now - max(past)).total_seconds() / _DAY_S) if past else math.inf


def _teaching(log: EventLog, settings: TrainSettings, after_s: int) -> int | None:
    """Events that a retraining adds; None if nothing later is left to judge on."""
    try:
        folds = later_folds(log, settings, after_s)
    except NotEnoughData:
        return None
    return n_new_training_events(log, folds, after_s)
