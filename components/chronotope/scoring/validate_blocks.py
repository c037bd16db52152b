"""Validation of staged blocks before they replace the predictions table."""

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from chronotope.contracts import columns as c
from chronotope.contracts.errors import ValidationFailed
from chronotope.validation import check_table, find_suites_folder
from chronotope.validation.prediction_columns import derive_prediction_columns

SUITE: Final = "predictions.json"
"""File of the expectation suite."""

_PACKAGE_PARENTS: Final = Path(__file__).parents[2:4]
"""Folders that hold expectations: beside the package where it is installed, or of the checkout."""


def find_suite(suites: Path, root: Path) -> Path:
    """File of the suite: below the project root, the working folder, or the installation.

    Args:
        suites: Folder of the suites; an absolute one is the only place.
        root: Project root.

    Raises:
        ConfigError: There is none; the message names the places searched.
    """
    parent_dirs = (root, Path(), *_PACKAGE_PARENTS)
    return find_suites_folder(suites, parent_dirs, suite_file=SUITE) / SUITE


def validate_blocks(
    block_paths: Sequence[Path],
    known_items: pa.Array,
    suite_path: Path,
    *,
    is_reranked: bool = False,
) -> None:
    """Check every block against the suite.

    Args:
        block_paths: Parquet files of the blocks.
        known_items: Item ids of the model.
        suite_path: JSON file of the suite.
        is_reranked: Whether the lists are not ordered by probability alone.

    Raises:
        ConfigError: The suite cannot be read.
        ValidationFailed: Some rows fail a critical expectation.
    """
    check = check_table(
        suite_path,
        derive=lambda rows: derive_prediction_columns(rows, known_items, is_reranked=is_reranked),
    )
    for block_path in block_paths:
        rows = pq.read_table(block_path)
        if not len(rows):  # every user of the block has had every item
            continue
        validation = check(rows)
        if not len(validation.failing):
            continue
        reason_texts = pa.chunked_array(validation.failing[c.REASONS]).combine_chunks().flatten()
        user_ids = rows[c.USER_ID].take(validation.failing["row"]).unique().to_pylist()
        raise ValidationFailed(
            f"{len(validation.failing):,} rows of predictions fail the suite {validation.suite!r}",
            received=f"{'; '.join(reason_texts.unique().to_pylist())}, of users {user_ids[:3]}",
            way_out="The present table was not changed; roll back the model or correct "
            f"{suite_path}, and run again",
        )
