"""What Parquet files say of themselves, read in a process of its own.

Arrow ends the process, beyond any ``except``, when it meets some kinds of damage in a footer, so
``parquet_stream`` runs this file as a script. It imports nothing of Chronotope.

Reads from standard input a JSON object of ``files`` and ``columns``, and writes a JSON object a
line for each file.
"""

import json
import resource
import sys

import pyarrow.parquet as pq

MAX_MEMORY_BYTES = 8 << 30


def main() -> None:
    """Print rows, columns and sizes of each file."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    bound = MAX_MEMORY_BYTES if hard == resource.RLIM_INFINITY else min(MAX_MEMORY_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_AS, (bound, hard))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    task = json.load(sys.stdin)
    for file in task["files"]:
        sys.stdout.write(json.dumps(_sizes(file, frozenset(task["columns"]))) + "\n")
        sys.stdout.flush()


def _sizes(file: str, columns: frozenset[str]) -> dict[str, int]:
    metadata = pq.read_metadata(file)
    schema = metadata.schema
    needed = [idx for idx in range(metadata.num_columns) if schema.column(idx).path in columns]
    groups = [metadata.row_group(idx) for idx in range(metadata.num_row_groups)]
    chunks = [group.column(idx).total_uncompressed_size for group in groups for idx in needed]
    rows = [group.num_rows for group in groups]
    return {
        "n_rows": metadata.num_rows,
        "n_columns": metadata.num_columns,
        "n_group_rows": sum(rows),
        "least": min([0, *rows, *chunks]),
        "largest_chunk": max(chunks, default=0),
    }


if __name__ == "__main__":
    main()
