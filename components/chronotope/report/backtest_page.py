"""HTML page of a backtest: accuracy of each chunk of a replayed period."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from chronotope.contracts.escaping import html_text
from chronotope.report.formatting import format_number, metric_label
from chronotope.report.line_chart import Line, legend, metric_lines
from chronotope.report.page import html_document

SHOWN = ("acc_1", "acc_10", "ndcg_10", "mrr")
APART = ("return_acc_10", "discovery_acc_10")
COUNTS = ("n_read", "n_new", "n_duplicates", "n_quarantined", "n_dropped", "n_targets")


@dataclass(frozen=True, slots=True)
class BacktestData:
    """Results of a backtest.

    Attributes:
        dataset: Its name.
        facts: Predictor and protocol, one text each.
        rows: One row per chunk: ``from``, ``seen``, counts and metrics, None where there is none.
        overall: Mean metrics over all chunks that the model was not trained on.
        generated_at: When the page was made.
    """

    dataset: str
    facts: Sequence[str]
    rows: Sequence[dict[str, Any]]
    overall: dict[str, float | None]
    generated_at: datetime


def render_backtest(backtest: BacktestData) -> str:
    """Render the page; every text in it is escaped.

    Args:
        backtest: What the replay measured.

    Returns:
        A complete HTML document with inline style and drawings, and no script.
    """
    page_title = f"Chronotope: {backtest.dataset}, replayed"
    section_html = (
        _summary(backtest),
        _drawing("Over time", SHOWN, backtest),
        _drawing("Returns and discoveries", APART, backtest),
    )
    return html_document(
        page_title,
        backtest.facts,
        backtest.generated_at,
        "".join((*section_html, _table(backtest))),
    )


def _summary(backtest: BacktestData) -> str:
    n_seen_chunks = sum(row["seen"] for row in backtest.rows)
    metric_text = ", ".join(
        f"{metric_label(name)} {format_number(backtest.overall[name])}" for name in (*SHOWN, *APART)
    )
    n_targets_text = format_number(backtest.overall["n_targets"], 0)
    seen_note = (
        f"<p>{n_seen_chunks} of {len(backtest.rows)} chunks begin before the end of the model's "
        "training data. They are drawn hollow and excluded from the means.</p>"
        if n_seen_chunks
        else ""
    )
    summary = f"<p>{html_text(metric_text)}; {n_targets_text} targets.</p>"
    return f"<section><h2>All chunks</h2>{summary}{seen_note}</section>"


def _drawing(section_heading: str, metric_names: Sequence[str], backtest: BacktestData) -> str:
    metric_series = [
        Line(metric_label(name), [row[name] for row in backtest.rows]) for name in metric_names
    ]
    chunk_labels = [str(row["from"])[:10] for row in backtest.rows]
    is_hollow = [bool(row["seen"]) for row in backtest.rows]
    chart_svg = metric_lines(
        metric_series,
        chunk_labels,
        is_hollow,
        f"{section_heading}: {', '.join(series.name for series in metric_series)}",
    )
    return (
        f"<section><h2>{section_heading}</h2><figure>{chart_svg}"
        f"<figcaption>{legend(metric_series)}</figcaption></figure></section>"
    )


def _table(backtest: BacktestData) -> str:
    metric_names = (*SHOWN, *APART)
    column_heads = [
        "from",
        *(name.removeprefix("n_") for name in COUNTS),
        *map(metric_label, metric_names),
    ]
    head_html = "".join(
        f'<th scope="col"{" class=n" if i else ""}>{html_text(h)}</th>'
        for i, h in enumerate(column_heads)
    )
    body_html = "".join(
        f'<tr><th scope="row">{html_text(str(row["from"]))}'
        f"{' (seen in training)' if row['seen'] else ''}</th>"
        + "".join(f'<td class="n">{row[name]:,}</td>' for name in COUNTS)
        + "".join(f'<td class="n">{format_number(row[name])}</td>' for name in metric_names)
        + "</tr>"
        for row in backtest.rows
    )
    return (
        '<section><h2>Chunks</h2><div class="scroll" role="region" tabindex="0" '
        f'aria-label="Chunks"><table><thead><tr>{head_html}</tr></thead>'
        f"<tbody>{body_html}</tbody></table></div></section>"
    )
