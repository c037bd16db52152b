"""HTML building blocks of every page: sections, tables, figures, estimates."""

from collections.abc import Sequence

from chronotope.contracts.escaping import html_text
from chronotope.report.formatting import format_number
from chronotope.report.report_data import Estimate

Row = tuple[Sequence[str], bool]
"""Cells, HTML already escaped, and whether the row is highlighted."""


def section(section_heading: str, *html_parts: str) -> str:
    """A section of a page; the parts are HTML."""
    return f"<section><h2>{html_text(section_heading)}</h2>{''.join(html_parts)}</section>"


def table(caption_text: str, column_heads: Sequence[str], table_rows: Sequence[Row]) -> str:
    """A table whose first column names the row; cells are HTML already escaped."""
    head_html = "".join(
        f'<th scope="col"{" class=n" if i else ""}>{html_text(h)}</th>'
        for i, h in enumerate(column_heads)
    )
    body_html = "".join(
        f'<tr{" class=win" if win else ""}><th scope="row">{row_cells[0]}</th>'
        + "".join(f'<td class="n">{cell}</td>' for cell in row_cells[1:])
        + "</tr>"
        for row_cells, win in table_rows
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{html_text(caption_text)}">'
        f"<table><caption>{html_text(caption_text)}</caption>"
        f"<thead><tr>{head_html}</tr></thead><tbody>{body_html}</tbody></table></div>"
    )


def figure(svg_html: str, caption_text: str) -> str:
    """A drawing with its caption, which is HTML."""
    return f"<figure>{svg_html}<figcaption>{caption_text}</figcaption></figure>"


def estimate(measured: Estimate | None) -> str:
    """A number with its interval below it, if there is one."""
    if measured is None:
        return format_number(None)
    if measured.low is None or measured.high is None:
        return format_number(measured.value)
    interval_text = f"{format_number(measured.low)}\N{EN DASH}{format_number(measured.high)}"
    return f"{format_number(measured.value)}<small>{interval_text}</small>"
