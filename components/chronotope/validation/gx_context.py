"""Adapter to Great Expectations, which is imported lazily, without analytics or progress bars."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa

from chronotope.contracts.errors import ConfigError, DataError
from chronotope.contracts.strict_json import JsonObject, parse_json
from chronotope.runtime.quick_imports import deferred_import, quick_imports
from chronotope.runtime.regular_files import read_bounded
from chronotope.validation.derived_columns import column_extremes

if TYPE_CHECKING:
    from great_expectations.core.batch_definition import BatchDefinition
    from great_expectations.data_context.data_context.abstract_data_context import (
        AbstractDataContext,
    )

_ROW_COUNT: Final = "expect_table_row_count_to_be_between"
_BOUND_TYPES: Final = frozenset(
    {
        "expect_column_values_to_be_between",
        "expect_column_max_to_be_between",
        "expect_column_min_to_be_between",
    }
)
_MAX_BYTES: Final = 1_000_000
"""Maximum size of a suite file, bytes."""

_BOUND_KWARGS: Final = frozenset({"column", "min_value", "max_value", "strict_min", "strict_max"})


def load_suite(suite_path: Path) -> JsonObject:
    """Load an expectation suite from JSON.

    Raises:
        ConfigError: The file is missing or is not a suite.
    """
    try:
        suite_content: dict[str, Any] = parse_json(
            read_bounded(suite_path, _MAX_BYTES).decode("utf-8")
        )
        return {"name": suite_content["name"], "expectations": suite_content["expectations"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            "The expectation suite cannot be read",
            received=f"{suite_path}: {error}",
            way_out="Provide a JSON file with the keys 'name' and 'expectations'",
        ) from error


def import_great_expectations() -> None:
    """Import it, which takes seconds, before it is needed.

    A third of its import would be SciPy's statistics and Altair's charts, for expectations that no
    suite here has.
    """
    os.environ["GX_ANALYTICS_ENABLED"] = "False"  # read by the import
    with quick_imports(), deferred_import("scipy.stats"), deferred_import("altair"):
        import great_expectations  # noqa: F401


def open_context(context_dir: Path | None = None) -> "AbstractDataContext":
    """Create a Great Expectations context, in memory or in a folder."""
    import_great_expectations()
    import great_expectations as gx
    from great_expectations.data_context.types.base import ProgressBarsConfig

    gx_context: AbstractDataContext = (
        gx.get_context(mode="ephemeral")
        if context_dir is None
        else gx.get_context(context_root_dir=context_dir)
    )
    gx_context.variables.progress_bars = ProgressBarsConfig(
        globally=False, metric_calculations=False
    )
    return gx_context


def batch_definition(gx_context: "AbstractDataContext", table_name: str) -> "BatchDefinition[Any]":
    """Batch definition for data frames that are passed at run time."""
    pandas_source = gx_context.data_sources.add_or_update_pandas("rows")
    frame_asset = pandas_source.add_dataframe_asset(table_name)
    return frame_asset.add_batch_definition_whole_dataframe("whole")


def expectation_results(
    gx_batch: "BatchDefinition[Any]",
    suite: Mapping[str, Any],
    derived_rows: pa.Table,
    parameters: Mapping[str, Any],
) -> list[Any]:
    """Evaluate the expectations of a suite; the order of the results is undefined.

    Expectations that are bounds on values are first evaluated on the minimum and maximum of
    each column. Only those that fail there, and all others, are evaluated on the rows.

    Args:
        gx_batch: Batch definition of the table.
        suite: Name and expectations, from ``load_suite``.
        derived_rows: Columns of ``derive_columns``.
        parameters: Values of the parameters that the expectations refer to.

    Returns:
        Result of each expectation, as Great Expectations returns it.

    Raises:
        DataError: An expectation could not be computed, whatever the data.
    """
    open_expectations, passed_results = list(suite["expectations"]), []
    bound_expectations = [
        expectation for expectation in open_expectations if _is_bound(expectation)
    ]
    if bound_expectations and len(derived_rows):
        extreme_results = _validate_rows(
            gx_batch, suite["name"], bound_expectations, column_extremes(derived_rows), parameters
        )
        failed = {
            _subject(result.expectation_config) for result in extreme_results if not result.success
        }
        passed_results = [
            result
            for result in extreme_results
            if _subject(result.expectation_config) not in failed
        ]
        open_expectations = [
            expectation
            for expectation in open_expectations
            if not _is_bound(expectation)
            or (expectation["type"], expectation["kwargs"]["column"]) in failed
        ]
    if all(
        _is_bound(expectation) or expectation["type"] == _ROW_COUNT
        for expectation in open_expectations
    ):
        derived_rows = derived_rows.select(
            [
                "row",
                *{expectation["kwargs"].get("column", "row") for expectation in open_expectations}
                - {"row"},
            ]
        )
    return [
        *passed_results,
        *_validate_rows(gx_batch, suite["name"], open_expectations, derived_rows, parameters),
    ]


def _is_bound(expectation: Mapping[str, Any]) -> bool:
    """Whether an expectation holds for all values if it holds for minimum and maximum."""
    return expectation["type"] in _BOUND_TYPES and set(expectation["kwargs"]) <= _BOUND_KWARGS


def _subject(config: Any) -> tuple[str, str]:
    return config.type, config.kwargs["column"]


def _validate_rows(
    gx_batch: "BatchDefinition[Any]",
    suite_name: str,
    expectations: Sequence[Any],
    derived_rows: pa.Table,
    parameters: Mapping[str, Any],
) -> list[Any]:
    from great_expectations.core.expectation_suite import ExpectationSuite

    if not expectations:
        return []
    batch = gx_batch.get_batch({"dataframe": derived_rows.to_pandas()})
    batch_result = batch.validate(
        ExpectationSuite(name=suite_name, expectations=list(expectations)),
        result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["row"]},
        expectation_parameters=dict(parameters),
    )
    results: list[Any] = list(batch_result.results)
    for result in results:
        if "exception_message" in str(result.exception_info) and not result.result:
            raise DataError(
                f"Expectation {result.expectation_config.type!r} could not be computed",
                received=result.expectation_config.kwargs,
                way_out="Check the column names and bounds in the suite's JSON",
            )
    return results
