"""Great Expectations' own pages, for those who want to browse them."""

from pathlib import Path
from urllib.parse import unquote, urlparse

import pyarrow as pa

from chronotope.validation.engine import batch_definition, load_suite, open_context
from chronotope.validation.facts import facts_of


def build_docs(suite_path: Path, rows: pa.Table, folder: Path, *, now_s: int) -> Path:
    """Validate rows once more in a file context and build Data Docs.

    The pages load styles from the web; without a network they are plain.

    Args:
        suite_path: The suite's JSON.
        rows: A sample of the rows to show.
        folder: Where the context and the pages are kept.
        now_s: Instant of the check, UTC seconds.

    Returns:
        The path of index.html.
    """
    suite = load_suite(suite_path)
    context = open_context(folder)
    from great_expectations import Checkpoint, ExpectationSuite, ValidationDefinition

    stored = context.suites.add_or_update(
        ExpectationSuite(name=suite["name"], expectations=suite["expectations"])
    )
    definition = context.validation_definitions.add_or_update(
        ValidationDefinition(
            name=suite["name"], data=batch_definition(context, suite["name"]), suite=stored
        )
    )
    checkpoint = context.checkpoints.add_or_update(
        Checkpoint(name=suite["name"], validation_definitions=[definition])
    )
    checkpoint.run(
        batch_parameters={"dataframe": facts_of(rows).to_pandas()},
        expectation_parameters={"now_s": now_s, "fresh_s": now_s - 30 * 86_400},
    )
    index = context.build_data_docs()["local_site"]
    return Path(unquote(urlparse(index).path))
