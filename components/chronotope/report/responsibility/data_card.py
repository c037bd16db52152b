"""The data card: Markdown on the data of a training, stored beside the model card."""

from chronotope.contracts.escaping import markdown_text
from chronotope.report.formatting import format_instant
from chronotope.report.report_data import ReportData


def render_data_card(report_data: ReportData) -> str:
    """Render the card as Markdown.

    Args:
        report_data: The same value the HTML report shows; absent parts are left out.

    Returns:
        Markdown whose texts carry no markup of their own.
    """
    lines = [
        f"# Data card: {markdown_text(report_data.dataset)}",
        "",
        f"- Data version: {markdown_text(report_data.data_version)}",
        f"- Generated: {format_instant(report_data.generated_at)}",
        *_facts(report_data.data_facts),
        "",
    ]
    ingestion = report_data.ingestion
    if ingestion is not None:
        lines += [
            "## Rows of the last delivery",
            "",
            f"- Read: {ingestion.n_read:,}",
            f"- Stored: {ingestion.n_good:,}",
            f"- Quarantined: {ingestion.n_quarantined:,}",
            *_counts(ingestion.quarantined),
            f"- Left out: {ingestion.n_dropped:,}",
            *_counts(ingestion.dropped),
            "",
        ]
    if report_data.noise:
        lines += ["## Events removed by noise filters", "", *_counts(report_data.noise), ""]
    if report_data.labels:
        lines += ["## Predicted labels", ""]
        lines += [
            f"- {markdown_text(row.column)}: {row.n_given:,} given, {row.n_predicted:,} predicted, "
            f"{row.n_missing:,} missing"
            for row in report_data.labels
        ]
    return "\n".join(lines).rstrip() + "\n"


def _facts(facts: dict[str, str]) -> list[str]:
    return [f"- {markdown_text(name)}: {markdown_text(value)}" for name, value in facts.items()]


def _counts(counts: dict[str, int]) -> list[str]:
    return [f"  - {markdown_text(name)}: {count:,}" for name, count in counts.items() if count]
