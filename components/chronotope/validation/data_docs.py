"""Data Docs: the HTML pages of Great Expectations for a sample of rows."""

import shutil
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from chronotope.contracts.errors import StoreError
from chronotope.validation.derived_columns import derive_columns
from chronotope.validation.gx_context import batch_definition, load_suite, open_context
from chronotope.validation.suite import time_parameters


def build_docs(
    suite_path: Path,
    sample_rows: pa.Table,
    docs_dir: Path,
    *,
    checked_at: datetime,
    known_items: pa.Array | None = None,
) -> Path:
    """Validate sample rows and write Data Docs, which replace earlier ones.

    The pages load styles from the web and are unstyled without a network.

    Args:
        suite_path: JSON file of the suite.
        sample_rows: Rows to validate and show.
        docs_dir: Folder of the pages. It is replaced after the pages are complete, so an
            interrupted run leaves the earlier ones.
        checked_at: Time of the check, with a time zone.
        known_items: Item ids of the lake; None skips the check of references to items.

    Returns:
        Path of index.html.

    Raises:
        ConfigError: The suite cannot be read.
        StoreError: The pages cannot be written.
    """
    suite = load_suite(suite_path)
    try:
        docs_dir.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".docs-", dir=docs_dir.parent) as scratch_dir:
            site_dir = _site(
                suite, derive_columns(sample_rows, known_items), Path(scratch_dir), checked_at
            )
            shutil.rmtree(docs_dir, ignore_errors=True)
            site_dir.rename(docs_dir)
    except OSError as error:
        raise StoreError(
            "The data docs could not be written",
            received=error,
            way_out="Check free disk space and permissions, or disable data docs",
        ) from error
    return docs_dir / "index.html"


def _site(
    suite: dict[str, Any], derived_rows: pa.Table, context_dir: Path, checked_at: datetime
) -> Path:
    """Build the pages in a new Great Expectations context and return their folder."""
    gx_context = open_context(context_dir)
    from great_expectations import Checkpoint, ExpectationSuite, ValidationDefinition

    suite_name = suite["name"]
    stored_suite = gx_context.suites.add(
        ExpectationSuite(name=suite_name, expectations=suite["expectations"])
    )
    validation_definition = gx_context.validation_definitions.add(
        ValidationDefinition(
            name=suite_name, data=batch_definition(gx_context, suite_name), suite=stored_suite
        )
    )
    checkpoint = gx_context.checkpoints.add(
        Checkpoint(name=suite_name, validation_definitions=[validation_definition])
    )
    checkpoint.run(
        batch_parameters={"dataframe": derived_rows.to_pandas()},
        expectation_parameters=time_parameters(checked_at),
    )
    gx_context.build_data_docs()
    # Not from the address that is returned: it is a URL with an unquoted path.
    return context_dir / "uncommitted" / "data_docs" / "local_site"
