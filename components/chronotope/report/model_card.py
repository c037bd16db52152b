"""The model card: Markdown stored with a model version."""

from typing import Final

from chronotope.contracts.escaping import markdown_text
from chronotope.report.formatting import format_instant, format_number, metric_label, metric_order
from chronotope.report.report_data import ReportData

CARD_HEADINGS: Final = (
    ("intended_use", "Intended use"),
    ("training_data", "Training data"),
    ("metrics", "Metrics"),
    ("groups", "Groups"),
    ("limits", "Limits"),
    ("ethics", "Ethics"),
    ("privacy", "Privacy"),
    ("oversight", "Human oversight"),
    ("energy", "Energy"),
)
"""Fields of ``CardText`` and their headings."""

_AFTER_GATE: Final = CARD_HEADINGS[3:]


def _heading(section_title: str, section_text: str) -> list[str]:
    return [f"## {section_title}", "", markdown_text(section_text), ""] if section_text else []


def _metrics(report_data: ReportData) -> list[str]:
    champion_row = report_data.champion
    if champion_row is None:
        return []
    card_lines = ["| Metric | Value | 95 % interval |", "|---|---:|---:|"]
    for metric_name in metric_order([champion_row.metrics]):
        measured = champion_row.metrics[metric_name]
        has_interval = measured.low is not None and measured.high is not None
        interval_text = (
            f"{format_number(measured.low)} to {format_number(measured.high)}"
            if has_interval
            else "\N{EN DASH}"
        )
        card_lines.append(
            f"| {markdown_text(metric_label(metric_name))} | {format_number(measured.value)} "
            f"| {interval_text} |"
        )
    return [*card_lines, ""]


def _gate(report_data: ReportData) -> list[str]:
    if report_data.gate is None:
        return []
    gate_word = "Promoted." if report_data.gate.promoted else "Not promoted."
    return [
        "## Gate",
        "",
        gate_word,
        "",
        *(f"- {markdown_text(r)}" for r in report_data.gate.reasons),
        "",
    ]


def _membership(report_data: ReportData) -> list[str]:
    if not report_data.attacks:
        return []
    return [
        "## Membership attacks",
        "",
        *(
            f"- {markdown_text(attack.name)}: AUC {format_number(attack.auc.value)} "
            f"({format_number(attack.auc.low)} to {format_number(attack.auc.high)}), "
            f"{attack.n_users} members and as many held-out users; 0.5 is chance"
            for attack in report_data.attacks
        ),
        "",
    ]


def render_card(report_data: ReportData) -> str:
    """Render the card as Markdown.

    Args:
        report_data: The same value the HTML report shows; absent parts are left out.

    Returns:
        Markdown whose texts carry no markup of their own.
    """
    card_text = report_data.card
    model_name = report_data.champion.name if report_data.champion else "model"
    card_lines = [
        f"# Model card: {markdown_text(model_name)} on {markdown_text(report_data.dataset)}",
        "",
        f"- Data version: {markdown_text(report_data.data_version)}",
        f"- Protocol: {markdown_text(report_data.protocol)}",
        f"- Seed: {report_data.seed}",
        f"- Generated: {format_instant(report_data.generated_at)}",
        "",
        *_heading("Intended use", card_text.intended_use if card_text else ""),
        *_heading("Training data", card_text.training_data if card_text else ""),
        *(["## Metrics", ""] if report_data.champion or (card_text and card_text.metrics) else []),
        *([markdown_text(card_text.metrics), ""] if card_text and card_text.metrics else []),
        *_metrics(report_data),
        *_gate(report_data),
        *_membership(report_data),
        *(
            line
            for field_name, heading in _AFTER_GATE
            for line in _heading(heading, getattr(card_text, field_name, ""))
        ),
    ]
    return "\n".join(card_lines).rstrip() + "\n"
