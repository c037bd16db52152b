"""Section of the report on predicted labels and summaries."""

from datetime import UTC, datetime
from typing import Any

from chronotope.report.item_text_section import item_text_section
from chronotope.report.report_data import LabelRow, ReportData, SummaryRow


def report_data(**parts: Any) -> ReportData:
    instant = datetime(2024, 1, 1, tzinfo=UTC)
    return ReportData(
        dataset="d", data_version="v", protocol="p", seed=0, generated_at=instant, **parts
    )


def test_predicted_labels_are_told_from_given_ones_and_texts_are_escaped() -> None:
    labels = LabelRow(
        column="cat<egory", n_given=1_200, n_predicted=30, n_missing=4, mean_confidence=0.91
    )
    summary = SummaryRow(item="A & B", summary="<script>x</script>")
    html = item_text_section(report_data(labels=(labels,), summaries=(summary,)))
    assert "Predicted" in html
    assert "1,200" in html
    assert "cat&lt;egory" in html
    assert "A &amp; B" in html
    assert "<script>" not in html


def test_without_either_there_is_no_section() -> None:
    assert item_text_section(report_data()) == ""
