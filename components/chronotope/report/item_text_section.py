"""Section of the report on what was derived from the items' texts."""

from chronotope.contracts.escaping import html_text
from chronotope.report.formatting import format_number
from chronotope.report.html_parts import section, table
from chronotope.report.report_data import ReportData


def item_text_section(report_data: ReportData) -> str:
    """Labels that are predicted, column by column, and examples of summaries."""
    if not report_data.labels and not report_data.summaries:
        return ""
    html_blocks = []
    if report_data.labels:
        label_rows = [
            (
                [
                    html_text(label_row.column),
                    f"{label_row.n_given:,}",
                    f"{label_row.n_predicted:,}",
                    f"{label_row.n_missing:,}",
                    format_number(label_row.mean_confidence),
                ],
                False,
            )
            for label_row in report_data.labels
        ]
        column_heads = ["Column", "Given", "Predicted", "Missing", "Mean confidence"]
        html_blocks.append(
            table(
                "Labels of the items; predicted ones stand for missing ones",
                column_heads,
                label_rows,
            )
        )
    html_blocks += [
        f"<p><strong>{html_text(label_row.item)}</strong> {html_text(label_row.summary)}</p>"
        for label_row in report_data.summaries
    ]
    return section("Texts of the items", *html_blocks)
