import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from pydantic import ValidationError

from chronotope.contracts.errors import StoreError
from chronotope.report.page import render_report, write_report
from chronotope.report.report_data import (
    Estimate,
    GateSummary,
    ModelRow,
    ReportData,
    WhenCalibration,
)

ATTACK = '<script>alert("x")</script>'


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def _tags(html: str) -> _Tags:
    parser = _Tags()
    parser.feed(html)
    return parser


def test_every_tag_is_closed(full: ReportData) -> None:
    tags = _tags(render_report(full))
    assert tags.open == []
    assert tags.seen.count("section") == 11
    assert tags.seen.count("svg") == 6


def test_absent_parts_leave_no_section(bare: ReportData) -> None:
    tags = _tags(render_report(bare))
    assert tags.open == []
    assert "section" not in tags.seen


def test_numbers_shown(full: ReportData) -> None:
    html = render_report(full)
    for shown in (
        "0.512<small>0.501\N{EN DASH}0.523",
        "1,234",
        "77.3 %",
        '<td class="n">0.0004</td>',
        "1,250",
        "larger than &lt;int8&gt;",
        "int8 is the smallest",
        "61.2",
        "3.780",
        'spacetime</th><td class="n">41.7 %</td><td class="n">1.24</td><td class="n">2,000',
        '0.031<small>0.020\N{EN DASH}0.040</small></td><td class="n">used',
        '<th scope="row">moon&lt;</th>',
    ):
        assert shown in html


def test_only_the_champion_is_highlighted(full: ReportData) -> None:
    rows = re.findall(r'<tr class=win><th scope="row">(.*?)</th>', render_report(full))
    assert rows == ["spacetime ★ champion", "spacetime", "int8 ★ chosen", "Total"]


def test_texts_are_escaped(full: ReportData) -> None:
    champion = full.models[1].model_copy(update={"name": ATTACK})
    hostile = full.model_copy(
        update={
            "dataset": ATTACK,
            "protocol": ATTACK,
            "models": (champion,),
            "slices": (full.slices[0].model_copy(update={"name": ATTACK}),),
            "noise": {ATTACK: 1},
            "gate": GateSummary(promoted=False, reasons=(ATTACK,)),
        }
    )
    tags = _tags(render_report(hostile))
    assert "script" not in tags.seen
    assert tags.open == []


def test_nothing_is_loaded_from_elsewhere(full: ReportData) -> None:
    assert not re.search(r"https?:|src=|href=|url\(|@import", render_report(full))


def test_model_without_the_main_metric(bare: ReportData) -> None:
    only = bare.model_copy(update={"models": (ModelRow(name="ease", metrics={}),)})
    assert "svg role" not in render_report(only)


def test_write_replaces_whole_file(full: ReportData, tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.html"
    write_report(full, path)
    assert write_report(full, path) == path
    assert path.read_text(encoding="utf-8") == render_report(full)
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]


def test_unwritable_target_leaves_no_draft(full: ReportData, tmp_path: Path) -> None:
    (tmp_path / "report.html").mkdir()
    with pytest.raises(StoreError, match=r"report\.html"):
        write_report(full, tmp_path / "report.html")
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]


def test_partial_sections(full: ReportData) -> None:
    only_nll = full.model_copy(
        update={"when": WhenCalibration(nll=1.5), "ingestion": None, "map_points": ()}
    )
    html = render_report(only_nll)
    assert _tags(html).seen.count("svg") == 3
    assert "<b>1.500</b>" in html
    assert "Rows read" not in html
    assert "Accepted, then left out" in html


def test_hour_without_a_zone_is_refused(bare: ReportData) -> None:
    naive = bare.model_dump() | {"generated_at": "2024-05-01T12:30:00"}
    with pytest.raises(ValidationError, match="timezone"):
        ReportData.model_validate(naive)


def test_models_stand_best_first(full: ReportData) -> None:
    models = [
        ModelRow(name=name, metrics={full.main_metric: Estimate(value=value)})
        for name, value in (("low", 0.1), ("nothing", float("nan")), ("high", 0.3))
    ]
    html = render_report(full.model_copy(update={"models": tuple(models), "folds": ()}))
    assert html.index("high</th>") < html.index("low</th>") < html.index("nothing</th>")


def test_who_was_not_promoted_is_no_champion(full: ReportData) -> None:
    html = render_report(full.model_copy(update={"gate": GateSummary(promoted=False)}))
    assert "spacetime ★ challenger" in html
    assert "champion" not in html
