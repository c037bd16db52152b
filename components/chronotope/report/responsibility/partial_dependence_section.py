"""Section of the report: how the predictions change with hour, gap and distance."""

from chronotope.contracts.escaping import html_text
from chronotope.report.html_parts import figure, section
from chronotope.report.line_chart import Line, legend, metric_lines
from chronotope.report.report_data import ReportData


def partial_dependence_section(report_data: ReportData) -> str:
    """One chart for each quantity; nothing where none was computed."""
    figures = []
    for curve in report_data.dependences:
        lines = [Line(name, values) for name, values in curve.lines.items()]
        title = f"Probability by {curve.quantity}"
        chart = metric_lines(lines, curve.steps, [False] * len(curve.steps), title)
        caption = f"<b>{html_text(title)}.</b> {html_text(curve.note)}<br>{legend(lines)}"
        figures.append(figure(chart, caption))
    return section("What the predictions depend on", *figures) if figures else ""
