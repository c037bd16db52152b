"""Everything that is watched, for one version of data, champion and log; kept once."""

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
from chronotope.contracts import columns as c
from chronotope.contracts.data_version import DataVersion
from chronotope.contracts.errors import NotEnoughData
from chronotope.contracts.monitored import Check, ColumnShares, Monitored, Outcome, Overall
from chronotope.contracts.workspace import Workspace
from chronotope.features.snapshot import load_features
from chronotope.lake import InteractionLog, Lake
from chronotope.lake.shown import ACTIONS, AT_S, actions, shown
from chronotope.monitoring.asked import ask
from chronotope.monitoring.config import MonitorConfig
from chronotope.monitoring.data import data_drift
from chronotope.monitoring.events import Events, read_events
from chronotope.monitoring.learned import Measured, judged
from chronotope.monitoring.level import level_of
from chronotope.monitoring.outcome import outcome_drift, outcome_of
from chronotope.monitoring.predictions import Judged, prediction_drift
from chronotope.monitoring.windows import Windows
from chronotope.monitoring.words import reason
from chronotope.registry.models import download
from chronotope.registry.store import open_store
from chronotope.steps.champion import reigning_version
from chronotope.steps.reigning import Reigning, reigning
from chronotope.steps.translated import Translated

_DAY_S: Final = 86_400


@dataclass(frozen=True, slots=True)
class Subject:
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


def monitor(subject: Subject) -> Monitored:
    """Compare the newest window with what was usual: data, predictions, outcome.

    Args:
        subject: What is watched.

    Raises:
        NotEnoughData: The lake holds no events.
    """
    config = subject.config
    lake = Lake(subject.workspace.lake(subject.dataset))
    events = read_events(lake, subject.data_version.events)
    if not len(events):
        raise NotEnoughData("There are no events to watch", way_out="Ingest events first")
    windows, king = Windows.over(events.occurred_s, config), champion_of(subject)
    data, columns = data_drift(events, windows, config)
    predicted = _predictions(subject, king, windows)
    outcome, followed = _outcome(subject, events, king, windows)
    checks = judged([*data, *predicted.measured, *followed], config)
    start, end = windows.span(windows.n - 1)
    return Monitored(
        dataset=subject.dataset,
        data_version=str(subject.data_version),
        champion=None if king is None else king.version,
        champion_age_days=None if king is None else age_days(king, subject.now),
        is_old=is_old(king, subject.now, config),
        window_start=start,
        window_end=end,
        verdict=overall(checks),
        reasons=tuple(map(reason, filter(lambda check: check.verdict == "drift", checks))),
        checks=checks,
        columns=columns,
        windows=predicted.rows,
        pit=predicted.pit,
        outcome=outcome,
        notes=_notes(windows, columns, king, predicted, outcome, config),
    )


def key_of(subject: Subject) -> str:
    """Name of what is found: the same data, champion, log and settings are found once.

    A champion that becomes too old is another finding.

    Args:
        subject: What is watched.
    """
    king = champion_of(subject)
    told = [
        str(subject.data_version),
        subject.features.name,
        None if king is None else king.version,
        is_old(king, subject.now, subject.config),
        _last_logged(subject),
        subject.config.model_dump(mode="json", exclude={"force"}),
    ]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()[:16]


def champion_of(subject: Subject) -> Reigning | None:
    """The champion; where nothing was promoted, no store is made."""
    if reigning_version(subject.workspace.root, subject.dataset) is None:
        return None
    return reigning(open_store(subject.workspace.mlruns), subject.workspace, subject.dataset)


def age_days(king: Reigning, now: datetime) -> float:
    """Days since the promotion."""
    return (now - king.promoted_at).total_seconds() / _DAY_S


def is_old(king: Reigning | None, now: datetime, config: MonitorConfig) -> bool:
    """Whether the champion reigns longer than allowed."""
    return king is not None and age_days(king, now) > config.max_age_days


def overall(checks: tuple[Check, ...]) -> Overall:
    """One word for all checks."""
    verdicts = {check.verdict for check in checks}
    if "drift" in verdicts:
        return "drift"
    return "no drift" if "usual" in verdicts else "not enough history"


def _predictions(subject: Subject, king: Reigning | None, windows: Windows) -> Judged:
    if king is None:
        return Judged([], (), ())
    store = open_store(subject.workspace.mlruns)
    folder = download(store, subject.dataset, king.version)
    log, catalog = load_features(subject.features)
    champion = Translated(open_bundle(folder), read_vocabulary(folder), catalog)
    answered = ask(champion, log, catalog, windows, subject.config, after_s=king.trained_until_s)
    return prediction_drift(answered, level_of(king, store, subject.dataset), windows)


def _outcome(
    subject: Subject, events: Events, king: Reigning | None, windows: Windows
) -> tuple[Outcome | None, list[Measured]]:
    path = subject.workspace.interactions(subject.dataset)
    if not path.exists():
        return None, []
    with closing(InteractionLog(path)) as log:
        rows, done = shown(log), actions(log)
    followed = outcome_of(rows, pa.concat_tables([done, _done(events, rows)]), subject.config)
    if followed is None:
        return None, []
    champion = None if king is None else king.version
    return followed[0], outcome_drift(followed[1], champion, windows, subject.config)


def _done(events: Events, rows: pa.Table) -> pa.Table:
    """What the lake knows was done since anything was shown: not all comes by the service."""
    since = min(rows.column(AT_S).drop_null().to_pylist(), default=np.iinfo(np.int64).max)
    late = np.flatnonzero(events.occurred_s >= since)
    names = {c.USER_ID: events.user, c.ITEM_ID: events.item}
    told = {
        name: pa.array(of.names, pa.string()).take(pa.array(of.codes[late]))
        for name, of in names.items()
    }
    return pa.table({**told, AT_S: events.occurred_s[late]}, schema=ACTIONS)


def _last_logged(subject: Subject) -> int:
    path = subject.workspace.interactions(subject.dataset)
    if not path.exists():
        return 0
    with closing(InteractionLog(path)) as log:
        return log.last()


def _notes(
    windows: Windows,
    columns: tuple[ColumnShares, ...],
    king: Reigning | None,
    predicted: Judged,
    outcome: Outcome | None,
    config: MonitorConfig,
) -> tuple[str, ...]:
    """What could not be judged, and why."""
    wanted = config.reference_windows + config.min_history + 1
    told = []
    if windows.n < wanted:
        told.append(
            f"not enough history: {windows.n} windows of {config.window_days} days, "
            f"{wanted} are wanted to tell drift from the usual"
        )
    if not columns:
        told.append("data are not compared: no reference, or too few events in either window")
    if king is None:
        told.append("predictions are not judged: there is no champion")
    elif not predicted.pit:
        told.append(
            f"predictions are not judged: fewer than {config.min_rows} events of the current "
            "window are later than the champion's training and have a past"
        )
    if outcome is None:
        told.append("the outcome is not judged: the service has logged no answers")
    elif not outcome.n_answers:
        told.append("the outcome is not judged: no answer is old enough yet")
    return tuple(told)
