"""Section of the report on the augmentation that the search decided on."""

from chronotope.contracts.escaping import html_text
from chronotope.report.html_parts import section
from chronotope.report.report_data import ReportData


def augmentation_section(report_data: ReportData) -> str:
    """What was searched and chosen; nothing where none was searched."""
    if not report_data.augmentation:
        return ""
    return section("Augmentation", f"<p>{html_text(report_data.augmentation)}</p>")
