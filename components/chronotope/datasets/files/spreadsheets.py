"""Streaming of the rows of Excel and OpenDocument workbooks."""

import json
import logging
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from itertools import islice
from pathlib import Path
from typing import Final, TypeAlias

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel, TypeAdapter

from chronotope.contracts.errors import SchemaError, SourceError
from chronotope.datasets.columns import check_columns
from chronotope.datasets.files.budget import MAX_COLUMNS, ByteBudget
from chronotope.datasets.table_spec import TableSpec
from chronotope.runtime.regular_files import require_regular

ALL_SHEETS: Final = "*"
"""Value of ``sheet`` that reads every sheet with rows, one after the other."""

_LOG = logging.getLogger(__name__)
_PROBE_TIMEOUT_S: Final = 120.0
_HEADER_ROWS: Final = 50
"""Rows in which the header is looked for, below titles."""

_EXACT_INTEGER: Final = 2**53
_Cell: TypeAlias = object


class _SheetSize(BaseModel):
    """Size of one sheet, as ``workbook_probe`` prints it."""

    name: str
    n_rows: int
    n_columns: int


def stream_workbook(
    table_spec: TableSpec, file_path: Path, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    """Read the needed columns of a workbook's sheet in batches.

    The header is the first row that holds every needed column, of the first 50. Formulas have
    the values that were stored with them, and cells with errors are null. Numbers are integers
    where all of a batch are; a column of texts and numbers is text. Empty rows are skipped.

    Args:
        table_spec: Sheet, columns and limits.
        file_path: The workbook: xlsx, xlsm, xlsb, xls or ods.
        batch_rows: Maximum number of rows of a batch.

    Raises:
        SourceError: The file is no readable workbook, expands beyond its limits, or the sheet is
            missing or not unique; or python-calamine is not installed.
        SchemaError: Columns are missing, or a sheet has more than ``MAX_COLUMNS``.
    """
    try:
        from python_calamine import CalamineError, CalamineWorkbook
    except ImportError:
        raise SourceError(
            "Reading workbooks takes python-calamine, which is not installed",
            received=file_path,
            way_out="Run: pip install 'chronotope[excel]'; or save the sheet as CSV",
        ) from None
    sheet_names = _chosen_sheets(table_spec, file_path)
    try:
        with CalamineWorkbook.from_path(file_path) as workbook:
            for sheet_name in sheet_names:
                sheet_rows = workbook.get_sheet_by_name(sheet_name).iter_rows()
                label = f"sheet {sheet_name!r} of {file_path}"
                yield from _sheet_batches(table_spec, sheet_rows, label, batch_rows)
    except CalamineError as error:
        raise _unreadable(file_path, str(error)) from error


def _sheet_batches(
    table_spec: TableSpec, sheet_rows: Iterator[Sequence[_Cell]], label: str, batch_rows: int
) -> Iterator[pa.RecordBatch]:
    column_names = _header(table_spec, sheet_rows, label)
    positions = [column_names.index(name) for name in table_spec.needed]
    n_skipped = n_blank = 0
    while cell_rows := list(islice(sheet_rows, batch_rows)):
        data_rows = []
        for cell_row in cell_rows:
            if all(cell == "" for cell in cell_row):
                n_blank += 1
            else:
                data_rows.append(cell_row)
                n_skipped = n_blank  # rows below the last one with a value are not counted
        if data_rows:
            columns = [_column([row[position] for row in data_rows]) for position in positions]
            yield pa.RecordBatch.from_arrays(columns, names=list(table_spec.needed))
    if n_skipped:
        _LOG.warning("Skipped %d empty rows in %s", n_skipped, label)


def _header(table_spec: TableSpec, sheet_rows: Iterator[Sequence[_Cell]], label: str) -> list[str]:
    """Column names: the first row that holds all needed ones; else the first that is not empty."""
    first_names: list[str] = []
    for cell_row in islice(sheet_rows, _HEADER_ROWS):
        column_names = [str(_text(cell) or "").strip() for cell in cell_row]
        if set(table_spec.needed) <= set(column_names):
            return column_names
        first_names = first_names or (column_names if any(column_names) else [])
    check_columns(table_spec, [name for name in first_names if name], label)
    raise SchemaError(f"No header in {label}", way_out="Correct columns in the dataset's YAML")


def _column(cells: Sequence[_Cell]) -> pa.Array:
    """Arrow array of a column; text if its cells have several types."""
    values = [None if cell == "" else cell for cell in cells]
    kinds = {type(value) for value in values} - {type(None)}
    if kinds == {bool}:
        return pa.array(values)
    if kinds and kinds <= {int, float}:
        return _numbers(pa.array(values, pa.float64()))
    if kinds <= {date, datetime} and datetime in kinds:
        return pa.array(
            [
                datetime(value.year, value.month, value.day) if type(value) is date else value  # noqa: DTZ001 - wall clocks
                for value in values
            ],
            pa.timestamp("us"),
        )
    if kinds == {date}:
        return pa.array(values, pa.date32())
    return pa.array([_text(value) for value in values], pa.string())


def _numbers(numbers: pa.DoubleArray) -> pa.Array:
    """Workbooks store every number as a float: integers again if all of them are."""
    integers = numbers.cast(pa.int64(), safe=False)
    is_exact = pc.and_(
        pc.equal(integers.cast(pa.float64(), safe=False), numbers),
        pc.less_equal(pc.abs(numbers), float(_EXACT_INTEGER)),
    )
    return integers if pc.all(is_exact).as_py() else numbers


def _text(value: _Cell) -> str | None:
    if value is None or value == "":
        return None
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT_INTEGER:
        return str(int(value))
    return value.isoformat() if isinstance(value, date) else str(value)


def _chosen_sheets(table_spec: TableSpec, file_path: Path) -> list[str]:
    """Names of the sheets to read.

    Raises:
        SourceError: There is no such sheet, or several have rows and none is named.
    """
    sheet_sizes = _sheet_sizes(table_spec, file_path)
    names = [size.name for size in sheet_sizes]
    filled_names = [size.name for size in sheet_sizes if size.n_rows]
    if table_spec.sheet == ALL_SHEETS and filled_names:
        return filled_names
    if isinstance(table_spec.sheet, str) and table_spec.sheet in names:
        return [table_spec.sheet]
    if isinstance(table_spec.sheet, int) and 1 <= table_spec.sheet <= len(names):
        return [names[table_spec.sheet - 1]]
    if table_spec.sheet is None and len(filled_names) == 1:
        return filled_names
    problem_text = "No such sheet" if table_spec.sheet is not None else "Several sheets have rows"
    raise SourceError(
        problem_text if filled_names else "The workbook has no rows",
        received=f"{file_path}: {', '.join(map(repr, names))}",
        way_out="Set sheet in the dataset's YAML to the name of one, or to '*' for all",
    )


def _sheet_sizes(table_spec: TableSpec, file_path: Path) -> list[_SheetSize]:
    """Sizes of all sheets, checked against the limits before the workbook is read here."""
    byte_budget = ByteBudget(require_regular(file_path), table_spec.limits.max_bytes)
    if zipfile.is_zipfile(file_path):
        with zipfile.ZipFile(file_path) as archive:
            byte_budget.spend(sum(member.file_size for member in archive.infolist()))
    probe = subprocess.run(  # noqa: S603 - a script of our own
        [sys.executable, "-P", str(Path(__file__).with_name("workbook_probe.py"))],
        input=json.dumps(str(file_path.resolve())),
        capture_output=True,
        text=True,
        timeout=_PROBE_TIMEOUT_S,
        env=os.environ | {"RUST_BACKTRACE": "0"},
        check=False,
    )
    if probe.returncode:
        failure_lines = [line for line in probe.stderr.splitlines() if line.strip()]
        raise _unreadable(file_path, (failure_lines or [f"signal {-probe.returncode}"])[-1])
    adapter = TypeAdapter(_SheetSize)
    sheet_sizes = [adapter.validate_json(line) for line in probe.stdout.splitlines()]
    for sheet_size in sheet_sizes:
        if sheet_size.n_columns > MAX_COLUMNS:
            raise SchemaError(
                f"A sheet has more than {MAX_COLUMNS:,} columns",
                received=f"{file_path}: {sheet_size.name!r}, {sheet_size.n_columns:,}",
                way_out="Delete the columns that are not needed",
            )
    return sheet_sizes


def _unreadable(file_path: Path, problem: str) -> SourceError:
    return SourceError(
        f"Cannot read {file_path} as a workbook",
        received=problem,
        way_out="Save it as .xlsx without a password, or as CSV; a sheet with cells far apart "
        "takes too much memory",
    )
