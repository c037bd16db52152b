"""Small SVG drawings, coloured by the page's own style sheet."""

import math
from collections.abc import Sequence

from chronotope.contracts.escaping import html_text
from chronotope.report.formatting import format_number, format_percent
from chronotope.report.report_data import Coverage, MapPoint

_MAX_POINTS = 3000


def svg_chart(width: float, height: float, title: str, parts: Sequence[str]) -> str:
    """Parts as one inline ``<svg>`` with a title for screen readers."""
    kind = "wide" if width > 600 else "small"
    return (
        f'<svg role="img" class="{kind}" viewBox="0 0 {width:.0f} {height:.0f}"'
        f' style="max-width:{width:.0f}px"'
        f' aria-label="{html_text(title)}"><title>{html_text(title)}</title>{"".join(parts)}</svg>'
    )


def text_at(x: float, y: float, words: str, anchor: str = "start") -> str:
    """Words at a point, escaped."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html_text(words)}</text>'


def bar_chart(rows: Sequence[tuple[str, float, bool]], title: str, digits: int = 3) -> str:
    """Horizontal bars from zero.

    Args:
        rows: Label, value and whether to highlight it; negative and NaN draw no bar.
        title: What the drawing shows, for screen readers.
        digits: Decimals of the printed values.

    Returns:
        One inline ``<svg>``.
    """
    top = max((value for _, value, _ in rows if math.isfinite(value)), default=0.0)
    parts = []
    for i, (label, value, strong) in enumerate(rows):
        y = 26 * i
        share = value / top if top > 0 and math.isfinite(value) and value > 0 else 0.0
        shown = label if len(label) <= 26 else label[:25] + "\N{HORIZONTAL ELLIPSIS}"
        kind = "bar strong" if strong else "bar"
        parts += [
            text_at(190, y + 17, shown, "end"),
            f'<rect class="{kind}" x="200" y="{y + 4}" rx="3" height="18" '
            f'width="{380 * share:.1f}"/>',
            text_at(208 + 380 * share, y + 17, format_number(value, digits)),
        ]
    return svg_chart(660, 26 * len(rows) + 4, title, parts)


def histogram(counts: Sequence[int], title: str) -> str:
    """A histogram over [0, 1] with the flat line an honest forecast would give."""
    top, n_bins = max(max(counts), 1), len(counts)
    step, flat = 300 / n_bins, 170 - 160 * sum(counts) / n_bins / top
    parts = [
        f'<rect class="bar" x="{20 + step * i + 1:.1f}" y="{170 - 160 * count / top:.1f}" '
        f'width="{step - 2:.1f}" height="{160 * count / top:.1f}">'
        f"<title>{count:,}</title></rect>"
        for i, count in enumerate(counts)
    ]
    parts += [
        f'<line class="ideal" x1="20" x2="320" y1="{flat:.1f}" y2="{flat:.1f}"/>',
        '<line class="axis" x1="20" x2="320" y1="170" y2="170"/>',
        *(text_at(20 + 300 * x, 188, f"{x:g}", "middle") for x in (0, 0.5, 1)),
        text_at(170, 206, "F(observed time)", "middle"),
    ]
    return svg_chart(340, 214, title, parts)


def reliability_diagram(levels: Sequence[Coverage], title: str) -> str:
    """Nominal against actual coverage, with the diagonal of an honest forecast."""
    points = [(40 + 270 * c.nominal, 170 - 160 * c.actual) for c in levels]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in sorted(points))
    parts = [
        '<line class="axis" x1="40" x2="310" y1="170" y2="170"/>',
        '<line class="axis" x1="40" x2="40" y1="10" y2="170"/>',
        '<line class="ideal" x1="40" y1="170" x2="310" y2="10"/>',
        f'<polyline class="line" points="{line}"/>',
        *(f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="4"/>' for x, y in points),
        *(text_at(40 + 270 * x, 188, f"{x:.0%}", "middle") for x in (0, 0.5, 1)),
        *(text_at(34, 174 - 160 * y, f"{y:.0%}", "end") for y in (0.5, 1)),
        text_at(175, 206, "nominal level", "middle"),
    ]
    return svg_chart(340, 214, title, parts)


def scatter_map(points: Sequence[MapPoint], title: str) -> str:
    """Points on an equirectangular map, area by weight, colour by hit share.

    Only the 3,000 heaviest points are drawn, so that the page stays small.
    """
    kept = sorted(points, key=lambda p: -p.weight)[:_MAX_POINTS]
    west, north = min(p.lon for p in kept), max(p.lat for p in kept)
    squeeze = max(math.cos(math.radians(sum(p.lat for p in kept) / len(kept))), 0.01)
    wide = (max(p.lon for p in kept) - west) * squeeze
    high = north - min(p.lat for p in kept)
    scale = min(620 / max(wide, 1e-6), 460 / max(high, 1e-6))
    parts = [
        f'<circle class="q{min(int(5 * p.hit_share), 4)}" '
        f'cx="{20 + (p.lon - west) * squeeze * scale:.1f}" '
        f'cy="{20 + (north - p.lat) * scale:.1f}" '
        f'r="{2 + 12 * math.sqrt(p.weight / kept[0].weight):.1f}">'
        f"<title>{format_number(p.weight, 0)} targets, {format_percent(p.hit_share)} right</title></circle>"
        for p in kept
    ]
    return svg_chart(40 + wide * scale, 40 + high * scale, title, parts)


def paired_bars(rows: Sequence[tuple[str, float, float]], title: str) -> str:
    """Shares before (pale) and now (strong), a pair of bars a row.

    Args:
        rows: Label, share before and share now.
        title: What the drawing shows, for screen readers.

    Returns:
        One inline ``<svg>``.
    """
    top = max((max(before, now) for _, before, now in rows), default=0.0) or 1.0
    parts = []
    for i, (label, *shares) in enumerate(rows):
        shown = label if len(label) <= 20 else label[:19] + "\N{HORIZONTAL ELLIPSIS}"
        parts.append(text_at(120, 24 * i + 15, shown, "end"))
        for j, (share, kind) in enumerate(zip(shares, ("bar", "bar strong"), strict=True)):
            parts.append(
                f'<rect class="{kind}" x="128" y="{24 * i + 3 + 9 * j}" height="8" '
                f'width="{200 * share / top:.1f}"><title>{format_percent(share)}</title></rect>'
            )
    return svg_chart(340, 24 * len(rows) + 4, title, parts)


def line_chart(values: Sequence[float], labels: tuple[str, str], title: str) -> str:
    """A number over time, from zero.

    Args:
        values: Oldest first; at least one, not negative.
        labels: What stands below the first and the last.
        title: What the drawing shows, for screen readers.

    Returns:
        One inline ``<svg>``.
    """
    top = max(values) or 1.0
    step = 250 / max(1, len(values) - 1)
    points = [(50 + step * i, 120 - 105 * value / top) for i, value in enumerate(values)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    dots = (
        f'<circle class="dot" cx="{x:.1f}" cy="{y:.1f}" r="3"><title>{format_number(v)}</title></circle>'
        for (x, y), v in zip(points, values, strict=True)
    )
    parts = [
        '<line class="axis" x1="50" x2="310" y1="120" y2="120"/>',
        f'<polyline class="line" points="{line}"/>',
        *dots,
        text_at(44, 19, format_number(top), "end"),
        text_at(44, 124, "0", "end"),
        text_at(50, 138, labels[0]),
        text_at(310, 138, labels[1], "end"),
    ]
    return svg_chart(340, 146, title, parts)
