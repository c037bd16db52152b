"""The Pareto front of compression: accuracy against what it costs."""

import math
from collections.abc import Callable, Sequence

from chronotope.contracts.escaping import html_text
from chronotope.report.formatting import format_number
from chronotope.report.report_data import CandidateRow, ReportData
from chronotope.report.svg_charts import svg_chart, text_at

LEFT, RIGHT, TOP, BOTTOM = 56.0, 320.0, 12.0, 170.0
"""Edges of the drawing's field, in its own units."""


def pareto_chart(
    rows: Sequence[CandidateRow],
    cost: Callable[[CandidateRow], float],
    axis: str,
    title: str,
    most: float | None = None,
) -> str:
    """Every evaluated candidate as a dot: cost to the right (log scale), NDCG@10 upwards.

    Those nothing beats in both are joined by a line, and the chosen one is larger and named.

    Args:
        rows: Candidates; those without accuracy are left out.
        cost: What a candidate costs.
        axis: Name of the cost with its unit.
        title: What the drawing shows, for screen readers.
        most: Bound on the cost, drawn where it lies in the field.

    Returns:
        One inline ``<svg>``; empty if nothing was evaluated.
    """
    points = [
        (math.log10(max(cost(row), 1e-6)), row.ndcg, row)
        for row in rows
        if row.ndcg is not None and math.isfinite(row.ndcg)
    ]
    if not points:
        return ""
    across = _scale([x for x, _, _ in points], LEFT, RIGHT)
    up = _scale([y for _, y, _ in points], BOTTOM, TOP)
    parts = [*_axes(points, across, up, axis), *_bound(most, across)]
    line = " ".join(f"{across(x):.1f},{up(y):.1f}" for x, y in _undominated(points))
    parts.append(f'<polyline class="line" points="{line}"/>')
    parts += [_dot(across(x), up(y), row, cost(row), axis) for x, y, row in points]
    return svg_chart(340, 214, title, parts)


def cost_charts(data: ReportData) -> dict[str, str]:
    """Accuracy against size and against latency, by name; empty if nothing was evaluated."""
    of = data.objective
    drawn = {
        "front_size": pareto_chart(
            data.candidates,
            lambda row: row.size_mb,
            "size, MB",
            "Accuracy against size",
            None if of is None else of.max_size_mb,
        ),
        "front_latency": pareto_chart(
            data.candidates,
            lambda row: row.p50_ms,
            "one query, ms",
            "Accuracy against latency",
            None if of is None else of.max_latency_ms,
        ),
    }
    return {name: svg for name, svg in drawn.items() if svg}


def _undominated(points: Sequence[tuple[float, float, CandidateRow]]) -> list[tuple[float, float]]:
    """Corners of the front from cheap to dear: each one is more accurate than the last."""
    kept: list[tuple[float, float]] = []
    for x, y, _ in sorted(points, key=lambda point: (point[0], -point[1])):
        if not kept or y > kept[-1][1]:
            kept.append((x, y))
    return kept


def _scale(values: Sequence[float], start: float, end: float) -> Callable[[float], float]:
    """A linear map of the values' range, widened a little, onto a stretch of the drawing."""
    low, high = min(values), max(values)
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 0.05
    low, high = low - margin, high + margin
    return lambda value: start + (end - start) * (value - low) / (high - low)


def _axes(
    points: Sequence[tuple[float, float, CandidateRow]],
    across: Callable[[float], float],
    up: Callable[[float], float],
    axis: str,
) -> list[str]:
    costs, values = sorted({x for x, _, _ in points}), sorted({y for _, y, _ in points})
    ends_x, ends_y = {costs[0], costs[-1]}, {values[0], values[-1]}
    return [
        f'<line class="axis" x1="{LEFT}" x2="{RIGHT}" y1="{BOTTOM}" y2="{BOTTOM}"/>',
        f'<line class="axis" x1="{LEFT}" x2="{LEFT}" y1="{TOP}" y2="{BOTTOM}"/>',
        *(text_at(across(x), BOTTOM + 18, f"{10**x:.3g}", "middle") for x in ends_x),
        *(text_at(LEFT - 6, up(y) + 4, f"{y:.3f}", "end") for y in ends_y),
        text_at((LEFT + RIGHT) / 2, 206, axis, "middle"),
    ]


def _bound(most: float | None, across: Callable[[float], float]) -> list[str]:
    if most is None:
        return []
    x = across(math.log10(most))
    if not LEFT <= x <= RIGHT:
        return []
    return [f'<line class="ideal" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{BOTTOM}"/>']


def _dot(x: float, y: float, row: CandidateRow, cost: float, axis: str) -> str:
    kind, radius = ("dot", 7) if row.chosen else ("bar", 4)
    told = f"{html_text(row.name)}: NDCG@10 {format_number(row.ndcg)}, {format_number(cost, 2)} ({html_text(axis)})"
    dot = f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="{radius}"><title>{told}</title>'
    anchor = "end" if x > (LEFT + RIGHT) / 2 else "start"
    shift = -10 if anchor == "end" else 10
    named = text_at(x + shift, y + 14, "chosen", anchor) if row.chosen else ""
    return f"{dot}</circle>{named}"
