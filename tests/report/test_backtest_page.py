"""The page of a replay shows what was measured, and what was no test."""

from datetime import UTC, datetime
from typing import Any

from chronotope.report.backtest_page import APART, COUNTS, SHOWN, BacktestData, render_backtest
from chronotope.report.line_chart import Line, metric_lines

AT = datetime(2024, 5, 1, tzinfo=UTC)


def row(day: int, *, seen: bool = False, **more: Any) -> dict[str, Any]:
    values = dict.fromkeys((*SHOWN, *APART), 0.25) | dict.fromkeys(COUNTS, 7)
    return {"from": f"2024-05-{day:02d} 00:00", "seen": seen, **values, **more}


def page(rows: list[dict[str, Any]]) -> str:
    overall: dict[str, float | None] = dict.fromkeys((*SHOWN, *APART), 0.5)
    return render_backtest(
        BacktestData("<b>", ["version 3"], rows, overall | {"n_targets": 21.0}, AT)
    )


def test_the_page_stands_alone_and_escapes_its_words() -> None:
    html = page([row(1), row(2)])
    assert "&lt;b&gt;, replayed" in html
    assert "<b>" not in html
    assert not any(word in html for word in ("<script", "http://", "https://", "src="))
    assert html.count("<polyline") == len(SHOWN) + len(APART)


def test_what_was_seen_in_training_is_hollow_and_said() -> None:
    html = page([row(1, seen=True), row(2)])
    assert "1 of 2 chunks begin before the end" in html
    assert "2024-05-01 00:00 (seen in training)" in html
    assert html.count('fill:var(--card)"><title>') == len(SHOWN) + len(APART)
    assert "are drawn hollow" not in page([row(1)])


def test_a_chunk_without_targets_leaves_a_gap() -> None:
    html = page([row(1), row(2, acc_1=None), row(3)])
    assert html.count("<circle") == 3 * (len(SHOWN) + len(APART)) - 1
    assert "nan" not in html.lower()


def test_lines_end_inside_the_drawing_however_many_steps() -> None:
    for n in (1, 2, 300):
        svg = metric_lines([Line("a", [0.0, *[1.0] * (n - 1)])], ["x"] * n, [False] * n, "t")
        xs = [float(word.split('"')[0]) for word in svg.split('cx="')[1:]]
        assert len(xs) == n
        assert min(xs) > 0
        assert max(xs) < 960
    assert metric_lines([Line("a", [None])], ["x"], [False], "t").count("<circle") == 0
