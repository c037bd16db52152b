"""Check rows against a suite: rows that fail, findings, and what stops the delivery."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.contracts.clock import MAX_CLOCK_SKEW
from chronotope.contracts.errors import ValidationFailed
from chronotope.contracts.protocols import RowCheck
from chronotope.contracts.validation_result import FailedExpectation, Severity, ValidationResult
from chronotope.validation.batch_drift import PSI_BOUND, BatchDriftCheck, BatchProfile
from chronotope.validation.derived_columns import derive_columns
from chronotope.validation.divergence import stability_index
from chronotope.validation.gx_context import (
    batch_definition,
    expectation_results,
    load_suite,
    open_context,
)

FRESH_DAYS: Final = 30
_ORDER: Final = tuple(Severity)
_FAILING: Final = pa.schema([("row", pa.int64()), (c.REASONS, pa.list_(pa.string()))])


def check_events(
    suite_path: Path,
    *,
    now: datetime,
    known_items: pa.Array | None = None,
    accepted: Mapping[str, float] | None = None,
    profile: BatchProfile | None = None,
) -> "EventCheck":
    """Build the check of the event batches of one delivery.

    A critical expectation on rows sends them to ``ValidationResult.failing``; on the table it
    stops the delivery; warnings and infos are findings.

    Args:
        suite_path: The suite's JSON.
        now: Instant of the check, with a zone; events later than that by more than
            ``MAX_CLOCK_SKEW`` are in the future.
        known_items: Item ids of the lake; None skips the check of references.
        accepted: ``event_type_shares`` of the last accepted version; None skips the comparison.
        profile: ``profile_of`` the last accepted version; None skips what compares the
            delivery as a whole.
    """
    suite = load_suite(suite_path)
    definition = batch_definition(open_context(), suite["name"])
    parameters = time_parameters(now)

    def judge(batch: pa.Table) -> ValidationResult:
        results = expectation_results(
            definition, suite, derive_columns(batch, known_items), parameters
        )
        drift = [] if accepted is None else _drift(event_type_shares(batch), accepted)
        return _verdict(suite["name"], results, len(batch), drift)

    return EventCheck(judge, None if profile is None else BatchDriftCheck(profile))


@dataclass(frozen=True, slots=True)
class EventCheck:
    """Judges batch after batch, and at the end the delivery they make up.

    Attributes:
        judge: Judges a batch by itself.
        watch: Counts over the batches; None compares nothing.
    """

    judge: Callable[[pa.Table], ValidationResult]
    watch: BatchDriftCheck | None

    def __call__(self, batch: pa.Table) -> ValidationResult:
        """Check one batch.

        Raises:
            ValidationFailed: A critical expectation on the table failed.
        """
        verdict = self.judge(batch)
        if self.watch is not None:
            self.watch.see(batch)
        return verdict

    def of_delivery(self) -> tuple[FailedExpectation, ...]:
        """What the delivery as a whole does not hold, once all batches were seen.

        Raises:
            ValidationFailed: Most rows have latitude and longitude swapped.
        """
        return () if self.watch is None else self.watch.findings()


def check_table(suite_path: Path) -> RowCheck:
    """Build the check of items or users: every row is judged by the suite alone."""
    suite = load_suite(suite_path)
    definition = batch_definition(open_context(), suite["name"])

    def check(batch: pa.Table) -> ValidationResult:
        return _verdict(
            suite["name"],
            expectation_results(definition, suite, derive_columns(batch), {}),
            len(batch),
            [],
        )

    return check


def time_parameters(now: datetime) -> dict[str, int]:
    """The instants that suites name as parameters, UTC seconds.

    ``now_s``; ``latest_s``, after which an event lies in the future; ``fresh_s``, from which on
    a delivery counts as fresh.
    """
    latest, fresh = now + MAX_CLOCK_SKEW, now - timedelta(days=FRESH_DAYS)
    moments = {"now_s": now, "latest_s": latest, "fresh_s": fresh}
    return {name: int(moment.timestamp()) for name, moment in moments.items()}


def event_type_shares(events: pa.Table) -> dict[str, float]:
    """Share of each event type: the profile later deliveries are compared with."""
    counts = pc.value_counts(events.column(c.EVENT_TYPE))
    return {
        str(entry["values"]): entry["counts"] / max(1, len(events)) for entry in counts.to_pylist()
    }


def population_stability(now: Mapping[str, float], accepted: Mapping[str, float]) -> float:
    """Population stability index, sum of (p - q) ln(p / q) over all categories.

    Example:
        >>> round(population_stability({"a": 0.5, "b": 0.5}, {"a": 0.9, "b": 0.1}), 3)
        0.879
    """
    names = sorted({*now, *accepted})
    p, q = (np.array([shares.get(name, 0.0) for name in names]) for shares in (now, accepted))
    return float(stability_index(p, q))


def _drift(now: Mapping[str, float], accepted: Mapping[str, float]) -> list[FailedExpectation]:
    index = population_stability(now, accepted)
    if index <= PSI_BOUND:
        return []
    words = f"the mix of event types is that of the last version (PSI at most {PSI_BOUND})"
    return [FailedExpectation(words, c.EVENT_TYPE, Severity.WARNING, 0, f"PSI {index:.2f}")]


def _verdict(
    suite: str, results: list[Any], n_rows: int, more: list[FailedExpectation]
) -> ValidationResult:
    rows: list[int] = []
    reasons: list[str] = []
    findings = list(more)
    for result in results:
        if result.success:
            continue
        finding, failing = _finding(result)
        findings.append(finding)
        if finding.severity is Severity.CRITICAL:
            _stop_at_table_level(finding)
            rows += failing
            reasons += [finding.expectation] * len(failing)
    findings.sort(key=lambda finding: _ORDER.index(finding.severity))
    return ValidationResult(suite, _by_row(rows, reasons), tuple(findings), n_rows)


def _finding(result: Any) -> tuple[FailedExpectation, list[int]]:
    config, found = result.expectation_config, result.result
    failing = [int(entry["row"]) for entry in found.get("unexpected_index_list") or []]
    sample = found.get("partial_unexpected_list") or found.get("observed_value", "")
    severity = Severity(getattr(config.severity, "value", config.severity))
    words = config.meta.get("words", config.type)
    column = config.kwargs.get("column", "")
    return FailedExpectation(words, column, severity, len(failing), str(sample)[:200]), failing


def _stop_at_table_level(finding: FailedExpectation) -> None:
    if finding.n_unexpected:
        return
    raise ValidationFailed(
        f"The delivery breaks a critical expectation: {finding.expectation}",
        received=finding.observed,
        way_out="Nothing was written; correct the source or the suite and run again",
    )


def _by_row(rows: list[int], reasons: list[str]) -> pa.Table:
    pairs = pa.table({"row": pa.array(rows, pa.int64()), c.REASONS: pa.array(reasons, pa.string())})
    grouped = pairs.group_by("row").aggregate([(c.REASONS, "list")]).sort_by("row")
    return (
        grouped.select(["row", f"{c.REASONS}_list"]).rename_columns(_FAILING.names).cast(_FAILING)
    )
