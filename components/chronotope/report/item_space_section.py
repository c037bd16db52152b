"""Section of the report with a map of the items by their content."""

import math

from chronotope.contracts.escaping import html_text
from chronotope.report.html_parts import figure, section
from chronotope.report.report_data import ItemPoint, ReportData
from chronotope.report.svg_charts import svg_chart, text_at

N_COLOURS = 5
_WIDTH_PX, _HEIGHT_PX, _MARGIN_PX = 640, 480, 20
_N_LABELS = 14
_LABEL_GAP_PX = (110, 16)
_MAX_LABEL = 26


def item_space_section(report_data: ReportData) -> str:
    """Map of the items: close together if alike, coloured by category."""
    if not report_data.item_points:
        return ""
    legend = "".join(
        f'<i class="key q{colour}"></i>{html_text(name)}'
        for colour, name in enumerate(report_data.item_groups)
    )
    n_points = len(report_data.item_points)
    caption = (
        f"{n_points:,} items with the most events; those with similar texts, pictures or sounds "
        f"lie close together (t-SNE). Area: number of events. Colour: {legend}"
    )
    return section("What items are", figure(_map(report_data.item_points), caption))


def _map(points: tuple[ItemPoint, ...]) -> str:
    heaviest = max(point.weight for point in points)
    placed = [
        (
            point,
            _MARGIN_PX + point.x * (_WIDTH_PX - 2 * _MARGIN_PX),
            _MARGIN_PX + point.y * (_HEIGHT_PX - 2 * _MARGIN_PX),
        )
        for point in points
    ]
    circles = [
        f'<circle class="q{point.colour}" cx="{x_px:.1f}" cy="{y_px:.1f}" '
        f'r="{2 + 8 * math.sqrt(point.weight / max(heaviest, 1)):.1f}">'
        f"<title>{html_text(point.label)}: {point.weight:,} events</title></circle>"
        for point, x_px, y_px in placed
    ]
    return svg_chart(
        _WIDTH_PX, _HEIGHT_PX, "Map of the items by content", [*circles, *_labels(placed)]
    )


def _labels(placed: list[tuple[ItemPoint, float, float]]) -> list[str]:
    """Names of the items with the most events, where they do not overlap."""
    labelled: list[tuple[float, float]] = []
    texts = []
    for point, x_px, y_px in sorted(placed, key=lambda entry: -entry[0].weight):
        is_free = all(
            abs(x_px - other_x) > _LABEL_GAP_PX[0] or abs(y_px - other_y) > _LABEL_GAP_PX[1]
            for other_x, other_y in labelled
        )
        if not is_free:
            continue
        labelled.append((x_px, y_px))
        name = point.label
        shown = (
            name if len(name) <= _MAX_LABEL else name[: _MAX_LABEL - 1] + "\N{HORIZONTAL ELLIPSIS}"
        )
        anchor = "end" if x_px > 0.7 * _WIDTH_PX else "start"
        texts.append(text_at(x_px + (-8 if anchor == "end" else 8), y_px + 4, shown, anchor))
        if len(texts) == _N_LABELS:
            break
    return texts
