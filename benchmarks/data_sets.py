"""Folders of the benchmarks' data sets: one folder for all, and a folder each in it.

docs/data-sets.md lists the source, licence and files of each.
"""

import argparse
import os
from pathlib import Path
from typing import Final

from chronotope.contracts.errors import SourceError
from chronotope.datasets.loading import load_spec
from chronotope.datasets.spec import DatasetSpec

VARIABLE: Final = "CHRONOTOPE_DATA"
DEFAULT_ROOT: Final = Path("data/external")

EXTERNAL: Final = frozenset(
    {"card_payments", "foursquare_nyc", "hospital", "movielens_100k", "oulad_slice"}
)
"""Data sets that have to be downloaded by hand; all others come with a package or are generated."""


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--data`` to a benchmark's options."""
    parser.add_argument(
        "--data",
        type=Path,
        help=f"folder that holds a folder for each data set; by default ${VARIABLE}, "
        f"else {DEFAULT_ROOT}",
    )


def data_root(option: Path | None = None) -> Path:
    """Folder of all data sets: the option, else the environment's, else the default.

    Args:
        option: Value of ``--data``.
    """
    return option or Path(os.environ.get(VARIABLE) or DEFAULT_ROOT)


def data_set_dir(name: str, option: Path | None = None) -> Path:
    """Folder of one data set.

    Args:
        name: Name of the data set, such as ``foursquare_nyc``.
        option: Value of ``--data``.

    Raises:
        SourceError: There is no such folder.
    """
    folder = data_root(option) / name
    if not folder.is_dir():
        raise SourceError(
            f"The data set {name} is missing",
            received=folder,
            way_out="docs/data-sets.md says where to get it and how its files lie; "
            f"name the folder above it by --data or ${VARIABLE}",
        )
    return folder


def load_data_set(name: str, option: Path | None = None) -> DatasetSpec:
    """Specification of a data set, its folder set if it was downloaded by hand.

    Args:
        name: Name in conf/datasets, or the path of a YAML file.
        option: Value of ``--data``.

    Raises:
        SourceError: Its folder is missing.
    """
    return load_spec(name, data_dir=data_set_dir(name, option) if name in EXTERNAL else None)
