"""The model card: Markdown stored with a model version."""

from chronotope.contracts.escaping import markdown_text
from chronotope.report.formatting import format_instant, format_number, metric_label, metric_order
from chronotope.report.report_data import ReportData


def _heading(title: str, words: str) -> list[str]:
    return [f"## {title}", "", markdown_text(words), ""] if words else []


def _metrics(data: ReportData) -> list[str]:
    row = data.champion
    if row is None:
        return []
    lines = ["| Metric | Value | 95 % interval |", "|---|---:|---:|"]
    for name in metric_order([row.metrics]):
        est = row.metrics[name]
        known = est.low is not None and est.high is not None
        span = f"{format_number(est.low)} to {format_number(est.high)}" if known else "\N{EN DASH}"
        lines.append(
            f"| {markdown_text(metric_label(name))} | {format_number(est.value)} | {span} |"
        )
    return [*lines, ""]


def _gate(data: ReportData) -> list[str]:
    if data.gate is None:
        return []
    word = "Promoted." if data.gate.promoted else "Not promoted."
    return ["## Gate", "", word, "", *(f"- {markdown_text(r)}" for r in data.gate.reasons), ""]


def render_card(data: ReportData) -> str:
    """Render the card as Markdown.

    Args:
        data: The same value the HTML report shows; absent parts are left out.

    Returns:
        Markdown whose texts carry no markup of their own.
    """
    card = data.card
    name = data.champion.name if data.champion else "model"
    lines = [
        f"# Model card: {markdown_text(name)} on {markdown_text(data.dataset)}",
        "",
        f"- Data version: {markdown_text(data.data_version)}",
        f"- Protocol: {markdown_text(data.protocol)}",
        f"- Seed: {data.seed}",
        f"- Generated: {format_instant(data.generated_at)}",
        "",
        *_heading("Intended use", card.intended_use if card else ""),
        *_heading("Training data", card.training_data if card else ""),
        *(["## Metrics", ""] if data.champion or (card and card.metrics) else []),
        *([markdown_text(card.metrics), ""] if card and card.metrics else []),
        *_metrics(data),
        *_gate(data),
        *_heading("Limits", card.limits if card else ""),
        *_heading("Ethics", card.ethics if card else ""),
    ]
    return "\n".join(lines).rstrip() + "\n"
