"""The plot of the front: cheap to the left, accurate above, the chosen one marked."""

import re

from chronotope.report.pareto_chart import cost_charts, pareto_chart
from chronotope.report.report_data import CandidateRow, ReportData


def row(name: str, size_mb: float, ndcg: float | None, **more: bool) -> CandidateRow:
    return CandidateRow(name=name, size_mb=size_mb, p50_ms=1.0, ndcg=ndcg, **more)


ROWS = (
    row("float32", 10.0, 0.50),
    row("worse", 9.0, 0.40),
    row("int8<", 1.0, 0.49, chosen=True),
    row("tiny", 0.1, 0.30),
    row("later", 5.0, None),
)


def drawn(most: float | None = None) -> str:
    return pareto_chart(ROWS, lambda each: each.size_mb, "MB", "t", most)


def test_dots_lie_where_cost_and_accuracy_say() -> None:
    circles = re.findall(
        r'class="(\w+)" cx="([\d.]+)" cy="([\d.]+)" r="(\d)"><title>(.*?):', drawn()
    )
    at = {name: (float(x), float(y)) for _, x, y, _, name in circles}
    assert set(at) == {"float32", "worse", "int8&lt;", "tiny"}
    assert at["tiny"][0] < at["int8&lt;"][0] < at["worse"][0] < at["float32"][0]
    assert at["float32"][1] < at["int8&lt;"][1] < at["worse"][1] < at["tiny"][1]
    decade = at["int8&lt;"][0] - at["tiny"][0]
    assert abs(at["float32"][0] - at["int8&lt;"][0] - decade) < 0.2
    assert [(name, radius) for kind, _, _, radius, name in circles if kind == "dot"] == [
        ("int8&lt;", "7")
    ]


def test_the_line_joins_the_front_alone() -> None:
    corners = re.findall(r'points="(.*?)"', drawn())[0].split()
    assert len(corners) == 3  # tiny, int8, float32


def test_a_bound_is_drawn_where_it_can_be_seen() -> None:
    assert 'class="ideal"' in drawn(2.0)
    assert 'class="ideal"' not in drawn(200.0)


def test_one_candidate_and_none(bare: ReportData, full: ReportData) -> None:
    assert pareto_chart(ROWS[:1], lambda each: each.size_mb, "MB", "t").count("<circle") == 1
    assert pareto_chart(ROWS[4:], lambda each: each.size_mb, "MB", "t") == ""
    assert cost_charts(bare) == {}
    assert set(cost_charts(full)) == {"front_size", "front_latency"}
