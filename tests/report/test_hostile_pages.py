"""Hostile texts on pages in a real browser: no script runs, and they are read as they are."""

from pathlib import Path

import pytest

from chronotope.contracts.drift_report import BinShares, ColumnShares
from chronotope.contracts.escaping import visible_text
from chronotope.report.drift_page import render_drift
from chronotope.report.page import write_page, write_report
from chronotope.report.report_data import CardText, GateSummary, ReportData
from chronotope.validation import build_docs
from tests.report.test_drift_page import found
from tests.serving.browser import chromium
from tests.validation.test_suite import NOW, SUITES, rows

pytestmark = pytest.mark.slow

HOSTILE = (
    '<img src=x onerror="window.taken=1">',
    '"><script>window.taken=1</script>',
    "</title></style><svg onload=window.taken=1>",
    "[x](javascript:window.taken=1)",
    "${7*7} {{7*7}}",
    "\u202ereversed",
    "A" * 10_000,
)


def hostile_report(full: ReportData, text: str) -> ReportData:
    row, sliced = full.models[1], full.slices[0]
    return full.model_copy(
        update={
            "dataset": text,
            "protocol": text,
            "models": (row.model_copy(update={"name": text}),),
            "slices": (sliced.model_copy(update={"name": text}),),
            "noise": {text: 1},
            "gate": GateSummary(promoted=False, reasons=(text,)),
            "card": CardText(training_data=text, limits=text),
        }
    )


def hostile_drift(text: str) -> str:
    bins = tuple(BinShares(label=f"{n}{text}", reference=0.5, current=0.5) for n in range(2))
    columns = (ColumnShares(name=text, bins=bins),)
    return render_drift(found(dataset=text, reasons=(text,), notes=(text,), columns=columns))


def test_no_page_runs_what_a_dataset_holds(full: ReportData, tmp_path: Path) -> None:
    event = dict.fromkeys(("user_id", "item_id", "event_type", "place_id"), HOSTILE[0])
    docs = build_docs(
        SUITES / "events.json", rows(event, {"lat": 999.0}), tmp_path / "d", checked_at=NOW
    )
    with chromium() as browser:
        for text in HOSTILE:
            report = write_report(hostile_report(full, text), tmp_path / "report.html")
            drift = write_page(hostile_drift(text), tmp_path / "drift.html")
            for page in (report, drift):
                browser.get(page.as_uri())
                shown = browser.find_element("tag name", "body").text
                assert visible_text(text) in shown
                assert browser.title.endswith(visible_text(text))
                assert browser.execute_script("return window.taken") is None
                assert not browser.find_elements("css selector", "script, img, svg[onload], a")
        for path in docs.parent.rglob("*.html"):
            assert "window.taken" not in path.read_text("utf-8")  # of texts, lengths alone
