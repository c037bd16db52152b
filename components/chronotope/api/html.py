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


def card(title: str, *content_parts: str) -> str:
    """A titled block of HTML.

    Args:
        title: Heading, as text.
        content_parts: HTML of the content.
    """
    title_html = f'<div class="title">{escape(title)}</div>'
    return f'{CSS}<div class="chronotope">{title_html}{"".join(content_parts)}</div>'


def paragraph(line_text: str, *, soft: bool = False) -> str:
    """A line of text."""
    return f"<div{' class=soft' if soft else ''}>{escape(line_text)}</div>"


def table(
    column_names: Sequence[str],
    table_rows: Iterable[Sequence[str]],
    *,
    n_text: int = 1,
    best_rows: Sequence[int] = (),
) -> str:
    """A table; the first ``n_text`` columns are text, the others numbers.

    Args:
        column_names: Names of the columns.
        table_rows: Cells as text.
        n_text: Number of text columns.
        best_rows: Rows in bold.
    """
    column_marks = [
        "" if column_idx < n_text else ' class="n"' for column_idx in range(len(column_names))
    ]
    header_html = "".join(
        f"<th{mark}>{escape(column_name)}</th>"
        for mark, column_name in zip(column_marks, column_names, strict=True)
    )
    row_lines = []
    for row_number, row_cells in enumerate(table_rows):
        row_html = "".join(
            f"<td{column_mark}>{escape(cell_text)}</td>"
            for column_mark, cell_text in zip(column_marks, row_cells, strict=True)
        )
        row_lines.append(f"<tr{' class=best' if row_number in best_rows else ''}>{row_html}</tr>")
    return (
        f"<table><thead><tr>{header_html}</tr></thead><tbody>{''.join(row_lines)}</tbody></table>"
    )
