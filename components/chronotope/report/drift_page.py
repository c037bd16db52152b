"""HTML page of a drift report: checks, distributions, predictions over time, outcomes."""

from chronotope.contracts.drift_report import DriftCheck, DriftReport
from chronotope.contracts.escaping import html_text
from chronotope.report import svg_charts
from chronotope.report.formatting import format_instant, format_number, format_percent, metric_label
from chronotope.report.html_parts import Row, estimate, figure, section, table
from chronotope.report.page import html_document
from chronotope.report.report_data import Estimate

_PARTS = {"data": "Data", "predictions": "Predictions", "outcome": "Outcome"}
_DRAWN = ("ndcg_10", "when_coverage_80", "entropy", "coverage", "gini", "unknown_items")
_SHOWN_BINS = 12


def render_drift(drift_report: DriftReport) -> str:
    """Render the page; parts that are absent are left out.

    Args:
        drift_report: Result of a monitoring run. Every text in it is escaped.

    Returns:
        A complete HTML document with inline style and drawings, and no script.
    """
    champion_text = (
        "no champion" if drift_report.champion is None else f"champion {drift_report.champion}"
    )
    window_text = (
        f"{format_instant(drift_report.window_start)} to {format_instant(drift_report.window_end)}"
    )
    subtitle_facts = (
        f"Data version {drift_report.data_version}",
        champion_text,
        f"window {window_text}",
    )
    section_html = (
        _verdict(drift_report),
        *(_checks(drift_report, area) for area in _PARTS),
        _outcome(drift_report),
    )
    chart_html = _columns(drift_report) + _rolling(drift_report)
    return html_document(
        f"Chronotope: drift of {drift_report.dataset}",
        subtitle_facts,
        None,
        "".join(section_html) + chart_html,
    )


def _verdict(drift_report: DriftReport) -> str:
    css_class = {"drift": "no", "no drift": "yes"}.get(drift_report.verdict, "soft")
    statements = [*drift_report.reasons, *drift_report.notes]
    if drift_report.is_old:
        statements.append(
            f"the champion is {format_number(drift_report.champion_age_days, 1)} days old and stale"
        )
    item_list = "".join(f"<li>{html_text(intro_html)}</li>" for intro_html in statements)
    verdict_html = (
        f'<p><span class="verdict {css_class}">{html_text(drift_report.verdict)}</span></p>'
    )
    return section("Verdict", verdict_html, f"<ul>{item_list}</ul>" if item_list else "")


def _checks(drift_report: DriftReport, area: str) -> str:
    area_checks = [check for check in drift_report.checks if check.part == area]
    table_rows: list[Row] = [(_cells(check), check.verdict == "drift") for check in area_checks]
    table_caption = (
        "Small numbers: 95 % interval, users resampled; intervals of divergences are corrected for "
        "sampling noise, the values are not. The threshold comes from earlier windows."
    )
    column_heads = [
        "Check",
        "Statistic",
        "Value",
        "Expected",
        "Threshold",
        "p",
        "History",
        "Verdict",
    ]
    return (
        section(_PARTS[area], table(table_caption, column_heads, table_rows)) if table_rows else ""
    )


def _cells(check: DriftCheck) -> list[str]:
    return [
        html_text(check.name),
        html_text(check.statistic),
        estimate(Estimate(value=check.value, low=check.low, high=check.high)),
        format_number(check.usual),
        format_number(check.threshold),
        _chance(check.p_value),
        format_number(check.n_history, 0),
        html_text(check.verdict),
    ]


def _chance(p_value: float | None) -> str:
    """P-value as text; a value too small to print is shown as an upper bound."""
    return "&lt; 0.0001" if p_value is not None and p_value < 1e-4 else format_number(p_value, 4)


def _columns(drift_report: DriftReport) -> str:
    figures = []
    for column in drift_report.columns:
        statements = sorted(column.bins, key=lambda shares: -max(shares.reference, shares.current))
        shown_bins = {id(shares) for shares in statements[:_SHOWN_BINS]}
        table_rows = [(b.label, b.reference, b.current) for b in column.bins if id(b) in shown_bins]
        figures.append(
            figure(svg_charts.paired_bars(table_rows, column.name), html_text(column.name))
        )
    intro_html = "<p>Share in the reference (pale) and in the current window (strong).</p>"
    return (
        section("Columns", intro_html, f'<div class="pair">{"".join(figures)}</div>')
        if figures
        else ""
    )


def _rolling(drift_report: DriftReport) -> str:
    if not drift_report.windows:
        return ""
    end_dates = (
        f"{drift_report.windows[0].end:%Y-%m-%d}",
        f"{drift_report.windows[-1].end:%Y-%m-%d}",
    )
    figures = []
    for name in _DRAWN:
        metric_values = [row.metrics[name] for row in drift_report.windows if name in row.metrics]
        metric_title = metric_label(name)
        if metric_values:
            figures.append(
                figure(
                    svg_charts.line_chart(metric_values, end_dates, f"{metric_title} by window"),
                    html_text(metric_title),
                )
            )
    if drift_report.pit:
        bin_counts = [round(10_000 * share) for share in drift_report.pit]
        svg_html = svg_charts.histogram(bin_counts, "Histogram of the predicted probability")
        figures.append(
            figure(
                svg_html,
                "Predicted time: flat along the dashed line if the forecast is calibrated.",
            )
        )
    intro_html = "<p>The champion on later events, each predicted from the events before it.</p>"
    figure_pair = f'<div class="pair">{"".join(figures)}</div>'
    return section("Predictions over time", intro_html, figure_pair)


def _outcome(drift_report: DriftReport) -> str:
    outcome = drift_report.outcome
    if outcome is None or not outcome.n_answers:
        return ""
    intro_html = (
        f"<p>{format_number(outcome.n_answers, 0)} answers evaluated; "
        f"{format_number(outcome.n_open, 0)} are too recent, "
        f"{format_number(outcome.n_nameless, 0)} went to users without an id. "
        f"{format_percent(outcome.explored)} were "
        f"explored; concentration of what was shown (Gini) {format_number(outcome.gini)}.</p>"
    )
    day_rows: list[Row] = [
        (
            [
                html_text(of.day),
                html_text(of.version),
                format_number(of.n_answers, 0),
                format_percent(of.hit_rate),
            ],
            False,
        )
        for of in outcome.days
    ]
    position_rows: list[Row] = [
        (
            [
                str(of.position),
                format_number(of.n_shown, 0),
                format_percent(of.hit_rate),
                format_number(None) if of.weighted is None else format_percent(of.weighted),
            ],
            False,
        )
        for of in outcome.positions
    ]
    return section(
        "Outcome of answers",
        intro_html,
        table("By day and version.", ["Day", "Version", "Answers", "Followed"], day_rows),
        table(
            "By position; inverse propensity estimates the rate of any item at that position.",
            ["Position", "Shown", "Followed", "By inverse propensity"],
            position_rows,
        ),
    )
