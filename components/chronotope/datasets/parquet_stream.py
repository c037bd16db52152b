"""Rows of Parquet files in bounded memory: sizes are looked at before anything is decoded."""

import json
import os
import struct
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pds

from chronotope.contracts.errors import SchemaError, SourceError
from chronotope.datasets.budget import MAX_BATCH_BYTES, MAX_COLUMNS, ByteBudget
from chronotope.datasets.columns import check_columns
from chronotope.datasets.spec import TableSpec
from chronotope.runtime.allowed_paths import require_allowed_path
from chronotope.runtime.regular_files import open_regular, require_regular

MAX_FOOTER_BYTES: Final = 32 << 20
"""Parsed, a footer takes a multiple of its size."""

_PROBE_TIMEOUT_S: Final = 120.0

_TEXT_KINDS: Final = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
)

_END: Final = struct.Struct("<I4s")
"""The last bytes of a file: length of the footer, and what marks it as Parquet."""


def stream_parquet(table: TableSpec, path: Path, batch_rows: int) -> Iterator[pa.RecordBatch]:
    """Batches of the needed columns of a Parquet file, or of a folder of such files.

    Args:
        table: Columns and limits.
        path: The file or folder.
        batch_rows: Most rows of a batch; one of long texts has fewer.

    Raises:
        SourceError: A file is cut short, or expands beyond its limits.
        SchemaError: Columns are missing, too many, or neither text nor numbers.
        OSError, ValueError: One is no such file.
    """
    files = _files(path)
    budget = ByteBudget(sum(map(require_regular, files)), table.limits.max_bytes)
    _require_sound(files, table)
    names = [str(file) for file in files]
    schema = pds.dataset(names, format="parquet").schema
    check_columns(table, schema.names, path)
    texts = _texts(schema, table.needed)
    # As dictionaries: a text that a million rows share is in memory once until they are cut.
    source = pds.dataset(names, format=pds.ParquetFileFormat(dictionary_columns=texts))
    # A scan of the whole reads ahead without bound while batches are worked on.
    for fragment in source.get_fragments():
        for group in fragment.split_by_row_group():
            for batch in group.to_batches(
                schema=source.schema, columns=list(table.needed), batch_size=batch_rows
            ):
                yield from _decoded(batch, budget)


def _files(path: Path) -> list[Path]:
    """The file, or all files below a folder, sorted; names after ``.`` and ``_`` are left out."""
    if not path.is_dir():
        return [path]
    files = sorted(_below(path))
    if not files:
        raise SourceError("The folder holds no files", received=path, way_out="Correct path")
    return [require_allowed_path(file) for file in files]


def _below(folder: Path) -> Iterator[Path]:
    for entry in os.scandir(folder):
        if entry.name.startswith((".", "_")):
            continue
        if entry.is_dir(follow_symlinks=False):
            yield from _below(Path(entry.path))
        else:  # a link to a folder is refused when it is opened: it may lead in a circle
            yield Path(entry.path)


def _require_sound(files: Sequence[Path], table: TableSpec) -> None:
    """Refuse files whose own numbers cannot be, or are too large, before Arrow acts on them."""
    for file in files:
        _require_footer(file)
    task = {"files": [str(file.resolve()) for file in files], "columns": table.needed}
    probe = subprocess.run(  # noqa: S603 - a script of our own
        [sys.executable, "-P", str(Path(__file__).with_name("parquet_probe.py"))],
        input=json.dumps(task),
        capture_output=True,
        text=True,
        timeout=_PROBE_TIMEOUT_S,
        check=False,
    )
    lines = probe.stdout.splitlines()
    for file, line in zip(files, lines, strict=False):
        _require_sizes(file, json.loads(line), table)
    if len(lines) < len(files):
        why = probe.stderr.strip().splitlines() or [f"signal {-probe.returncode}"]
        raise _unsound(files[len(lines)], why[-1])


def _require_sizes(file: Path, sizes: dict[str, int], table: TableSpec) -> None:
    if sizes["n_columns"] > MAX_COLUMNS:
        raise SchemaError(
            f"The file has more than {MAX_COLUMNS:,} columns",
            received=f"{file}: {sizes['n_columns']:,}",
            way_out="Deliver the needed columns alone",
        )
    if sizes["least"] < 0 or sizes["n_rows"] != sizes["n_group_rows"]:
        raise _unsound(file, f"{sizes['n_rows']:,} rows, {sizes['n_group_rows']:,} in its parts")
    ByteBudget(require_regular(file), table.limits.max_bytes).spend(sizes["largest_chunk"])


def _require_footer(path: Path) -> None:
    with open_regular(path) as file:
        size = file.seek(0, os.SEEK_END)
        if size < _END.size + len(b"PAR1"):
            raise _unsound(path, f"{size} bytes")
        file.seek(-_END.size, os.SEEK_END)
        n_footer, mark = _END.unpack(file.read(_END.size))
    if mark not in (b"PAR1", b"PARE"):
        raise _unsound(path, f"it ends with {mark!r} instead of b'PAR1'")
    if n_footer > min(size - _END.size, MAX_FOOTER_BYTES):
        raise _unsound(path, f"a footer of {n_footer:,} bytes")


def _unsound(path: Path, why: str) -> SourceError:
    return SourceError(
        f"Cannot read {path} as parquet",
        received=why,
        way_out="The file may be cut short, damaged or of another format: deliver it again",
    )


def _texts(schema: pa.Schema, needed: Sequence[str]) -> list[str]:
    """The needed columns that hold texts or bytes.

    Raises:
        SchemaError: A needed column is a list or another nested type.
    """
    for name in needed:
        kind = schema.field(name).type
        value = kind.value_type if pa.types.is_dictionary(kind) else kind
        if pa.types.is_nested(value):
            raise SchemaError(
                f"Column {name!r} cannot be read as text",
                received=kind,
                way_out="Map a column of text or numbers, or correct the source",
            )
    return [name for name in needed if _is_text(schema.field(name).type)]


def _is_text(kind: pa.DataType) -> bool:
    value = kind.value_type if pa.types.is_dictionary(kind) else kind
    return any(is_kind(value) for is_kind in _TEXT_KINDS)


def _decoded(batch: pa.RecordBatch, budget: ByteBudget) -> Iterator[pa.RecordBatch]:
    """The batch with texts instead of dictionaries, cut where it would be too large."""
    batch.validate(full=True)  # Arrow takes indices and UTF-8 of a file on trust
    if not batch.num_rows:
        return
    n_bytes = _row_bytes(batch)
    budget.spend(int(n_bytes.sum()))
    part = np.cumsum(n_bytes) // MAX_BATCH_BYTES
    starts = np.flatnonzero(np.diff(part, prepend=-1))
    for start, end in zip(starts, [*starts[1:], batch.num_rows], strict=True):
        rows = batch.slice(start, end - start)
        columns = [
            column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
            for column in rows.columns
        ]
        yield pa.RecordBatch.from_arrays(columns, names=batch.schema.names)


def _row_bytes(batch: pa.RecordBatch) -> npt.NDArray[np.int64]:
    """Bytes of each row once its texts are decoded, shape (n_rows,)."""
    n_bytes = np.zeros(batch.num_rows, dtype=np.int64)
    for column in batch.columns:
        if pa.types.is_dictionary(column.type) and _is_text(column.type):
            lengths = pc.binary_length(column.dictionary).fill_null(0).to_numpy()
            if len(lengths):
                n_bytes += lengths[column.indices.fill_null(0).to_numpy()]
        else:
            n_bytes += -(-column.nbytes // batch.num_rows)
    return n_bytes
