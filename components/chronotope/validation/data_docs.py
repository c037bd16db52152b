"""Great Expectations' own pages, for those who want to browse them."""

import shutil
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pyarrow as pa

from chronotope.contracts.errors import StoreError
from chronotope.validation.derived_columns import derive_columns
from chronotope.validation.gx_context import batch_definition, load_suite, open_context
from chronotope.validation.suite import time_parameters


def build_docs(
    suite_path: Path,
    rows: pa.Table,
    folder: Path,
    *,
    now: datetime,
    known_items: pa.Array | None = None,
) -> Path:
    """Validate rows once more in a file context and build Data Docs, in place of earlier ones.

    The pages load styles from the web; without a network they are plain.

    Args:
        suite_path: The suite's JSON.
        rows: A sample of the rows to show.
        folder: Where the pages go; replaced whole, so that a kill leaves the earlier ones.
        now: Instant of the check, with a zone.
        known_items: Item ids of the lake; None skips the check of references.

    Returns:
        The path of index.html.

    Raises:
        ConfigError: The suite cannot be read.
        StoreError: The disk refused.
    """
    suite = load_suite(suite_path)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".docs-", dir=folder.parent) as scratch:
            site = _site(suite, derive_columns(rows, known_items), Path(scratch), now)
            shutil.rmtree(folder, ignore_errors=True)
            site.rename(folder)
    except OSError as error:
        raise StoreError(
            "The data docs could not be written",
            received=error,
            way_out="Check free disk space and permissions, or switch data docs off",
        ) from error
    return folder / "index.html"


def _site(suite: dict[str, Any], facts: pa.Table, root: Path, now: datetime) -> Path:
    """Folder of the pages within a new context."""
    context = open_context(root)
    from great_expectations import Checkpoint, ExpectationSuite, ValidationDefinition

    name = suite["name"]
    stored = context.suites.add(ExpectationSuite(name=name, expectations=suite["expectations"]))
    definition = context.validation_definitions.add(
        ValidationDefinition(name=name, data=batch_definition(context, name), suite=stored)
    )
    checkpoint = context.checkpoints.add(Checkpoint(name=name, validation_definitions=[definition]))
    checkpoint.run(
        batch_parameters={"dataframe": facts.to_pandas()},
        expectation_parameters=time_parameters(now),
    )
    index = context.build_data_docs()["local_site"]
    return Path(unquote(urlparse(index).path)).parent
