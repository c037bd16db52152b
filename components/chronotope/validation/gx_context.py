"""Great Expectations itself, opened late and quietly: no analytics, no progress bars."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from chronotope.contracts.errors import ConfigError, DataError
from chronotope.contracts.strict_json import parse_json
from chronotope.runtime.regular_files import read_bounded
from chronotope.validation.derived_columns import column_extremes

if TYPE_CHECKING:
    from great_expectations.core.batch_definition import BatchDefinition
    from great_expectations.data_context.data_context.abstract_data_context import (
        AbstractDataContext,
    )

_ROW_COUNT: Final = "expect_table_row_count_to_be_between"
_BOUNDS: Final = frozenset(
    {
        "expect_column_values_to_be_between",
        "expect_column_max_to_be_between",
        "expect_column_min_to_be_between",
    }
)
_MAX_BYTES: Final = 1_000_000
"""A larger file is no suite."""

_BOUND_KWARGS: Final = frozenset({"column", "min_value", "max_value", "strict_min", "strict_max"})


def load_suite(path: Path) -> dict[str, Any]:
    """Read a suite's JSON.

    Raises:
        ConfigError: The file is absent or no suite.
    """
    try:
        suite: dict[str, Any] = parse_json(read_bounded(path, _MAX_BYTES).decode("utf-8"))
        return {"name": suite["name"], "expectations": suite["expectations"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            "The expectation suite cannot be read",
            received=f"{path}: {error}",
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


def expectation_results(
    definition: "BatchDefinition[Any]",
    suite: Mapping[str, Any],
    facts: pa.Table,
    parameters: Mapping[str, Any],
) -> list[Any]:
    """Result of each expectation, in no promised order.

    Bounds are tried on the least and the greatest value of each column first; only
    what fails there, or is no bound, is looked up row by row.

    Raises:
        DataError: An expectation could not be computed; that says nothing of the data.
    """
    wanted, passed = list(suite["expectations"]), []
    bounds = [each for each in wanted if _is_bound(each)]
    if bounds and len(facts):
        ends = _validated(definition, suite["name"], bounds, column_extremes(facts), parameters)
        failed = {_subject(r.expectation_config) for r in ends if not r.success}
        passed = [r for r in ends if _subject(r.expectation_config) not in failed]
        wanted = [
            each
            for each in wanted
            if not _is_bound(each) or (each["type"], each["kwargs"]["column"]) in failed
        ]
    if all(_is_bound(each) or each["type"] == _ROW_COUNT for each in wanted):
        facts = facts.select(
            ["row", *{each["kwargs"].get("column", "row") for each in wanted} - {"row"}]
        )
    return [*passed, *_validated(definition, suite["name"], wanted, facts, parameters)]


def _is_bound(expectation: Mapping[str, Any]) -> bool:
    """Whether it holds for all rows if it holds for the least and the greatest value."""
    return expectation["type"] in _BOUNDS and set(expectation["kwargs"]) <= _BOUND_KWARGS


def _subject(config: Any) -> tuple[str, str]:
    return config.type, config.kwargs["column"]


def _validated(
    definition: "BatchDefinition[Any]",
    name: str,
    expectations: Sequence[Any],
    facts: pa.Table,
    parameters: Mapping[str, Any],
) -> list[Any]:
    from great_expectations.core.expectation_suite import ExpectationSuite

    if not expectations:
        return []
    batch = definition.get_batch({"dataframe": facts.to_pandas()})
    checked = batch.validate(
        ExpectationSuite(name=name, expectations=list(expectations)),
        result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["row"]},
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
