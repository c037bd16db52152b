"""Metrics over time as lines; what a model had seen in training is drawn hollow."""

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
    """One metric over the steps.

    Attributes:
        name: What it is.
        values: One a step; None leaves a gap.
    """

    name: str
    values: Sequence[float | None]


def metric_lines(
    lines: Sequence[Line], labels: Sequence[str], hollow: Sequence[bool], title: str
) -> str:
    """Lines over equal steps of time, from zero to a bit above the highest value.

    Args:
        lines: At most four.
        labels: What each step is called.
        hollow: Steps that are no fair test.
        title: What the drawing shows, for screen readers.

    Returns:
        One inline ``<svg>``.
    """
    told = [value for line in lines for value in line.values if value is not None]
    top = _rounded_up(max(told, default=1.0))
    parts = [*_grid(top), *_steps(labels)]
    for line, shade in zip(lines, _SHADES, strict=False):
        parts += _drawn(line, shade, top, labels, hollow)
    return (
        f'<svg role="img" class="wide" viewBox="0 0 {WIDTH:.0f} {HEIGHT:.0f}" '
        f'style="max-width:{WIDTH:.0f}px" aria-label="{html_text(title)}">'
        f"<title>{html_text(title)}</title>{''.join(parts)}</svg>"
    )


def legend(lines: Sequence[Line]) -> str:
    """Which shade is which line, as HTML."""
    return "".join(
        f'<i class="key {shade}"></i>{html_text(line.name)}'
        for line, shade in zip(lines, _SHADES, strict=False)
    )


def _drawn(
    line: Line, shade: str, top: float, labels: Sequence[str], hollow: Sequence[bool]
) -> list[str]:
    points = [
        (_x(at, len(labels)), _y(value, top), at, value)
        for at, value in enumerate(line.values)
        if value is not None
    ]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in points)
    colour = f"var(--{shade})"
    style = f'style="fill:none;stroke:{colour};stroke-width:2"'
    dots = [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" style="stroke:{colour};stroke-width:1.5;'
        f'fill:{"var(--card)" if hollow[at] else colour}">'
        f"<title>{html_text(f'{line.name} {format_number(value)}, {labels[at]}')}</title></circle>"
        for x, y, at, value in points
    ]
    return [f'<polyline points="{path}" {style}/>', *dots]


def _grid(top: float) -> list[str]:
    parts = []
    for share in (0.0, 0.5, 1.0):
        y = _y(share * top, top)
        kind = "axis" if share == 0 else "ideal"
        parts += [
            f'<line class="{kind}" x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>',
            f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{share * top:.2g}</text>',
        ]
    return parts


def _steps(labels: Sequence[str]) -> list[str]:
    every = max(1, math.ceil(len(labels) / _MOST_LABELS))
    return [
        f'<text x="{_x(at, len(labels)):.1f}" y="{HEIGHT - 12}" text-anchor="middle">'
        f"{html_text(labels[at])}</text>"
        for at in range(0, len(labels), every)
    ]


def _x(at: int, n: int) -> float:
    inset = 40.0  # half a label
    wide = WIDTH - _LEFT - _RIGHT - 2 * inset
    return _LEFT + inset + (wide * at / (n - 1) if n > 1 else wide / 2)


def _y(value: float, top: float) -> float:
    return HEIGHT - _BOTTOM - (HEIGHT - _TOP - _BOTTOM) * value / top


def _rounded_up(value: float) -> float:
    """The next tenth, at least one."""
    return max(1, math.ceil(10 * value - 1e-9)) / 10
