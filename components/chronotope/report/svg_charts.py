"""SVG charts, coloured by the style sheet of the page."""

import math
from collections.abc import Sequence

from chronotope.contracts.escaping import html_text
from chronotope.report.formatting import format_number, format_percent
from chronotope.report.report_data import Coverage, MapPoint

_MAX_POINTS = 3000


def svg_chart(width: float, height: float, chart_title: str, svg_parts: Sequence[str]) -> str:
    """Inline ``<svg>`` element of the parts, with a title for screen readers."""
    css_class = "wide" if width > 600 else "small"
    return (
        f'<svg role="img" class="{css_class}" viewBox="0 0 {width:.0f} {height:.0f}"'
        f' style="max-width:{width:.0f}px"'
        f' aria-label="{html_text(chart_title)}"><title>{html_text(chart_title)}</title>'
        f"{''.join(svg_parts)}</svg>"
    )


def text_at(x_px: float, y_px: float, label_text: str, text_anchor: str = "start") -> str:
    """Text element at a point, escaped."""
    position = f'x="{x_px:.1f}" y="{y_px:.1f}" text-anchor="{text_anchor}"'
    return f"<text {position}>{html_text(label_text)}</text>"


def bar_chart(
    chart_rows: Sequence[tuple[str, float, bool]], chart_title: str, n_digits: int = 3
) -> str:
    """Horizontal bars from zero.

    Args:
        chart_rows: Label, value and whether to highlight it; negative and NaN draw no bar.
        chart_title: What the drawing shows, for screen readers.
        n_digits: Decimals of the printed values.

    Returns:
        One inline ``<svg>``.
    """
    max_value = max((value for _, value, _ in chart_rows if math.isfinite(value)), default=0.0)
    svg_parts = []
    for i, (row_label, value, is_strong) in enumerate(chart_rows):
        y_px = 26 * i
        bar_share = (
            value / max_value if max_value > 0 and math.isfinite(value) and value > 0 else 0.0
        )
        shown_label = (
            row_label if len(row_label) <= 26 else row_label[:25] + "\N{HORIZONTAL ELLIPSIS}"
        )
        css_class = "bar strong" if is_strong else "bar"
        svg_parts += [
            text_at(190, y_px + 17, shown_label, "end"),
            f'<rect class="{css_class}" x="200" y="{y_px + 4}" rx="3" height="18" '
            f'width="{380 * bar_share:.1f}"/>',
            text_at(208 + 380 * bar_share, y_px + 17, format_number(value, n_digits)),
        ]
    return svg_chart(660, 26 * len(chart_rows) + 4, chart_title, svg_parts)


def histogram(bin_counts: Sequence[int], chart_title: str) -> str:
    """Histogram over [0, 1] with the uniform density of a calibrated forecast."""
    max_value, n_bins = max(max(bin_counts), 1), len(bin_counts)
    step_px, flat_y = 300 / n_bins, 170 - 160 * sum(bin_counts) / n_bins / max_value
    svg_parts = [
        f'<rect class="bar" x="{20 + step_px * i + 1:.1f}" y="{170 - 160 * count / max_value:.1f}" '
        f'width="{step_px - 2:.1f}" height="{160 * count / max_value:.1f}">'
        f"<title>{count:,}</title></rect>"
        for i, count in enumerate(bin_counts)
    ]
    svg_parts += [
        f'<line class="ideal" x1="20" x2="320" y1="{flat_y:.1f}" y2="{flat_y:.1f}"/>',
        '<line class="axis" x1="20" x2="320" y1="170" y2="170"/>',
        *(text_at(20 + 300 * x_px, 188, f"{x_px:g}", "middle") for x_px in (0, 0.5, 1)),
        text_at(170, 206, "F(observed time)", "middle"),
    ]
    return svg_chart(340, 214, chart_title, svg_parts)


def reliability_diagram(coverage_levels: Sequence[Coverage], chart_title: str) -> str:
    """Nominal against actual coverage, with the diagonal of a calibrated forecast."""
    chart_points = [(40 + 270 * c.nominal, 170 - 160 * c.actual) for c in coverage_levels]
    line_points = " ".join(f"{x_px:.1f},{y_px:.1f}" for x_px, y_px in sorted(chart_points))
    svg_parts = [
        '<line class="axis" x1="40" x2="310" y1="170" y2="170"/>',
        '<line class="axis" x1="40" x2="40" y1="10" y2="170"/>',
        '<line class="ideal" x1="40" y1="170" x2="310" y2="10"/>',
        f'<polyline class="line" points="{line_points}"/>',
        *(
            f'<circle class="dot" cx="{x_px:.1f}" cy="{y_px:.1f}" r="4"/>'
            for x_px, y_px in chart_points
        ),
        *(text_at(40 + 270 * x_px, 188, f"{x_px:.0%}", "middle") for x_px in (0, 0.5, 1)),
        *(text_at(34, 174 - 160 * y_px, f"{y_px:.0%}", "end") for y_px in (0.5, 1)),
        text_at(175, 206, "nominal level", "middle"),
    ]
    return svg_chart(340, 214, chart_title, svg_parts)


def scatter_map(chart_points: Sequence[MapPoint], chart_title: str) -> str:
    """Points on an equirectangular map, area by weight, colour by hit share.

    Only the 3,000 heaviest points are drawn, so that the page stays small.
    """
    drawn_points = sorted(chart_points, key=lambda p: -p.weight)[:_MAX_POINTS]
    west_lon, north_lat = min(p.lon for p in drawn_points), max(p.lat for p in drawn_points)
    lon_scale = max(
        math.cos(math.radians(sum(p.lat for p in drawn_points) / len(drawn_points))), 0.01
    )
    width_deg = (max(p.lon for p in drawn_points) - west_lon) * lon_scale
    height_deg = north_lat - min(p.lat for p in drawn_points)
    px_per_deg = min(620 / max(width_deg, 1e-6), 460 / max(height_deg, 1e-6))
    svg_parts = [
        f'<circle class="q{min(int(5 * p.hit_share), 4)}" '
        f'cx="{20 + (p.lon - west_lon) * lon_scale * px_per_deg:.1f}" '
        f'cy="{20 + (north_lat - p.lat) * px_per_deg:.1f}" '
        f'r="{2 + 12 * math.sqrt(p.weight / drawn_points[0].weight):.1f}">'
        f"<title>{format_number(p.weight, 0)} targets, {format_percent(p.hit_share)} right</title>"
        "</circle>"
        for p in drawn_points
    ]
    return svg_chart(
        40 + width_deg * px_per_deg, 40 + height_deg * px_per_deg, chart_title, svg_parts
    )


def paired_bars(chart_rows: Sequence[tuple[str, float, float]], chart_title: str) -> str:
    """Paired bars of shares: reference (pale) and current (strong), one pair per row.

    Args:
        chart_rows: Label, share before and share now.
        chart_title: What the drawing shows, for screen readers.

    Returns:
        One inline ``<svg>``.
    """
    max_value = (
        max((max(reference, current) for _, reference, current in chart_rows), default=0.0) or 1.0
    )
    svg_parts = []
    for i, (row_label, *shares) in enumerate(chart_rows):
        shown_label = (
            row_label if len(row_label) <= 20 else row_label[:19] + "\N{HORIZONTAL ELLIPSIS}"
        )
        svg_parts.append(text_at(120, 24 * i + 15, shown_label, "end"))
        for j, (bar_share, css_class) in enumerate(zip(shares, ("bar", "bar strong"), strict=True)):
            svg_parts.append(
                f'<rect class="{css_class}" x="128" y="{24 * i + 3 + 9 * j}" height="8" '
                f'width="{200 * bar_share / max_value:.1f}">'
                f"<title>{format_percent(bar_share)}</title></rect>"
            )
    return svg_chart(340, 24 * len(chart_rows) + 4, chart_title, svg_parts)


def line_chart(values: Sequence[float], end_labels: tuple[str, str], chart_title: str) -> str:
    """Line chart of a number over time; the y axis starts at zero.

    Args:
        values: Oldest first; at least one, not negative.
        end_labels: Labels below the first and the last value.
        chart_title: What the drawing shows, for screen readers.

    Returns:
        One inline ``<svg>``.
    """
    max_value = max(values) or 1.0
    step_px = 250 / max(1, len(values) - 1)
    chart_points = [
        (50 + step_px * i, 120 - 105 * value / max_value) for i, value in enumerate(values)
    ]
    line_points = " ".join(f"{x_px:.1f},{y_px:.1f}" for x_px, y_px in chart_points)
    svg_dots = (
        f'<circle class="dot" cx="{x_px:.1f}" cy="{y_px:.1f}" r="3">'
        f"<title>{format_number(v)}</title></circle>"
        for (x_px, y_px), v in zip(chart_points, values, strict=True)
    )
    svg_parts = [
        '<line class="axis" x1="50" x2="310" y1="120" y2="120"/>',
        f'<polyline class="line" points="{line_points}"/>',
        *svg_dots,
        text_at(44, 19, format_number(max_value), "end"),
        text_at(44, 124, "0", "end"),
        text_at(50, 138, end_labels[0]),
        text_at(310, 138, end_labels[1], "end"),
    ]
    return svg_chart(340, 146, chart_title, svg_parts)
