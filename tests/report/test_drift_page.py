"""The page of the monitoring: everything found is on it, escaped, and nothing else is needed."""

from datetime import UTC, datetime

import pytest

from chronotope.contracts.drift_report import (
    AnswerRow,
    BinShares,
    ColumnShares,
    DriftCheck,
    DriftReport,
    OutcomeSummary,
    PositionRow,
    WindowRow,
)
from chronotope.report.drift_page import render_drift
from tests.report.test_page import ATTACK, _tags

START, END = datetime(2024, 5, 1, tzinfo=UTC), datetime(2024, 5, 8, tzinfo=UTC)


def found(**more: object) -> DriftReport:
    told = {
        "dataset": "nyc", "data_version": "events@7", "champion": None, "champion_age_days": None,
        "is_old": False, "window_start": START, "window_end": END, "verdict": "no drift",
        "reasons": (), "checks": (),
    }  # fmt: skip
    return DriftReport.model_validate(told | more)


@pytest.fixture
def full() -> DriftReport:
    bins = tuple(BinShares(label=f"{n:02d} h", reference=1 / 24, current=1 / 24) for n in range(24))
    check = {"part": "data", "name": ATTACK, "statistic": "js", "value": 0.31, "low": 0.2}
    row = WindowRow(start=START, end=END, n_targets=9, metrics={"ndcg_10": 0.5, "entropy": 2.0})
    outcome = OutcomeSummary(
        n_answers=40, n_open=2, n_nameless=3, explored=0.25, gini=0.5,
        days=(AnswerRow(day="2024-05-02", version="3", n_answers=40, hit_rate=0.2),),
        positions=(PositionRow(position=1, n_shown=40, hit_rate=0.2, weighted=0.125),),
    )  # fmt: skip
    drifted = DriftCheck(
        **check, high=0.4, usual=0.01, threshold=0.05, n_history=9, verdict="drift"
    )
    return found(
        champion="3", champion_age_days=40.0, is_old=True, verdict="drift",
        reasons=(f"data: {ATTACK}",), checks=(drifted,),
        columns=(ColumnShares(name="hour of day", bins=bins),),
        windows=(row, row), pit=(0.1,) * 10, outcome=outcome, notes=("no places",),
    )  # fmt: skip


def test_everything_found_is_on_it(full: DriftReport) -> None:
    page = render_drift(full)
    for words in (
        "drift of nyc", "events@7", "champion 3", "40.0 days", "no places", "0.310",
        "0.200\u20130.400",
        "Predictions over time", "NDCG@10", "40 answers evaluated", "12.5 %", "2024-05-02",
    ):  # fmt: skip
        assert words in page, words
    assert page.count("<svg") == 4  # a column, two metrics, the histogram


def test_it_is_whole_escaped_and_needs_nothing_else(full: DriftReport) -> None:
    page = render_drift(full)
    tags = _tags(page)
    assert tags.open == []
    assert "script" not in tags.seen
    assert not {"link", "img", "iframe"} & set(tags.seen)
    assert "&lt;script&gt;" in page


def test_what_is_absent_is_left_out() -> None:
    page = render_drift(found())
    assert page.count("<section>") == 1
    assert "no champion" in page
    assert "<ul>" not in page
