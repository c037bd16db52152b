"""Tables of rich representations, which notebooks show for ``_repr_html_``."""

from collections.abc import Iterable, Sequence
from html import escape
from typing import Final

CSS: Final = (
    "<style>.chronotope{font:14px/1.45 system-ui,sans-serif;max-width:60rem}"
    ".chronotope table{border-collapse:collapse;margin:.4em 0;font-size:13px}"
    ".chronotope th,.chronotope td{padding:.2em .7em;border-bottom:1px solid #8884;"
    "text-align:left;vertical-align:top}"
    ".chronotope td.n,.chronotope th.n{text-align:right;font-variant-numeric:tabular-nums}"
    ".chronotope tr.best td{font-weight:650}.chronotope .soft{opacity:.65;font-weight:400}"
    ".chronotope .title{font-weight:650;font-size:15px}</style>"
)
"""Style of a representation: light and dark by inheriting the notebook's colours."""


def card(title: str, *parts: str) -> str:
    """A titled block of HTML.

    Args:
        title: Heading, as text.
        parts: HTML of the content.
    """
    heading = f'<div class="title">{escape(title)}</div>'
    return f'{CSS}<div class="chronotope">{heading}{"".join(parts)}</div>'


def paragraph(text: str, *, soft: bool = False) -> str:
    """A line of text."""
    return f"<div{' class=soft' if soft else ''}>{escape(text)}</div>"


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[str]],
    *,
    n_text: int = 1,
    best_rows: Sequence[int] = (),
) -> str:
    """A table; the first ``n_text`` columns are text, the others numbers.

    Args:
        header: Names of the columns.
        rows: Cells as text.
        n_text: Number of text columns.
        best_rows: Rows in bold.
    """
    marks = ["" if column < n_text else ' class="n"' for column in range(len(header))]
    head = "".join(
        f"<th{mark}>{escape(name)}</th>" for mark, name in zip(marks, header, strict=True)
    )
    lines = []
    for row_number, row in enumerate(rows):
        cells = "".join(f"<td{m}>{escape(cell)}</td>" for m, cell in zip(marks, row, strict=True))
        lines.append(f"<tr{' class=best' if row_number in best_rows else ''}>{cells}</tr>")
    return f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(lines)}</tbody></table>"
