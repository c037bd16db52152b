"""Events of a log: in a lake, or checked in memory until something needs the lake."""

from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.api.logs.clean_rows import MICROS_PER_S, CleanRows, find_clean_rows
from chronotope.api.logs.log_store import (
    BATCH_ROWS,
    LogFeatures,
    LogStore,
    ingest_rows,
    normalised_batches,
    require_local_lakes,
    suites_dir,
)
from chronotope.api.logs.report import LogReport
from chronotope.api.logs.sorted_rows import RowOrder, numeric_log, sort_rows
from chronotope.contracts import columns as c
from chronotope.datasets.spec import DatasetSpec
from chronotope.datasets.time_spec import TimeSpec
from chronotope.ingestion import IngestBatch, IngestReport, NoiseConfig, NoiseReport, TableReport
from chronotope.lake.repeated_rows import RepeatedRows
from chronotope.validation.suite_folder import EVENTS_SUITE


class LogContents(Protocol):
    """Checked events of a log."""

    @property
    def store(self) -> LogStore:
        """Lake of the events; those in memory are written to a temporary one."""

    @property
    def report(self) -> LogReport:
        """Report of the checks."""

    @property
    def rows(self) -> pa.Table:
        """Good events in the schema of the lake."""

    @property
    def features(self) -> LogFeatures:
        """Numeric form of the events."""

    @property
    def items(self) -> pa.Table | None:
        """Rows of the catalogue; None without one."""

    @property
    def user_attributes(self) -> pa.Table | None:
        """Rows of the users table; None without one."""

    @property
    def refused_rows(self) -> pa.Table | None:
        """Rows in quarantine; None if there are none."""

    @property
    def n_events(self) -> int:
        """Number of good events."""

    @property
    def user_ids(self) -> list[str]:
        """Distinct ids of users."""

    @property
    def n_items(self) -> int:
        """Number of items with events."""

    @property
    def period(self) -> tuple[datetime, datetime]:
        """Times of the first and the last event, UTC."""

    def before(self, end_time: datetime) -> "LogContents | None":
        """Earlier events; None if they have to be ingested again."""


class StoredEvents:
    """Events in a lake.

    Attributes:
        store: The lake.
        report: Report of the ingestion.
    """

    def __init__(
        self, dataset_spec: DatasetSpec, log_store: LogStore, log_report: LogReport
    ) -> None:
        """Take what was ingested.

        Args:
            dataset_spec: The dataset.
            log_store: Its lake.
            log_report: Report of the ingestion.
        """
        self._spec, self.store, self.report = dataset_spec, log_store, log_report

    @cached_property
    def rows(self) -> pa.Table:
        """Good events in the schema of the lake, in no particular order."""
        return self.store.lake.read("events")

    @cached_property
    def features(self) -> LogFeatures:
        """Numeric form of the events."""
        return self.store.load_features(self._spec)

    @property
    def items(self) -> pa.Table | None:
        """Rows of the catalogue; None without one."""
        return self.store.items()

    @property
    def user_attributes(self) -> pa.Table | None:
        """Rows of the users table; None without one."""
        return self.store.users()

    @property
    def refused_rows(self) -> pa.Table | None:
        """Rows in quarantine, those that came along included; None if there are none."""
        log_lake = self.store.lake
        return log_lake.read("quarantine") if log_lake.exists("quarantine") else None

    @property
    def n_events(self) -> int:
        """Number of good events."""
        return len(self.rows)

    @property
    def user_ids(self) -> list[str]:
        """Distinct ids of users."""
        ids: list[str] = pc.unique(self.rows[c.USER_ID]).to_pylist()
        return ids

    @property
    def n_items(self) -> int:
        """Number of items with events."""
        return int(pc.count_distinct(self.rows[c.ITEM_ID]).as_py())

    @cached_property
    def period(self) -> tuple[datetime, datetime]:
        """Times of the first and the last event, UTC."""
        extremes = pc.min_max(self.rows[c.OCCURRED_AT]).as_py()
        return extremes["min"].astimezone(UTC), extremes["max"].astimezone(UTC)

    def before(self, end_time: datetime) -> LogContents | None:  # noqa: ARG002 - of the protocol
        """None: earlier events are ingested into a lake of their own."""
        return None


class MemoryEvents:
    """Events that the checks pass, in memory; a lake is written when something needs it."""

    def __init__(self, dataset_spec: DatasetSpec, clean_rows: CleanRows) -> None:
        """Take checked rows.

        Args:
            dataset_spec: The dataset.
            clean_rows: The rows.
        """
        self._spec, self._clean_rows = dataset_spec, clean_rows

    @cached_property
    def _order(self) -> RowOrder:
        return sort_rows(self._clean_rows, self._spec)

    @cached_property
    def _stored(self) -> StoredEvents:
        """The same events in a temporary lake."""
        log_store = LogStore.temporary_store(self._spec.name)
        log_report = ingest_rows(
            self._spec, log_store, self._batches(), column_map=self._column_map
        )
        return StoredEvents(self._spec, log_store, log_report)

    @property
    def _column_map(self) -> dict[str, str]:
        return {} if self._spec.events is None else dict(self._spec.events.columns)

    def _batches(self) -> Iterator[IngestBatch]:
        utc_spec = self._spec.model_copy(update={"time": TimeSpec()})  # times are instants here
        for start_row in range(0, len(self._clean_rows), BATCH_ROWS):
            batch_rows = self._clean_rows.table(start_row, BATCH_ROWS)
            yield from normalised_batches(utc_spec, batch_rows)

    @property
    def store(self) -> LogStore:
        """A temporary lake, written when it is first asked for."""
        return self._stored.store

    @cached_property
    def report(self) -> LogReport:
        """Report that an ingestion of these rows gives."""
        if self._order.has_repeats:
            return self._stored.report
        n_rows = len(self._clean_rows)
        ingest_report = IngestReport(
            n_read=n_rows,
            n_good=n_rows,
            n_duplicates=0,
            n_quarantined=0,
            n_dropped=0,
            reasons={},
            dropped={},
            repeated=RepeatedRows(),
            findings=self._clean_rows.findings,
            version=None,
        )
        return LogReport(ingest_report, TableReport(), self._column_map)

    @cached_property
    def rows(self) -> pa.Table:
        """Good events in the schema of the lake, in no particular order."""
        if self._order.has_repeats:
            return self._stored.rows
        return pa.concat_tables([batch.rows for batch in self._batches()])

    @cached_property
    def features(self) -> LogFeatures:
        """Numeric form of the events, without a lake where no row is repeated or noise."""
        if self._order.has_repeats or self._order.max_hourly > NoiseConfig().max_events_per_h:
            return self._stored.features
        event_log, item_catalog = numeric_log(self._clean_rows, self._order.positions, self._spec)
        noise_report = NoiseReport(
            len(event_log), len(event_log), dict.fromkeys(("repeat", "speed", "rate", "core"), 0)
        )
        return LogFeatures(event_log, item_catalog, noise_report, "")

    @property
    def items(self) -> pa.Table | None:
        """None: rows with a catalogue are ingested."""
        return None

    @property
    def user_attributes(self) -> pa.Table | None:
        """None: a frame of events has no users table."""
        return None

    @property
    def refused_rows(self) -> pa.Table | None:
        """None: each row passed."""
        return None

    @property
    def n_events(self) -> int:
        """Number of good events."""
        return len(self.rows) if self._order.has_repeats else len(self._clean_rows)

    @property
    def user_ids(self) -> list[str]:
        """Distinct ids of users."""
        ids: list[str] = self._clean_rows.users.ids.ids.to_pylist()
        return ids

    @property
    def n_items(self) -> int:
        """Number of items with events."""
        return len(self._clean_rows.items.ids.ids)

    @property
    def period(self) -> tuple[datetime, datetime]:
        """Times of the first and the last event, UTC."""
        occurred_us = self._clean_rows.occurred_us
        return _utc_time(occurred_us.min()), _utc_time(occurred_us.max())

    def before(self, end_time: datetime) -> LogContents | None:
        """Events before a moment.

        Args:
            end_time: The moment, with a time zone.
        """
        end_us = round(end_time.timestamp() * MICROS_PER_S)
        row_positions = np.flatnonzero(self._clean_rows.occurred_us < end_us)
        return MemoryEvents(self._spec, self._clean_rows.take(row_positions))


def memory_events(dataset_spec: DatasetSpec, raw_rows: pa.Table) -> MemoryEvents | None:
    """Rows of a frame in memory; None where they have to be ingested.

    Args:
        dataset_spec: Types and columns of the rows.
        raw_rows: Rows with contract column names and the values of the frame.

    Raises:
        ConfigError: The environment moves all lakes to an object store.
    """
    require_local_lakes()
    clean_rows = find_clean_rows(dataset_spec, raw_rows, suites_dir(Path()) / EVENTS_SUITE)
    return None if clean_rows is None else MemoryEvents(dataset_spec, clean_rows)


def _utc_time(occurred_us: np.int64) -> datetime:
    whole_s, rest_us = divmod(int(occurred_us), MICROS_PER_S)
    return datetime.fromtimestamp(whole_s, UTC).replace(microsecond=rest_us)
