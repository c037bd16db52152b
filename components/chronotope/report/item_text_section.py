"""Section of the report on what was derived from the items' texts."""

from chronotope.contracts.escaping import html_text
from chronotope.report.formatting import format_number
from chronotope.report.html_parts import section, table
from chronotope.report.report_data import ReportData


def item_text_section(report_data: ReportData) -> str:
    """Labels that are predicted, column by column, and examples of summaries."""
    if not report_data.labels and not report_data.summaries:
        return ""
    parts = []
    if report_data.labels:
        label_rows = [
            (
                [
                    html_text(row.column),
                    f"{row.n_given:,}",
                    f"{row.n_predicted:,}",
                    f"{row.n_missing:,}",
                    format_number(row.mean_confidence),
                ],
                False,
            )
            for row in report_data.labels
        ]
        heads = ["Column", "Given", "Predicted", "Missing", "Mean confidence"]
        parts.append(
            table("Labels of the items; predicted ones stand for missing ones", heads, label_rows)
        )
    parts += [
        f"<p><strong>{html_text(row.item)}</strong> {html_text(row.summary)}</p>"
        for row in report_data.summaries
    ]
    return section("Texts of the items", *parts)
