"""Great Expectations itself, opened late and quietly: no analytics, no progress bars."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from chronotope.contracts.errors import ConfigError, DataError

if TYPE_CHECKING:
    from great_expectations.core.batch_definition import BatchDefinition
    from great_expectations.data_context.data_context.abstract_data_context import (
        AbstractDataContext,
    )


def load_suite(path: Path) -> dict[str, Any]:
    """Read a suite's JSON.

    Raises:
        ConfigError: The file is absent or no suite.
    """
    try:
        suite: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return {"name": suite["name"], "expectations": suite["expectations"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            "The expectation suite cannot be read",
            received=path,
            way_out="It is a JSON file with 'name' and 'expectations'",
        ) from error


def open_context(root: Path | None = None) -> "AbstractDataContext":
    """An ephemeral context, or one in a folder."""
    os.environ["GX_ANALYTICS_ENABLED"] = "False"
    import great_expectations as gx  # slow to import and it reads the line above
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context: AbstractDataContext = (
        gx.get_context(mode="ephemeral") if root is None else gx.get_context(context_root_dir=root)
    )
    context.variables.progress_bars = ProgressBarsConfig(globally=False, metric_calculations=False)
    return context


def batch_definition(context: "AbstractDataContext", table: str) -> "BatchDefinition[Any]":
    """Where frames of a table are handed in."""
    source = context.data_sources.add_or_update_pandas("rows")
    asset = source.add_dataframe_asset(table)
    return asset.add_batch_definition_whole_dataframe("whole")


def results_of(
    definition: "BatchDefinition[Any]",
    suite: Mapping[str, Any],
    facts: pd.DataFrame,
    parameters: Mapping[str, Any],
) -> list[Any]:
    """Result of each expectation, in no promised order.

    Raises:
        DataError: An expectation could not be computed; that says nothing of the data.
    """
    from great_expectations.core.expectation_suite import ExpectationSuite

    batch = definition.get_batch({"dataframe": facts})
    wanted = {"result_format": "COMPLETE", "unexpected_index_column_names": ["row"]}
    checked = batch.validate(
        ExpectationSuite(name=suite["name"], expectations=suite["expectations"]),
        result_format=wanted,
        expectation_parameters=dict(parameters),
    )
    results: list[Any] = list(checked.results)
    for result in results:
        if "exception_message" in str(result.exception_info) and not result.result:
            raise DataError(
                f"Expectation {result.expectation_config.type!r} could not be computed",
                received=result.expectation_config.kwargs,
                way_out="Check the column names and bounds in the suite",
            )
    return results
