"""Random dialects of CSV: the same rows come back, or lines are refused; lines always add up."""

import tempfile
from pathlib import Path
from unittest.mock import patch

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chronotope.contracts.errors import ChronotopeError, DataError
from chronotope.datasets.files.csv_stream import stream_csv
from chronotope.datasets.files.line_accounting import LineCounts, SourceReport
from chronotope.datasets.table_spec import TableSpec

COLUMNS = ("user", "item", "note")
Row = tuple[str, ...]


def read(
    content: bytes, columns: tuple[str, ...] = COLUMNS, read_bytes: int = 64, **options: object
) -> tuple[list[Row], LineCounts, list[tuple[int, str]]]:
    """Rows, counts, and the numbers and texts of refused lines; blocks are tiny."""
    spec = TableSpec.model_validate(
        {"format": "csv", "path": "log.csv", "columns": {f"c{n}": c for n, c in enumerate(columns)}}
        | options
    )
    report = SourceReport()
    with (
        tempfile.TemporaryDirectory() as folder,
        patch("chronotope.datasets.files.text_lines.HEAD_BYTES", 64),
    ):
        path = Path(folder) / "log.csv"
        path.write_bytes(content)
        rows = [
            tuple(row[column] or "" for column in columns)
            for batch in stream_csv(spec, path, report, read_bytes=read_bytes)
            for row in batch.to_pylist()
        ]
    refused = report.take_refused().select(["source_line", "source_text"]).to_pylist()
    return rows, report.totals(), [(line["source_line"], line["source_text"]) for line in refused]


def quoted(value: str, quote: str, escape: str | None, special: str) -> str:
    """A field as a correct writer writes it."""
    if not value or not any(character in value for character in special):
        return value
    if escape:
        value = value.replace(escape, escape * 2)
        return quote + value.replace(quote, escape + quote) + quote
    return quote + value.replace(quote, quote * 2) + quote


WORDS = st.text(st.sampled_from("abÜ東 '\"-\\;,|\t"), max_size=8).map(str.strip)
BREAKS = st.sampled_from(["\n", "\r\n", "\r", " \n\n "])


@st.composite
def logs(draw: st.DrawFn) -> tuple[bytes, list[Row], dict[str, object]]:
    """A file of a correct writer, its rows, and the options that describe its dialect."""
    delimiter = draw(st.sampled_from([",", ";", "\t", "|", "::", "§"]))
    quote = draw(st.sampled_from(['"', "'"]))
    escape = draw(st.sampled_from([None, "\\"]))
    newline = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    encoding = draw(
        st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "gb18030"])
    )
    comment, n_skipped = draw(st.sampled_from([None, "%%"])), draw(st.integers(0, 2))
    header = draw(st.booleans())
    special = f"{delimiter}{quote}\n\r{escape or ''}"
    rows, lines = [], ["skip, me"] * n_skipped
    lines += [delimiter.join(COLUMNS)] * header
    for number in range(draw(st.integers(1, 12))):
        note = draw(WORDS)
        if draw(st.integers(0, 3)) == 0:
            note = note.replace(delimiter, "") + draw(BREAKS) + draw(WORDS).replace(delimiter, "")
        row = (f"u{number}", draw(WORDS) or "i", note.strip())
        rows.append(row)
        lines.append(delimiter.join(quoted(value, quote, escape, special) for value in row))
        if draw(st.integers(0, 5)) == 0:
            lines.append(draw(st.sampled_from(["", "%% a comment" if comment else ""])))
    options: dict[str, object] = {
        "delimiter": delimiter,
        "quote": quote,
        "escape": escape,
        "encoding": encoding,
        "comment": comment,
        "skip_rows": n_skipped,
        "header": header,
        "names": () if header else COLUMNS,
        "skip_initial_space": False,
    }
    return (newline.join(lines) + newline).encode(encoding), rows, options


@settings(max_examples=300, deadline=None)
@given(log=logs(), read_bytes=st.sampled_from([1, 16, 64, 1 << 20]))
def test_rows_of_a_correct_writer_come_back(
    log: tuple[bytes, list[Row], dict[str, object]], read_bytes: int
) -> None:
    content, rows, options = log
    found, counts, refused = read(content, read_bytes=read_bytes, **options)
    assert (found, refused) == (rows, [])
    assert counts.is_balanced
    assert counts.n_rows == len(rows)


STRAY = st.text(st.sampled_from('ab" 12'), min_size=1, max_size=6)


@settings(max_examples=300, deadline=None)
@given(
    rows=st.lists(st.tuples(STRAY, STRAY, STRAY), min_size=1, max_size=30),
    read_bytes=st.sampled_from([1, 64, 1 << 20]),
)
@example(
    rows=[("1", "2", '"Heroes'), ("3", "4", '12" mix'), ("5", "6", '"Weird Al" x')], read_bytes=1
)
@example(rows=[("1", "2", '"a'), ("3", "4", 'b"')], read_bytes=1)
@example(rows=[("1", '"a', "2"), ("3", 'b"', "4")], read_bytes=64)
def test_stray_quotes_never_swallow_a_line(
    rows: list[tuple[str, str, str]], read_bytes: int
) -> None:
    lines = ["user\titem\tnote", *("\t".join(row) for row in rows)]
    found, counts, refused = read(
        "\n".join(lines).encode(), read_bytes=read_bytes, delimiter="tab", max_refused_share=1.0
    )
    assert counts.is_balanced
    assert (len(found), refused) == (len(rows), [])
    for row, found_row in zip(rows, found, strict=True):
        for value, found_value in zip(row, found_row, strict=True):
            is_quoted = len(value) > 1 and value[0] == value[-1] == '"'
            assert found_value in (value, value[1:-1].replace('""', '"') if is_quoted else value)


@settings(max_examples=300, deadline=None)
@given(
    content=st.lists(
        st.sampled_from([b'"', b",", b"a", b"\n", b"\r", b"\\", b"\xe9", b"user,item", b"1"]),
        max_size=60,
    ).map(b"".join),
    quote=st.sampled_from(['"', None]),
    escape=st.sampled_from([None, "\\"]),
)
def test_lines_of_any_bytes_add_up(content: bytes, quote: str | None, escape: str | None) -> None:
    options = {"quote": quote, "escape": escape, "max_refused_share": 1.0}
    results = []
    for read_bytes in (1, 16, 1 << 20):
        try:
            results.append(read(b"user,item\n1,a\n" + content, COLUMNS[:2], read_bytes, **options))
        except DataError as error:
            results.append(str(error).split("log.csv")[0])
    assert all(result == results[0] for result in results)  # wherever blocks end
    assert isinstance(results[0], str) or results[0][1].is_balanced


@pytest.mark.parametrize("position", [0, 299_999, 599_999])
def test_one_stray_quote_in_a_large_file(position: int) -> None:
    rows = [(f"u{number}", f"i{number % 7}", "x") for number in range(600_000)]
    lines = [",".join(row) for row in rows]
    lines[position] = lines[position].replace("x", '"x')
    content = "\n".join([",".join(COLUMNS), *lines]).encode()
    found, counts, refused = read(content, read_bytes=1 << 20)
    rows[position] = (*rows[position][:2], '"x')
    assert found == rows
    assert (counts.n_literal_quotes, counts.n_lines, refused) == (1, 600_001, [])


@pytest.mark.parametrize("tail", ['u,"i', 'u,"i,x,y', '"', 'u,i,"x" y,z', "Total,3"])
def test_a_line_that_nothing_explains_is_refused_alone(tail: str) -> None:
    good = [(f"u{number}", "i", "x") for number in range(5_000)]
    lines = [",".join(row) for row in good]
    content = "\n".join([",".join(COLUMNS), *lines[:10], tail, *lines[10:]]).encode()
    found, counts, refused = read(content)
    assert found == good
    assert refused == [(12, tail)]
    assert counts.is_balanced


def test_too_many_refused_lines_refuse_the_file() -> None:
    content = b"user,item,note\n" + b"1,2,3\n1,2\n" * 6
    with pytest.raises(
        ChronotopeError, match=r"6 of 12 lines.*line 3: 2 columns instead of 3.*'1,2'"
    ):
        read(content)
    assert len(read(content, max_refused_share=0.5)[0]) == 6
    with pytest.raises(ChronotopeError, match="max_refused_share"):
        read(b"user,item,note\n1,2,3\n1,2\n", max_refused_share=0)
