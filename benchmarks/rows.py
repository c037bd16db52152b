"""Rows of results in a JSON file, replaced when they are measured again; and shared options."""

import argparse
import json
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from chronotope.contracts.errors import ConfigError

Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """Rows of earlier runs; none where there is no file.

    Raises:
        ConfigError: The file has other content; it is not changed.
    """
    if not path.is_file():
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ConfigError(
            "The rows of earlier runs cannot be read", received=path, way_out="Name another file"
        ) from error
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ConfigError("The file holds no rows", received=path, way_out="Name another file")
    return rows


def write_rows(rows: list[Row], path: Path) -> None:
    """Write rows atomically."""
    draft = path.with_suffix(".draft")
    draft.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    draft.replace(path)


def rows_table(title: str, headers: Sequence[str], rows: Sequence[Row]) -> Table:
    """Table of some columns of the rows, numbers with four decimals.

    Args:
        title: Above the table.
        headers: The columns; that of the models is aligned to the left.
        rows: Rows with these columns.
    """
    table = Table(title=title, box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for header in headers:
        table.add_column(header, justify="left" if header == "model" else "right", no_wrap=True)
    for row in rows:
        cells = (row[name] for name in headers)
        table.add_row(*(f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in cells))
    return table


def some_of(known: Collection[str]) -> Callable[[str], list[str]]:
    """Type of an option: names from a comma-separated argument."""

    def names(text: str) -> list[str]:
        chosen = text.split(",")
        unknown = [name for name in chosen if name not in known]
        if unknown:
            raise argparse.ArgumentTypeError(f"unknown {unknown}; choose from {list(known)}")
        return chosen

    return names


def at_least_one(text: str) -> int:
    """Type of an option: a whole number above zero."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be 1 or more, received {number}")
    return number
