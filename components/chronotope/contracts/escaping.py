"""Escaping of untrusted text, one function for each kind of output.

Ids, titles, descriptions and reasons come from datasets and requests. They are shown literally:
no part of them acts as markup, script, terminal control sequence or change of text direction.
"""

import html
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

_CONTROLS: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control characters except tab and newline, Unicode line separators, bidirectional overrides and
isolates, lone surrogates."""

_SPECIAL: Final = re.compile(
    r"[\\`*\[\]|#~$]|(?<![^\W_])_|_(?![^\W_])|:(?=//)|(?<=www)\.", re.IGNORECASE
)
"""Markdown markup that acts anywhere in a line, and characters that turn an address into a link."""

_SPECIAL_AT_START: Final = re.compile(r"^(?=[-+=])|^(\d+)(?=[.)])")


def visible_text(foreign_text: str) -> str:
    r"""Text for a terminal or a log, with control characters written as escape sequences.

    >>> visible_text("a \x1b[31mred \u202eabc")
    'a \\x1b[31mred \\u202eabc'
    """
    return _CONTROLS.sub(lambda match: ascii(match[0])[1:-1], foreign_text)


def visible_line(foreign_text: str) -> str:
    r"""``visible_text`` on one line: every run of white space becomes one blank.

    >>> visible_line("tea\nChampion: none")
    'tea Champion: none'
    """
    return visible_text(" ".join(foreign_text.split()))


def shown_text(foreign_text: str) -> str:
    r"""Text for a message; in quotes, with escape sequences, where a reader could not see it.

    This concerns white space at an end, several blanks in a row, and characters without a glyph
    such as a tab, a no-break space or a zero-width space.

    >>> shown_text("item"), shown_text(" item"), shown_text("\t"), shown_text("\ufeffuser")
    ('item', "' item'", "'\\t'", "'\\ufeffuser'")
    """
    is_plain = foreign_text.isprintable() and foreign_text == " ".join(foreign_text.split())
    return foreign_text if foreign_text and is_plain else repr(foreign_text)


def html_text(foreign_text: str) -> str:
    """Text for HTML, between tags or in a quoted attribute.

    >>> html_text('<b title="x">')
    '&lt;b title=&quot;x&quot;&gt;'
    """
    return html.escape(visible_text(foreign_text))


def markdown_text(foreign_text: str) -> str:
    r"""Text for a paragraph, a heading, a list item or a table cell of Markdown, on one line.

    >>> markdown_text("[a](javascript:x) <b> 2*3")
    '\\[a\\](javascript:x) &lt;b&gt; 2\\*3'
    """
    escaped_line = html.escape(visible_text(" ".join(foreign_text.split())), quote=False)
    escaped_line = _SPECIAL.sub(r"\\\g<0>", escaped_line)
    return _SPECIAL_AT_START.sub(lambda match: f"{match[0]}\\", escaped_line, count=1)


def markdown_rows(table_rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    r"""Rows of a table with text cells and column names escaped for Markdown; numbers unchanged.

    >>> markdown_rows([{"outcome": "[a](javascript:x)", "rows": 1}])
    [{'outcome': '\\[a\\](javascript:x)', 'rows': 1}]
    """
    return [
        {
            markdown_text(column_name): markdown_text(cell_value)
            if isinstance(cell_value, str)
            else cell_value
            for column_name, cell_value in table_row.items()
        }
        for table_row in table_rows
    ]
