"""The page of a replayed period: how well each part of it was foreseen."""

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
COUNTS = ("n_read", "n_new", "n_duplicates", "n_quarantined", "n_targets")


@dataclass(frozen=True, slots=True)
class BacktestData:
    """What a replay measured.

    Attributes:
        dataset: Its name.
        facts: Who predicted what by which protocol.
        rows: A row a chunk: ``from``, ``seen``, counts and metrics, None where there is none.
        overall: The metrics over all chunks that were not seen in training.
        generated_at: When the page was made.
    """

    dataset: str
    facts: Sequence[str]
    rows: Sequence[dict[str, Any]]
    overall: dict[str, float | None]
    generated_at: datetime


def render_backtest(data: BacktestData) -> str:
    """Render the page; every text in it is escaped.

    Args:
        data: What the replay measured.

    Returns:
        A complete HTML document with inline style and drawings, and no script.
    """
    title = f"Chronotope: {data.dataset}, replayed"
    parts = (
        _summary(data),
        _drawing("Over time", SHOWN, data),
        _drawing("Returns and discoveries", APART, data),
    )
    return html_document(title, data.facts, data.generated_at, "".join((*parts, _table(data))))


def _summary(data: BacktestData) -> str:
    n_seen = sum(row["seen"] for row in data.rows)
    told = ", ".join(
        f"{metric_label(name)} {format_number(data.overall[name])}" for name in (*SHOWN, *APART)
    )
    n = format_number(data.overall["n_targets"], 0)
    seen = (
        f"<p>{n_seen} of {len(data.rows)} chunks begin before the end of what the model was "
        "trained on. They are drawn hollow, and left out of the means: they are no test.</p>"
        if n_seen
        else ""
    )
    return f"<section><h2>All of it</h2><p>{html_text(told)}; {n} targets.</p>{seen}</section>"


def _drawing(heading: str, names: Sequence[str], data: BacktestData) -> str:
    lines = [Line(metric_label(name), [row[name] for row in data.rows]) for name in names]
    labels = [str(row["from"])[:10] for row in data.rows]
    hollow = [bool(row["seen"]) for row in data.rows]
    drawn = metric_lines(lines, labels, hollow, f"{heading}: {', '.join(of.name for of in lines)}")
    return (
        f"<section><h2>{heading}</h2><figure>{drawn}"
        f"<figcaption>{legend(lines)}</figcaption></figure></section>"
    )


def _table(data: BacktestData) -> str:
    names = (*SHOWN, *APART)
    heads = ["from", *(name.removeprefix("n_") for name in COUNTS), *map(metric_label, names)]
    head = "".join(
        f'<th scope="col"{" class=n" if i else ""}>{html_text(h)}</th>' for i, h in enumerate(heads)
    )
    body = "".join(
        f'<tr><th scope="row">{html_text(str(row["from"]))}'
        f"{' (seen in training)' if row['seen'] else ''}</th>"
        + "".join(f'<td class="n">{row[name]:,}</td>' for name in COUNTS)
        + "".join(f'<td class="n">{format_number(row[name])}</td>' for name in names)
        + "</tr>"
        for row in data.rows
    )
    return (
        '<section><h2>Chunks</h2><div class="scroll" role="region" tabindex="0" '
        f'aria-label="Chunks"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div></section>"
    )
