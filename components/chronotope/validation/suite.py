"""Checks of batches against an expectation suite: failing rows, findings and critical failures."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from chronotope.contracts import columns as c
from chronotope.contracts.clock import MAX_CLOCK_SKEW
from chronotope.contracts.errors import ValidationFailed
from chronotope.contracts.protocols import RowCheck
from chronotope.contracts.strict_json import JsonObject
from chronotope.contracts.validation_result import FailedExpectation, Severity, ValidationResult
from chronotope.validation.batch_drift import PSI_BOUND, BatchDriftCheck, BatchProfile
from chronotope.validation.catalogue_match import CatalogueMatch, MatchCounts
from chronotope.validation.derived_columns import derive_columns
from chronotope.validation.divergence import stability_index
from chronotope.validation.gx_context import (
    batch_definition,
    expectation_results,
    load_suite,
    open_context,
)

if TYPE_CHECKING:
    from great_expectations.core.batch_definition import BatchDefinition

FRESH_DAYS: Final = 30
"""Maximum age of the latest event of a fresh delivery, days."""
_SEVERITY_ORDER: Final = tuple(Severity)
_FAILING_SCHEMA: Final = pa.schema([("row", pa.int64()), (c.REASONS, pa.list_(pa.string()))])


SuiteBatch: TypeAlias = tuple[JsonObject, "BatchDefinition[Any]"]
"""Content of a suite, and the batch definition of its table."""


def open_suite(suite_path: Path) -> SuiteBatch:
    """Open a suite in a context of Great Expectations.

    Args:
        suite_path: JSON file of the suite.
    """
    suite = load_suite(suite_path)
    return suite, batch_definition(open_context(), suite["name"])


def _opened_suite(suite_batch: SuiteBatch) -> SuiteBatch:
    return suite_batch


def check_events(
    suite_path: Path,
    *,
    checked_at: datetime,
    known_items: pa.Array | None = None,
    accepted_shares: Mapping[str, float] | None = None,
    batch_profile: BatchProfile | None = None,
    get_suite: Callable[[], SuiteBatch] | None = None,
) -> "EventCheck":
    """Build the check of the event batches of one delivery.

    Rows that fail a critical expectation are listed in ``ValidationResult.failing``. A critical
    expectation on the table raises an error. Failures of other severities are only findings.

    Args:
        suite_path: JSON file of the suite.
        checked_at: Time of the check, with a time zone. Events more than ``MAX_CLOCK_SKEW``
            later count as being in the future.
        known_items: Item ids of the lake; None skips the check of references to items.
        accepted_shares: ``event_type_shares`` of the last accepted version; None skips the
            comparison of event types.
        batch_profile: ``profile_rows`` of the last accepted version; None skips the drift check
            of the complete delivery.
        get_suite: Returns the opened suite when the first batch is checked; None opens it now.
    """
    # At once where nobody opens it later, so that a damaged suite is reported before any batch.
    get_suite = get_suite or partial(_opened_suite, open_suite(suite_path))
    suite_parameters = time_parameters(checked_at)

    def evaluate_batch(batch: pa.Table) -> ValidationResult:
        suite, gx_batch = get_suite()
        expectation_outcomes = expectation_results(
            gx_batch, suite, derive_columns(batch, known_items), suite_parameters
        )
        drift_findings = (
            []
            if accepted_shares is None
            else _event_type_drift(event_type_shares(batch), accepted_shares)
        )
        return _validation_result(suite["name"], expectation_outcomes, len(batch), drift_findings)

    return EventCheck(
        evaluate_batch,
        None if batch_profile is None else BatchDriftCheck(batch_profile),
        CatalogueMatch(known_items) if known_items is not None and len(known_items) else None,
    )


@dataclass(frozen=True, slots=True)
class EventCheck:
    """Check of event batches one by one, then of the complete delivery.

    Attributes:
        check_batch: Check of a single batch.
        batch_drift: Drift check of the complete delivery; None skips it.
        catalogue_match: Comparison of the items with the catalogue; None skips it.
    """

    check_batch: Callable[[pa.Table], ValidationResult]
    batch_drift: BatchDriftCheck | None
    catalogue_match: CatalogueMatch | None = None

    def __call__(self, batch: pa.Table) -> ValidationResult:
        """Check one batch.

        Raises:
            ValidationFailed: A critical expectation on the table failed.
        """
        validation_result = self.check_batch(batch)
        if self.batch_drift is not None:
            self.batch_drift.add_batch(batch)
        if self.catalogue_match is not None:
            self.catalogue_match.add_batch(batch)
        return validation_result

    @property
    def counts(self) -> "CheckCounts":
        """Counts of the batches so far; small, and independent of the catalogue."""
        match = None if self.catalogue_match is None else self.catalogue_match.counts
        return CheckCounts(self.batch_drift, match)

    def add_counts(self, counts: "CheckCounts") -> None:
        """Add the counts of batches that were checked elsewhere, in the order of the source."""
        if self.batch_drift is not None and counts.batch_drift is not None:
            self.batch_drift.add_counts(counts.batch_drift)
        if self.catalogue_match is not None and counts.catalogue_match is not None:
            self.catalogue_match.add_counts(counts.catalogue_match)

    def delivery_findings(self) -> tuple[FailedExpectation, ...]:
        """Failed expectations on the complete delivery, after all batches were checked.

        Raises:
            ValidationFailed: Latitude and longitude are swapped in most rows with coordinates.
        """
        drift_findings = () if self.batch_drift is None else self.batch_drift.findings()
        match_findings = () if self.catalogue_match is None else self.catalogue_match.findings()
        return (*drift_findings, *match_findings)


@dataclass(frozen=True, slots=True)
class CheckCounts:
    """What a check counted in some batches.

    Attributes:
        batch_drift: Counts of the drift check; None if there is none.
        catalogue_match: Counts of known items; None without a catalogue.
    """

    batch_drift: BatchDriftCheck | None
    catalogue_match: MatchCounts | None


def check_table(
    suite_path: Path, *, derive: Callable[[pa.Table], pa.Table] = derive_columns
) -> RowCheck:
    """Build the check of batches of a table against a suite, without drift checks.

    Args:
        suite_path: JSON file of the suite.
        derive: Numeric columns of a batch, to which the expectations apply; by default those of
            items and users.
    """
    suite = load_suite(suite_path)
    gx_batch = batch_definition(open_context(), suite["name"])

    def check(batch: pa.Table) -> ValidationResult:
        return _validation_result(
            suite["name"],
            expectation_results(gx_batch, suite, derive(batch), {}),
            len(batch),
            [],
        )

    return check


def time_parameters(checked_at: datetime) -> dict[str, int]:
    """Values of the time parameters of suites, UTC seconds.

    Args:
        checked_at: Time of the check, with a time zone.

    Returns:
        ``now_s``: the time of the check; ``latest_s``: the latest time that is not in the
        future; ``fresh_s``: the earliest time of the latest event of a fresh delivery.
    """
    latest_at, fresh_since = checked_at + MAX_CLOCK_SKEW, checked_at - timedelta(days=FRESH_DAYS)
    named_instants = {"now_s": checked_at, "latest_s": latest_at, "fresh_s": fresh_since}
    return {name: int(moment.timestamp()) for name, moment in named_instants.items()}


def event_type_shares(events: pa.Table | pads.Dataset) -> dict[str, float]:
    """Share of each event type, with which later deliveries are compared.

    Args:
        events: Events, or a dataset of them, which is read in batches.
    """
    type_counts: Counter[str] = Counter()
    batches = (
        events.to_batches()
        if isinstance(events, pa.Table)
        else events.to_batches(columns=[c.EVENT_TYPE])
    )
    for batch in batches:
        for type_count in pc.value_counts(batch.column(c.EVENT_TYPE)).to_pylist():
            type_counts[str(type_count["values"])] += type_count["counts"]
    n_events = max(1, type_counts.total())
    return {type_name: count / n_events for type_name, count in type_counts.items()}


def population_stability(
    current_shares: Mapping[str, float], accepted_shares: Mapping[str, float]
) -> float:
    """Population stability index of named categories, ``sum (p - q) ln(p / q)``.

    Args:
        current_shares: Share p by category.
        accepted_shares: Share q by category in the reference.

    Example:
        >>> round(population_stability({"a": 0.5, "b": 0.5}, {"a": 0.9, "b": 0.1}), 3)
        0.879
    """
    category_names = sorted({*current_shares, *accepted_shares})
    p, q = (
        np.array([shares.get(name, 0.0) for name in category_names])
        for shares in (current_shares, accepted_shares)
    )
    return float(stability_index(p, q))


def _event_type_drift(
    current_shares: Mapping[str, float], accepted_shares: Mapping[str, float]
) -> list[FailedExpectation]:
    stability = population_stability(current_shares, accepted_shares)
    if stability <= PSI_BOUND:
        return []
    expectation_text = (
        f"the mix of event types is that of the last version (PSI at most {PSI_BOUND})"
    )
    return [
        FailedExpectation(
            expectation_text, c.EVENT_TYPE, Severity.WARNING, 0, f"PSI {stability:.2f}"
        )
    ]


def _validation_result(
    suite_name: str,
    expectation_outcomes: list[Any],
    n_rows: int,
    drift_findings: list[FailedExpectation],
) -> ValidationResult:
    failing_rows: list[int] = []
    failing_reasons: list[str] = []
    findings = list(drift_findings)
    for result in expectation_outcomes:
        if result.success:
            continue
        finding, finding_rows = _finding(result)
        findings.append(finding)
        if finding.severity is Severity.CRITICAL:
            _raise_at_table_level(finding)
            failing_rows += finding_rows
            failing_reasons += [finding.expectation] * len(finding_rows)
    findings.sort(key=lambda finding: _SEVERITY_ORDER.index(finding.severity))
    return ValidationResult(
        suite_name, _reasons_by_row(failing_rows, failing_reasons), tuple(findings), n_rows
    )


def _finding(result: Any) -> tuple[FailedExpectation, list[int]]:
    config, result_details = result.expectation_config, result.result
    failing_rows = [
        int(row_entry["row"]) for row_entry in result_details.get("unexpected_index_list") or []
    ]
    observed_sample = result_details.get("partial_unexpected_list") or result_details.get(
        "observed_value", ""
    )
    severity = Severity(getattr(config.severity, "value", config.severity))
    expectation_text = config.meta.get("description", config.type)
    column_name = config.kwargs.get("column", "")
    return FailedExpectation(
        expectation_text, column_name, severity, len(failing_rows), str(observed_sample)[:200]
    ), failing_rows


def _raise_at_table_level(finding: FailedExpectation) -> None:
    """Raise an error if a finding is about the table, not about single rows."""
    if finding.n_unexpected:
        return
    raise ValidationFailed(
        f"The delivery fails a critical expectation: {finding.expectation}",
        received=finding.observed,
        way_out="Nothing was written; correct the source or the suite and run again",
    )


def _reasons_by_row(failing_rows: list[int], failing_reasons: list[str]) -> pa.Table:
    row_reasons = pa.table(
        {
            "row": pa.array(failing_rows, pa.int64()),
            c.REASONS: pa.array(failing_reasons, pa.string()),
        }
    )
    grouped_reasons = row_reasons.group_by("row").aggregate([(c.REASONS, "list")]).sort_by("row")
    return (
        grouped_reasons.select(["row", f"{c.REASONS}_list"])
        .rename_columns(_FAILING_SCHEMA.names)
        .cast(_FAILING_SCHEMA)
    )
