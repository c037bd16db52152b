"""Whatever a foreign text holds, each kind of output shows it and nothing happens."""

import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from chronotope.contracts.escaping import html_text, markdown_rows, markdown_text, visible_text

HOSTILE = (
    "<img src=x onerror=alert(1)>",
    '"><script>alert(1)</script>',
    "[x](javascript:alert(1))",
    "![x](http://192.0.2.1/x.png)",
    "<javascript:alert(1)>",
    "http://192.0.2.1/ WWW.example.org https://example.org",
    "${7*7} {{7*7}} $x$",
    "`a` ~~b~~ __c__ **d** \\*e\\* &lt;f&gt; &#60; a|b",
    "1. one",
    "2) two",
    "- dash",
    "+ plus",
    "---",
    "===",
    "# head #",
    "> quote",
    "```",
    "[ ] to do",
    "[x]: http://192.0.2.1/",
    "line\n\n# head\n\n    code",
)
PROJECT = Path(__file__).parents[2]
MARKDOWN = MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"])


class Texts(HTMLParser):
    """Collects tags and text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def hostile(test: Callable[[str], None]) -> Callable[[], None]:
    """A test on any text, and on each of these."""
    for text in HOSTILE:
        test = example(text=text)(test)
    return given(text=st.text(max_size=60))(test)


@hostile
def test_markdown_shows_the_text_and_nothing_else(text: str) -> None:
    plain = visible_text(" ".join(text.split()))
    shapes = {
        "before\n{}": ["p"],
        "- {}": ["ul", "li"],
        "# {}": ["h1"],
        "| a |\n|---|\n| {} |": ["table", "thead", "tr", "th", "tbody", "tr", "td"],
    }
    for shape, tags in shapes.items():
        shown = Texts(MARKDOWN.render(shape.format(markdown_text(text))))
        assert shown.tags == tags, shape
        assert shown.text.split() == [
            *Texts(MARKDOWN.render(shape.format(""))).text.split(),
            *plain.split(),
        ]


@hostile
def test_html_shows_the_text_and_nothing_else(text: str) -> None:
    shown = Texts(f'<i title="{html_text(text)}">{html_text(text)}</i>')
    assert shown.tags == ["i"]
    assert shown.text == visible_text(text)


def test_rows_are_escaped_but_for_numbers() -> None:
    rows = [{"[a]": "<b>", "n": 1, "share": 0.5, "none": None}]
    expected = [{r"\[a\]": "&lt;b&gt;", "n": 1, "share": 0.5, "none": None}]
    assert markdown_rows(rows) == expected


def test_no_flow_shows_rows_that_are_not_escaped() -> None:
    source = "".join(path.read_text("utf-8") for path in (PROJECT / "flows").glob("*.py"))
    tables = re.findall(r"create_table_artifact\(\s*(\w+)\(", source)
    assert len(tables) == len(re.findall(r"create_table_artifact\(", source)) >= 6
    assert set(tables) == {"markdown_rows"}


@pytest.mark.parametrize("text", ["\x1b]0;title\x07", "\x9b31m", "\u202eabc", "\u2066a", "\ud800"])
def test_what_acts_without_being_seen_is_written_out(text: str) -> None:
    shown = visible_text(text)
    assert shown.isprintable()
    shown.encode()


def test_ordinary_text_stays_as_it_is() -> None:
    text = "Café «Zürich», 東京, שלום\t\N{WOMAN}\N{ZERO WIDTH JOINER}\N{ROCKET}\nnext"
    assert visible_text(text) == text
