"""What every page is made of: sections, tables, figures, estimates; each returns HTML."""

from collections.abc import Sequence

from chronotope.contracts.escaping import html_text
from chronotope.report.formatting import format_number
from chronotope.report.report_data import Estimate

Row = tuple[Sequence[str], bool]
"""Cells, HTML already escaped, and whether the row is highlighted."""


def section(heading: str, *parts: str) -> str:
    """A section of a page; the parts are HTML."""
    return f"<section><h2>{html_text(heading)}</h2>{''.join(parts)}</section>"


def table(caption: str, heads: Sequence[str], rows: Sequence[Row]) -> str:
    """A table whose first column names the row; cells are HTML already escaped."""
    head = "".join(
        f'<th scope="col"{" class=n" if i else ""}>{html_text(h)}</th>' for i, h in enumerate(heads)
    )
    body = "".join(
        f'<tr{" class=win" if win else ""}><th scope="row">{cells[0]}</th>'
        + "".join(f'<td class="n">{cell}</td>' for cell in cells[1:])
        + "</tr>"
        for cells, win in rows
    )
    return (
        f'<div class="scroll" role="region" tabindex="0" aria-label="{html_text(caption)}">'
        f"<table><caption>{html_text(caption)}</caption>"
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def figure(svg: str, caption: str) -> str:
    """A drawing with its caption, which is HTML."""
    return f"<figure>{svg}<figcaption>{caption}</figcaption></figure>"


def estimate(of: Estimate | None) -> str:
    """A number with its interval below it, if there is one."""
    if of is None:
        return format_number(None)
    if of.low is None or of.high is None:
        return format_number(of.value)
    span = f"{format_number(of.low)}\N{EN DASH}{format_number(of.high)}"
    return f"{format_number(of.value)}<small>{span}</small>"
