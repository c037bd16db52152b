"""Line charts of metrics over time; steps that the model was trained on are drawn hollow."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from chronotope.contracts.escaping import html_text
from chronotope.report.formatting import format_number

WIDTH, HEIGHT = 960.0, 260.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 44.0, 12.0, 12.0, 34.0
_SHADES = ("q4", "q1", "q3", "q0")
_MOST_LABELS = 8


@dataclass(frozen=True, slots=True)
class Line:
    """One metric over the steps of a chart.

    Attributes:
        name: Name in the legend.
        values: One value per step; None leaves a gap.
    """

    name: str
    values: Sequence[float | None]


def metric_lines(
    metric_series: Sequence[Line],
    step_labels: Sequence[str],
    is_hollow: Sequence[bool],
    chart_title: str,
) -> str:
    """Lines over equal steps of time, from zero to a bit above the highest value.

    Args:
        metric_series: At most four.
        step_labels: Label of each step.
        is_hollow: Steps that the model was trained on.
        chart_title: What the drawing shows, for screen readers.

    Returns:
        One inline ``<svg>``.
    """
    known_values = [
        value for series in metric_series for value in series.values if value is not None
    ]
    max_value = _rounded_up(max(known_values, default=1.0))
    svg_parts = [*_grid(max_value), *_steps(step_labels)]
    for series, shade_class in zip(metric_series, _SHADES, strict=False):
        svg_parts += _drawn(series, shade_class, max_value, step_labels, is_hollow)
    return (
        f'<svg role="img" class="wide" viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" '
        f'style="max-width:{WIDTH:.0f}px" aria-label="{html_text(chart_title)}">'
        f"<title>{html_text(chart_title)}</title>{''.join(svg_parts)}</svg>"
    )


def legend(metric_series: Sequence[Line]) -> str:
    """Legend of the lines, as HTML."""
    return "".join(
        f'<i class="key {shade_class}"></i>{html_text(series.name)}'
        for series, shade_class in zip(metric_series, _SHADES, strict=False)
    )


def _drawn(
    series: Line,
    shade_class: str,
    max_value: float,
    step_labels: Sequence[str],
    is_hollow: Sequence[bool],
) -> list[str]:
    line_points = [
        (_x(step_idx, len(step_labels)), _y(value, max_value), step_idx, value)
        for step_idx, value in enumerate(series.values)
        if value is not None
    ]
    point_path = " ".join(f"{x:.1f},{y_px:.1f}" for x, y_px, _, _ in line_points)
    css_colour = f"var(--{shade_class})"
    css_style = f'style="fill:none;stroke:{css_colour};stroke-width:2"'
    svg_dots = [
        f'<circle cx="{x:.1f}" cy="{y_px:.1f}" r="3.5" style="stroke:{css_colour};stroke-width:1.5;'
        f'fill:{"var(--card)" if is_hollow[step_idx] else css_colour}">'
        f"<title>{_point_text(series.name, value, step_labels[step_idx])}</title></circle>"
        for x, y_px, step_idx, value in line_points
    ]
    return [f'<polyline points="{point_path}" {css_style}/>', *svg_dots]


def _point_text(name: str, value: float, step_label: str) -> str:
    return html_text(f"{name} {format_number(value)}, {step_label}")


def _grid(max_value: float) -> list[str]:
    svg_parts = []
    for axis_share in (0.0, 0.5, 1.0):
        y_px = _y(axis_share * max_value, max_value)
        css_class = "axis" if axis_share == 0 else "ideal"
        svg_parts += [
            f'<line class="{css_class}" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" '
            f'y1="{y_px:.1f}" y2="{y_px:.1f}"/>',
            f'<text x="{_LEFT - 6}" y="{y_px + 4:.1f}" text-anchor="end">'
            f"{axis_share * max_value:.2g}</text>",
        ]
    return svg_parts


def _steps(step_labels: Sequence[str]) -> list[str]:
    label_every = max(1, math.ceil(len(step_labels) / _MOST_LABELS))
    return [
        f'<text x="{_x(step_idx, len(step_labels)):.1f}" y="{HEIGHT - 12}" text-anchor="middle">'
        f"{html_text(step_labels[step_idx])}</text>"
        for step_idx in range(0, len(step_labels), label_every)
    ]


def _x(step_idx: int, n_steps: int) -> float:
    inset_px = 40.0  # half a label
    width_px = WIDTH - _LEFT - _RIGHT - 2 * inset_px
    return _LEFT + inset_px + (width_px * step_idx / (n_steps - 1) if n_steps > 1 else width_px / 2)


def _y(value: float, max_value: float) -> float:
    return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * value / max_value


def _rounded_up(value: float) -> float:
    """Value rounded up to the next tenth, at least 0.1."""
    return max(1, math.ceil(10 * value - 1e-9)) / 10
