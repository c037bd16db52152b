"""Workbooks as sources: types of cells, headers, sheets, and files that are none."""

import logging
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from xml.sax.saxutils import escape

import pyarrow as pa
import pytest

from chronotope.contracts.errors import SchemaError, SourceError
from chronotope.datasets.files import budget
from chronotope.datasets.readers import read_events
from tests.datasets.test_readers import make_spec

pytest.importorskip("python_calamine", reason="needs python-calamine: the extra `excel`")

MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
OFFICE = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"
STYLES = (
    f'<styleSheet xmlns="{MAIN}"><cellXfs><xf numFmtId="0"/><xf numFmtId="22"/></cellXfs>'
    "</styleSheet>"
)
NOON = 45355.5
"""2024-03-04 12:00 as a day number of Excel."""

HEADER = ("who", "what", "when")


class Day(float):
    """A number that is formatted as a date and time."""


class Formula(float):
    """A number that a formula has."""


def cell(value: object, reference: str) -> str:
    if value is None:
        return ""
    if isinstance(value, str) and value.startswith("#"):
        return f'<c r="{reference}" t="e"><v>{value}</v></c>'
    if isinstance(value, str):
        text = f'<is><t xml:space="preserve">{escape(value)}</t></is>'
        return f'<c r="{reference}" t="inlineStr">{text}</c>'
    if isinstance(value, Formula):
        return f'<c r="{reference}"><f>1+1</f><v>{float(value)!r}</v></c>'
    if isinstance(value, Day):
        return f'<c r="{reference}" s="1"><v>{float(value)!r}</v></c>'
    return f'<c r="{reference}"><v>{value!r}</v></c>'


def write_workbook(path: Path, **sheets: Sequence[Sequence[object]]) -> Path:
    """Write an xlsx file by hand, so that tests need no package that writes it."""
    names = list(sheets)
    listed = "".join(
        f'<sheet name="{name}" sheetId="{i}" r:id="r{i}"/>' for i, name in enumerate(names, 1)
    )
    relations = "".join(
        f'<Relationship Id="r{i}" Type="{OFFICE}/worksheet" Target="worksheets/s{i}.xml"/>'
        for i, _ in enumerate(names, 1)
    )
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(
            "_rels/.rels",
            f'<Relationships xmlns="{PACKAGE}"><Relationship Id="r0" '
            f'Type="{OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>',
        )
        archive.writestr(
            "xl/workbook.xml",
            f'<workbook xmlns="{MAIN}" xmlns:r="{OFFICE}"><sheets>{listed}</sheets></workbook>',
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels",
            f'<Relationships xmlns="{PACKAGE}">{relations}<Relationship Id="s" '
            f'Type="{OFFICE}/styles" Target="styles.xml"/></Relationships>',
        )
        archive.writestr("xl/styles.xml", STYLES)
        for i, name in enumerate(names, 1):
            rows = "".join(
                f'<row r="{y}">'
                + "".join(cell(value, f"{chr(65 + x)}{y}") for x, value in enumerate(row))
                + "</row>"
                for y, row in enumerate(sheets[name], 1)
            )
            archive.writestr(
                f"xl/worksheets/s{i}.xml",
                f'<worksheet xmlns="{MAIN}"><sheetData>{rows}</sheetData></worksheet>',
            )
    return path


def read(folder: Path, **more: object) -> pa.Table:
    spec = make_spec(folder, **{"format": "excel", "path": "log.xlsx"} | more)
    return pa.concat_tables(read_events(spec))


def test_numbers_texts_and_dates_are_what_the_sheet_shows(tmp_path: Path) -> None:
    rows = [
        HEADER,
        (17850, "85123A", Day(NOON)),
        (Formula(17851), 71053, Day(45356.0)),
        (None, "007", "#N/A"),
        (2**53, " x ", Day(45357.25)),
    ]
    write_workbook(tmp_path / "log.xlsx", log=rows)
    table = read(tmp_path)
    assert table["user_id"].type == pa.int64()
    assert table["user_id"].to_pylist() == [17850, 17851, None, 2**53]
    assert table["item_id"].to_pylist() == ["85123A", "71053", "007", " x "]
    times = table["occurred_at"].cast(pa.string()).to_pylist()
    assert times == [
        "2024-03-04 12:00:00.000000",
        "2024-03-05 00:00:00.000000",
        None,
        "2024-03-06 06:00:00.000000",
    ]


def test_numbers_with_fractions_stay_numbers(tmp_path: Path) -> None:
    rows = [(*HEADER, "price"), (1, "a", 10, 2.5), (2, "b", 20, None), (3, "c", 30, 4)]
    write_workbook(tmp_path / "log.xlsx", log=rows)
    columns = {"user_id": "who", "item_id": "what", "occurred_at": "when", "value": "price"}
    assert read(tmp_path, columns=columns)["value"].to_pylist() == [2.5, None, 4.0]


def test_titles_above_and_empty_rows_between_are_no_events(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    rows = [("Report of March",), (), HEADER, (1, "a", 10), (), (None, None, None), (2, "b", 20)]
    write_workbook(tmp_path / "log.xlsx", log=[*rows, (), ()])
    with caplog.at_level(logging.WARNING):
        assert read(tmp_path)["user_id"].to_pylist() == [1, 2]
    assert "Skipped 2 empty rows" in caplog.text


def test_a_sheet_is_chosen_by_name_or_number(tmp_path: Path) -> None:
    write_workbook(tmp_path / "log.xlsx", a=[HEADER, (1, "a", 1)], b=[HEADER, (2, "b", 2)], c=[])
    assert read(tmp_path, sheet="b")["user_id"].to_pylist() == [2]
    assert read(tmp_path, sheet=1)["user_id"].to_pylist() == [1]
    assert read(tmp_path, sheet="*")["user_id"].to_pylist() == [1, 2]
    with pytest.raises(SourceError, match=r"Several sheets have rows.*'a', 'b', 'c'.*Set sheet"):
        read(tmp_path)
    with pytest.raises(SourceError, match=r"No such sheet.*'a', 'b', 'c'"):
        read(tmp_path, sheet="d")


def test_an_empty_sheet_beside_the_log_is_not_asked_about(tmp_path: Path) -> None:
    write_workbook(tmp_path / "log.xlsx", log=[HEADER, (1, "a", 1)], Sheet2=[])
    assert read(tmp_path)["user_id"].to_pylist() == [1]


def test_a_missing_column_is_named_with_those_of_the_sheet(tmp_path: Path) -> None:
    write_workbook(tmp_path / "log.xlsx", log=[("who", "when"), (1, 10)])
    with pytest.raises(
        SchemaError, match=r"sheet 'log' of .*log\.xlsx: what\. Received: who, when"
    ):
        read(tmp_path)


def test_a_folder_of_workbooks(tmp_path: Path) -> None:
    (tmp_path / "by-month").mkdir()
    for month in (2, 1):
        rows = [HEADER, (month, "a", 10)]
        write_workbook(tmp_path / "by-month" / f"{month}.xlsx", log=rows)
    (tmp_path / "by-month" / "~$1.xlsx").write_text("lock")
    assert read(tmp_path, path="by-month")["user_id"].to_pylist() == [1, 2]


@pytest.mark.parametrize("content", [b"who,what,when\n1,a,10\n", b"PK\x03\x04 damaged", b"<html>"])
def test_what_is_no_workbook_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "log.xlsx").write_bytes(content)
    with pytest.raises(SourceError, match=r"Cannot read .*log\.xlsx as a workbook"):
        read(tmp_path)


def test_cells_far_apart_and_bombs_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_workbook(tmp_path / "log.xlsx", log=[HEADER])
    sheet = f'<worksheet xmlns="{MAIN}"><sheetData><row r="1"><c r="A1"><v>1</v></c></row>'
    sheet += '<row r="1048576"><c r="XFD1048576"><v>1</v></c></row></sheetData></worksheet>'
    replace_sheet(path, sheet)
    with pytest.raises(SourceError, match="cells far apart"):
        read(tmp_path)
    monkeypatch.setattr(budget, "FREE_BYTES", 1 << 20)
    replace_sheet(path, " " * (8 << 20) + sheet)
    with pytest.raises(SourceError, match="expands to more than"):
        read(tmp_path)


def replace_sheet(path: Path, sheet: str) -> None:
    with zipfile.ZipFile(path) as archive:
        contents = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in (contents | {"xl/worksheets/s1.xml": sheet.encode()}).items():
            archive.writestr(name, content)


def test_the_extra_is_named_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_workbook(tmp_path / "log.xlsx", log=[HEADER, (1, "a", 10)])
    monkeypatch.setitem(sys.modules, "python_calamine", None)
    with pytest.raises(SourceError, match=r"pip install 'chronotope\[excel\]'"):
        read(tmp_path)
