"""Streaming of CSV files in bounded memory; each line is read, refused, or no data."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.csv as pcsv

from chronotope.contracts.errors import SourceError
from chronotope.datasets.files.csv_blocks import CsvBlock, clean_block
from chronotope.datasets.files.csv_header import CsvHeader, read_header
from chronotope.datasets.files.decompression import buffered, open_decompressed
from chronotope.datasets.files.file_signatures import HEAD_BYTES, require_text
from chronotope.datasets.files.line_accounting import FileAccount, SourceReport, file_account
from chronotope.datasets.files.text_lines import READ_BYTES, LineBlock, LineReader
from chronotope.datasets.table_spec import TableSpec

_ARROW_QUOTE: Final = '"'


def stream_csv(
    table_spec: TableSpec,
    file_path: Path,
    source_report: SourceReport | None = None,
    *,
    read_bytes: int = READ_BYTES,
) -> Iterator[pa.RecordBatch]:
    """Read the needed columns of a CSV file in batches; every column is text.

    Args:
        table_spec: Encoding, delimiter, columns and limits.
        file_path: Path of the file; its first bytes tell the compression.
        source_report: Report that gets the counts of lines and the refused lines; None if nobody
            stores them, so that the first refused line is an error.
        read_bytes: Number of bytes that are read and parsed at a time.

    Raises:
        SourceError: The file is no text, cut short or too large, or too many lines are refused.
        SchemaError: Columns are missing, ambiguous or too many.
        OSError, ValueError: The file cannot be read.
    """
    with (
        open_decompressed(file_path, table_spec.limits.max_bytes) as byte_reader,
        file_account(file_path, table_spec, source_report) as account,
    ):
        head = byte_reader.read(HEAD_BYTES)
        require_text(head, file_path, "csv")
        line_reader = LineReader(
            buffered(byte_reader, head), table_spec.encoding, file_path, read_bytes
        )
        header, first_block = _read_header(table_spec, line_reader, account, file_path)
        if header is None or first_block is None:
            return
        block: LineBlock | None = first_block
        while block is not None:
            csv_block = clean_block(block, header, table_spec.comment, table_spec.encoding)
            if csv_block.n_lines < len(block):
                line_reader.put_back(block.rest(csv_block.n_lines))
            yield _parsed(csv_block, header, file_path)
            _account_for(csv_block, block, account)
            block = line_reader.next_block()


def _read_header(
    table_spec: TableSpec, line_reader: LineReader, account: FileAccount, file_path: Path
) -> tuple[CsvHeader | None, LineBlock | None]:
    """Header of the file, and the lines of its block that follow."""
    for block in line_reader.blocks():
        n_before = account.counts.n_lines
        header = read_header(table_spec, block, account.counts, file_path)
        if header is not None:
            account.counts.n_lines = n_before + header.n_lines
            return header, block.rest(header.n_lines)
        account.counts.n_lines += len(block)
    return None, None


def _account_for(csv_block: CsvBlock, block: LineBlock, account: FileAccount) -> None:
    counts = account.counts
    counts.n_lines += csv_block.n_lines
    counts.n_blank += csv_block.n_blank
    counts.n_comment += csv_block.n_comment
    counts.n_rows += csv_block.n_rows
    counts.n_row_lines += csv_block.n_row_lines
    counts.n_multiline_rows += csv_block.n_multiline_rows
    counts.n_literal_quotes += csv_block.n_literal_quotes
    for line_idx, reason in csv_block.refused:
        account.refuse(block.first_line + line_idx, block.text(line_idx), reason)


def _parsed(csv_block: CsvBlock, header: CsvHeader, file_path: Path) -> pa.RecordBatch:
    """Rows of a block, parsed by Arrow."""
    column_names = [str(column) for column in range(header.n_columns)]
    needed_columns = list(dict.fromkeys(str(position) for position in header.positions.values()))
    output_schema = pa.schema([pa.field(name, pa.string()) for name in header.positions])
    if csv_block.n_rows == 0:
        return pa.RecordBatch.from_pylist([], schema=output_schema)
    parsed_table = pcsv.read_csv(
        pa.BufferReader(csv_block.data),
        pcsv.ReadOptions(
            column_names=column_names, block_size=len(csv_block.data) + 1, use_threads=False
        ),
        pcsv.ParseOptions(
            delimiter=csv_block.delimiter.decode("latin-1"),
            quote_char=csv_block.quote.decode("latin-1") if csv_block.quote else False,
            newlines_in_values=csv_block.n_multiline_rows > 0,
        ),
        pcsv.ConvertOptions(
            check_utf8=False,  # checked when the lines were split
            include_columns=needed_columns,
            column_types=dict.fromkeys(needed_columns, pa.string()),
            null_values=[""],
            strings_can_be_null=True,
        ),
    )
    if parsed_table.num_rows != csv_block.n_rows:
        raise SourceError(
            f"The rows of {file_path} do not add up",
            received=f"{parsed_table.num_rows} instead of {csv_block.n_rows}",
            way_out="Report this as a bug of Chronotope, with the file if you may",
        )
    columns = [
        parsed_table.column(str(position)).combine_chunks()
        for position in header.positions.values()
    ]
    return pa.RecordBatch.from_arrays(columns, schema=output_schema)
