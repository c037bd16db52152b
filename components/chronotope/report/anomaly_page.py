"""HTML page of an anomaly detector: metrics, ROC, precision-recall, precision by budget."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from chronotope.contracts.escaping import html_text
from chronotope.report.formatting import format_number, format_percent
from chronotope.report.html_parts import Row, figure, section, table
from chronotope.report.page import html_document
from chronotope.report.svg_charts import svg_chart, text_at

_SIDE, _MARGIN = 260.0, 36.0


@dataclass(frozen=True, slots=True)
class DetectorRow:
    """Metrics of one detector.

    Attributes:
        name: Its name.
        values: AUROC, average precision and precision of the alerts.
    """

    name: str
    values: Sequence[float]


@dataclass(frozen=True, slots=True)
class AnomalyReport:
    """Content of the page; every text is escaped.

    Attributes:
        dataset: Name of the dataset.
        facts: What is shown below the title.
        verdict: Decision of the gate.
        is_promoted: Whether the detector is the champion.
        reasons: Why it is not.
        detectors: Candidate, champion and baselines.
        roc: Pairs of false-alarm rate and recall.
        precision_recall: Pairs of recall and precision.
        budgets: Precision by alerts a day.
        notes: Further findings, by label.
    """

    dataset: str
    facts: Sequence[str]
    verdict: str
    is_promoted: bool
    reasons: Sequence[str]
    detectors: Sequence[DetectorRow]
    roc: Sequence[tuple[float, float]]
    precision_recall: Sequence[tuple[float, float]]
    budgets: Mapping[int, float]
    notes: Mapping[str, str]


def render_anomaly_report(report: AnomalyReport) -> str:
    """Render the page.

    Args:
        report: Its content.

    Returns:
        A complete HTML document with inline style and drawings, and no script.
    """
    css_class = "yes" if report.is_promoted else "no"
    reason_texts = "".join(f"<li>{html_text(reason)}</li>" for reason in report.reasons)
    verdict_html = f'<p><span class="verdict {css_class}">{html_text(report.verdict)}</span></p>'
    metric_rows: list[Row] = [
        ([html_text(row.name), *(format_number(value, 3) for value in row.values)], index == 0)
        for index, row in enumerate(report.detectors)
    ]
    budget_rows: list[Row] = [
        ([str(budget), format_percent(precision)], False)
        for budget, precision in report.budgets.items()
    ]
    note_rows: list[Row] = [
        ([html_text(label), html_text(value)], False) for label, value in report.notes.items()
    ]
    section_html = (
        section("Verdict", verdict_html, f"<ul>{reason_texts}</ul>" if reason_texts else ""),
        section(
            "Detectors",
            table(
                "The latest days; users that are known as compromised by then are left out.",
                ("detector", "AUROC", "average precision", "precision of the alerts"),
                metric_rows,
            ),
        ),
        section(
            "Curves",
            figure(
                curve_chart(report.roc, "ROC: recall over the share of false alarms"),
                "Recall over the share of genuine events that are flagged.",
            ),
            figure(
                curve_chart(report.precision_recall, "Precision over recall"),
                "Share of anomalies among the flagged events, over recall.",
            ),
        ),
        section(
            "Alert budget",
            table(
                "Share of compromised users among those looked at each day.",
                ("alerts a day", "precision"),
                budget_rows,
            ),
            table("Threshold and search", ("what", "value"), note_rows),
        ),
    )
    return html_document(
        f"Chronotope: anomalies of {report.dataset}", report.facts, None, "".join(section_html)
    )


def curve_chart(points: Sequence[tuple[float, float]], chart_title: str) -> str:
    """A curve in the unit square.

    Args:
        points: Pairs in [0, 1].
        chart_title: For screen readers.

    Returns:
        One inline ``<svg>``.
    """
    side_px, margin_px = _SIDE, _MARGIN
    curve_path = " ".join(
        f"{margin_px + side_px * x:.1f},{margin_px / 2 + side_px * (1 - y):.1f}" for x, y in points
    )
    frame_svg = (
        f'<rect x="{margin_px}" y="{margin_px / 2}" width="{side_px}" height="{side_px}" '
        'fill="none" stroke="currentColor" stroke-opacity=".3"/>'
    )
    tick_svgs = [
        text_at(margin_px + side_px * share, margin_px * 1.2 + side_px, f"{share:g}", "middle")
        for share in (0.0, 0.5, 1.0)
    ] + [
        text_at(margin_px - 4, margin_px / 2 + side_px * (1 - share) + 4, f"{share:g}", "end")
        for share in (0.0, 0.5, 1.0)
    ]
    line_svg = (
        f'<polyline points="{curve_path}" fill="none" stroke="currentColor" stroke-width="2"/>'
    )
    return svg_chart(
        side_px + 2 * margin_px,
        side_px + 1.6 * margin_px,
        chart_title,
        [frame_svg, *tick_svgs, line_svg],
    )
