"""Charts of the Pareto front of compression: accuracy against size and latency."""

import math
from collections.abc import Callable, Sequence

from chronotope.contracts.escaping import html_text
from chronotope.report.formatting import format_number
from chronotope.report.report_data import CandidateRow, ReportData
from chronotope.report.svg_charts import svg_chart, text_at

LEFT, RIGHT, TOP, BOTTOM = 56.0, 320.0, 12.0, 170.0
"""Edges of the drawing's field, in its own units."""


def pareto_chart(
    candidate_rows: Sequence[CandidateRow],
    cost_of: Callable[[CandidateRow], float],
    axis_label: str,
    chart_title: str,
    max_cost: float | None = None,
) -> str:
    """Scatter plot of the evaluated candidates: cost on the x axis (log), NDCG@10 on the y axis.

    A line joins the Pareto front; the chosen candidate is larger and named.

    Args:
        candidate_rows: Candidates; those without accuracy are left out.
        cost_of: Cost of a candidate, such as its size.
        axis_label: Name of the cost with its unit.
        chart_title: What the drawing shows, for screen readers.
        max_cost: Bound on the cost, drawn if it is in the range of the chart.

    Returns:
        One inline ``<svg>``; empty if nothing was evaluated.
    """
    cost_points = [
        (math.log10(max(cost_of(row), 1e-6)), row.ndcg, row)
        for row in candidate_rows
        if row.ndcg is not None and math.isfinite(row.ndcg)
    ]
    if not cost_points:
        return ""
    x_scale = _scale([x_px for x_px, _, _ in cost_points], LEFT, RIGHT)
    y_scale = _scale([y_px for _, y_px, _ in cost_points], BOTTOM, TOP)
    svg_parts = [*_axes(cost_points, x_scale, y_scale, axis_label), *_bound(max_cost, x_scale)]
    line_points = " ".join(
        f"{x_scale(x_px):.1f},{y_scale(y_px):.1f}" for x_px, y_px in _undominated(cost_points)
    )
    svg_parts.append(f'<polyline class="line" points="{line_points}"/>')
    svg_parts += [
        _dot(x_scale(x_px), y_scale(y_px), row, cost_of(row), axis_label)
        for x_px, y_px, row in cost_points
    ]
    return svg_chart(340, 214, chart_title, svg_parts)


def cost_charts(data: ReportData) -> dict[str, str]:
    """Accuracy against size and against latency, by name; empty if nothing was evaluated."""
    objective = data.objective
    svg_by_name = {
        "front_size": pareto_chart(
            data.candidates,
            lambda row: row.size_mb,
            "size, MB",
            "Accuracy against size",
            None if objective is None else objective.max_size_mb,
        ),
        "front_latency": pareto_chart(
            data.candidates,
            lambda row: row.p50_ms,
            "one query, ms",
            "Accuracy against latency",
            None if objective is None else objective.max_latency_ms,
        ),
    }
    return {name: svg for name, svg in svg_by_name.items() if svg}


def _undominated(
    cost_points: Sequence[tuple[float, float, CandidateRow]],
) -> list[tuple[float, float]]:
    """Points of the Pareto front by increasing cost, and so by increasing accuracy."""
    front_points: list[tuple[float, float]] = []
    for x_px, y_px, _ in sorted(cost_points, key=lambda point: (point[0], -point[1])):
        if not front_points or y_px > front_points[-1][1]:
            front_points.append((x_px, y_px))
    return front_points


def _scale(
    ndcg_values: Sequence[float], start_px: float, end_px: float
) -> Callable[[float], float]:
    """Linear scale from the range of the values, slightly widened, to drawing coordinates."""
    low_value, high_value = min(ndcg_values), max(ndcg_values)
    value_margin = 0.08 * (high_value - low_value) or 0.05 * abs(high_value) or 0.05
    low_value, high_value = low_value - value_margin, high_value + value_margin
    return lambda value: (
        start_px + (end_px - start_px) * (value - low_value) / (high_value - low_value)
    )


def _axes(
    cost_points: Sequence[tuple[float, float, CandidateRow]],
    x_scale: Callable[[float], float],
    y_scale: Callable[[float], float],
    axis_label: str,
) -> list[str]:
    log_costs, ndcg_values = (
        sorted({x_px for x_px, _, _ in cost_points}),
        sorted({y_px for _, y_px, _ in cost_points}),
    )
    cost_ends, ndcg_ends = {log_costs[0], log_costs[-1]}, {ndcg_values[0], ndcg_values[-1]}
    return [
        f'<line class="axis" x1="{LEFT}" x2="{RIGHT}" y1="{BOTTOM}" y2="{BOTTOM}"/>',
        f'<line class="axis" x1="{LEFT}" x2="{LEFT}" y1="{TOP}" y2="{BOTTOM}"/>',
        *(text_at(x_scale(x_px), BOTTOM + 18, f"{10**x_px:.3g}", "middle") for x_px in cost_ends),
        *(text_at(LEFT - 6, y_scale(y_px) + 4, f"{y_px:.3f}", "end") for y_px in ndcg_ends),
        text_at((LEFT + RIGHT) / 2, 206, axis_label, "middle"),
    ]


def _bound(max_cost: float | None, x_scale: Callable[[float], float]) -> list[str]:
    if max_cost is None:
        return []
    x_px = x_scale(math.log10(max_cost))
    if not LEFT <= x_px <= RIGHT:
        return []
    return [f'<line class="ideal" x1="{x_px:.1f}" x2="{x_px:.1f}" y1="{TOP}" y2="{BOTTOM}"/>']


def _dot(x_px: float, y_px: float, row: CandidateRow, cost_of: float, axis_label: str) -> str:
    css_class, radius_px = ("dot", 7) if row.chosen else ("bar", 4)
    ndcg_text, cost_text = format_number(row.ndcg), format_number(cost_of, 2)
    tooltip = f"{html_text(row.name)}: NDCG@10 {ndcg_text}, {cost_text} ({html_text(axis_label)})"
    svg_dot = (
        f'<circle class="{css_class}" cx="{x_px:.1f}" cy="{y_px:.1f}" r="{radius_px}">'
        f"<title>{tooltip}</title>"
    )
    text_anchor = "end" if x_px > (LEFT + RIGHT) / 2 else "start"
    label_shift = -10 if text_anchor == "end" else 10
    chosen_label = (
        text_at(x_px + label_shift, y_px + 14, "chosen", text_anchor) if row.chosen else ""
    )
    return f"{svg_dot}</circle>{chosen_label}"
