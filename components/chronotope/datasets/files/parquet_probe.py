"""Metadata of Parquet files, read in a separate process.

Arrow aborts the process on some kinds of damaged footers, which no ``except`` can catch, so
``parquet_stream`` runs this file as a script. It imports nothing of Chronotope.

Standard input is a JSON object with ``files`` and ``columns``; standard output has one JSON object
a line for each file.
"""

import json
import resource
import sys

import pyarrow.parquet as pq

MAX_MEMORY_BYTES = 8 << 30


def main() -> None:
    """Print the numbers of rows and columns and the sizes of each file."""
    _, hard_limit = resource.getrlimit(resource.RLIMIT_AS)
    memory_limit = (
        MAX_MEMORY_BYTES
        if hard_limit == resource.RLIM_INFINITY
        else min(MAX_MEMORY_BYTES, hard_limit)
    )
    resource.setrlimit(resource.RLIMIT_AS, (memory_limit, hard_limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    probe_task = json.load(sys.stdin)
    for file_name in probe_task["files"]:
        sys.stdout.write(json.dumps(_sizes(file_name, frozenset(probe_task["columns"]))) + "\n")
        sys.stdout.flush()


def _sizes(file_name: str, column_names: frozenset[str]) -> dict[str, int]:
    file_metadata = pq.read_metadata(file_name)
    parquet_schema = file_metadata.schema
    column_indices = [
        column_idx
        for column_idx in range(file_metadata.num_columns)
        if parquet_schema.column(column_idx).path in column_names
    ]
    row_groups = [
        file_metadata.row_group(group_idx) for group_idx in range(file_metadata.num_row_groups)
    ]
    chunk_bytes = [
        group.column(column_idx).total_uncompressed_size
        for group in row_groups
        for column_idx in column_indices
    ]
    group_rows = [group.num_rows for group in row_groups]
    return {
        "n_rows": file_metadata.num_rows,
        "n_columns": file_metadata.num_columns,
        "n_group_rows": sum(group_rows),
        "smallest": min([0, *group_rows, *chunk_bytes]),
        "largest_chunk": max(chunk_bytes, default=0),
    }


if __name__ == "__main__":
    main()
