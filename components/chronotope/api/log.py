"""Log of interactions from a user's data frame: checked, with quarantine, ready for models."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.api import html
from chronotope.api.catalog import ItemCatalog
from chronotope.api.frame_spec import ID_COLUMNS, frame_spec, frame_time, restored_ids, zone_of
from chronotope.api.frames import Frame, column_types, read_columns
from chronotope.api.log_store import LogFeatures, LogStore, ingest_rows, normalised_batches
from chronotope.api.moments import to_moment
from chronotope.api.report import LogReport
from chronotope.contracts import columns as c
from chronotope.contracts.errors import NotEnoughData
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.datasets.spec import DatasetSpec
from chronotope.ingestion import IngestBatch

if TYPE_CHECKING:
    import pandas as pd

_ONE_SECOND_S: Final = 1
_EVENT_COLUMNS: Final = (
    c.USER_ID,
    c.ITEM_ID,
    c.OCCURRED_AT,
    c.PLACE_ID,
    c.LAT,
    c.LON,
    c.VALUE,
    c.SESSION_ID,
    c.EVENT_TYPE,
)
_NEEDED: Final = (c.USER_ID, c.ITEM_ID, c.OCCURRED_AT)


@dataclass(frozen=True)
class Log:
    """Interactions of users with items, in time order; ``ct.Log``.

    Attributes:
        spec: How the frame was read: what the YAML of the same dataset would say.
        store: Lake of the checked events.
        report: Counts of good, refused and repeated rows, reasons and findings.
        id_types: Types of the ids in the frame, by contract column.
    """

    spec: DatasetSpec
    store: LogStore
    report: LogReport
    id_types: Mapping[str, pa.DataType] = field(default_factory=dict)

    @classmethod
    def from_frame(
        cls,
        frame: Frame,
        *,
        user: str,
        item: str,
        time: str,
        place: str | None = None,
        lat: str | None = None,
        lon: str | None = None,
        value: str | None = None,
        session: str | None = None,
        event_type: str | None = None,
        context: Sequence[str] = (),
        time_zone: str | None = None,
        time_format: str | None = None,
        catalog: ItemCatalog | None = None,
    ) -> Self:
        """Check a data frame by the code of ``chronotope ingest``; the log has its good rows.

        Args:
            frame: Data frame of pandas, polars, Arrow or a library that exports Arrow; unchanged.
            user: Column of the user's id.
            item: Column of the item's id.
            time: Column of the time: timestamps, dates, texts, or numbers since 1970.
            place: Column of the place's id; the column of the item where items are places.
            lat: Column of the latitude, degrees WGS 84.
            lon: Column of the longitude, degrees WGS 84.
            value: Column of an amount, rating or dwell time.
            session: Column of the visit, basket or trajectory.
            event_type: Column of the kind of interaction.
            context: Numeric columns known before the user chooses, such as the weather.
            time_zone: Zone of times without offset, and of the users; that of the column, or UTC.
            time_format: ``epoch_s``, ``epoch_ms`` or a strptime pattern; told from the values.
            catalog: Attributes of the items.

        Raises:
            ConfigError: A parameter is wrong, or the frame is no data frame.
            SchemaError: A column is missing, occurs twice, or mixes types.
            NotEnoughData: The frame is empty, or every row was refused.
            ValidationFailed: A critical check failed, such as latitudes and longitudes swapped.
        """
        place_id = None if place == item else place
        frame_columns = (user, item, time, place_id, lat, lon, value, session, event_type)
        column_map = _named_columns(frame_columns)
        raw_rows = read_columns(frame, {**column_map, **{name: name for name in context}}, "log")
        times = raw_rows[c.OCCURRED_AT]
        dataset_spec = frame_spec(
            column_map,
            frame_time(times, time, time_format=time_format, time_zone=time_zone),
            zone_name=zone_of(times, time_zone),
            context_columns=tuple(context),
            items_are_places=place == item,
        )
        id_types = column_types(raw_rows, ID_COLUMNS)
        ingest_batches = normalised_batches(dataset_spec, raw_rows)
        return cls.of_batches(dataset_spec, ingest_batches, catalog=catalog, id_types=id_types)

    @classmethod
    def of_batches(
        cls,
        dataset_spec: DatasetSpec,
        batches: Iterable[IngestBatch],
        *,
        catalog: ItemCatalog | None = None,
        users: pa.Table | None = None,
        id_types: Mapping[str, pa.DataType] | None = None,
    ) -> Self:
        """Log of normalised batches, in a temporary lake.

        Args:
            dataset_spec: The dataset.
            batches: Normalised events.
            catalog: Attributes of the items.
            users: Attributes of the users.
            id_types: Types of the ids in the source.
        """
        log_store = LogStore.temporary_store(dataset_spec.name)
        column_map = dict(dataset_spec.events.columns) if dataset_spec.events is not None else {}
        log_report = ingest_rows(
            dataset_spec,
            log_store,
            batches,
            items=None if catalog is None else catalog.rows,
            users=users,
            column_map=column_map,
        )
        return cls(dataset_spec, log_store, log_report, dict(id_types or {}))

    def with_catalog(self, catalog: ItemCatalog) -> Self:
        """The same log with another catalogue.

        Args:
            catalog: Attributes of the items.
        """
        stored_batch = _stored_batch(self.rows)
        return type(self).of_batches(
            self.spec,
            [stored_batch],
            catalog=catalog,
            users=self.store.users(),
            id_types=self.id_types,
        )

    def before(self, end_moment: object) -> Self:
        """Log of the events before a moment, with the same catalogue.

        Args:
            end_moment: Time as text, ``datetime`` or ``Timestamp``; without an offset, on the
                clocks of the log's time zone.

        Raises:
            NotEnoughData: No event is earlier.
        """
        end_time = to_moment(end_moment, self.time_zone)
        earlier_rows = self.rows.filter(pc.less(self.rows[c.OCCURRED_AT], pa.scalar(end_time)))
        if not len(earlier_rows):
            raise NotEnoughData(
                "No event of the log is before this moment",
                received=end_time,
                way_out=f"The log begins at {self.start}",
            )
        item_rows = self.store.items()
        return type(self).of_batches(
            self.spec,
            [_stored_batch(earlier_rows)],
            catalog=None if item_rows is None else ItemCatalog(item_rows),
            users=self.store.users(),
            id_types=self.id_types,
        )

    @cached_property
    def rows(self) -> pa.Table:
        """Good events in the schema of the lake, in no particular order."""
        return self.store.lake.read("events")

    @cached_property
    def features(self) -> LogFeatures:
        """Numeric form, which models read: without noise, ids as indices."""
        return self.store.load_features(self.spec)

    @property
    def events(self) -> EventLog:
        """Events by index, ordered by user and time."""
        return self.features.events

    @property
    def index(self) -> Catalog:
        """Indices of users, items, places and categories."""
        return self.features.catalog

    @property
    def time_zone(self) -> str:
        """Zone in which times without an offset are read."""
        return self.spec.local_zone or self.spec.time.timezone

    @cached_property
    def start(self) -> datetime:
        """Time of the first event, UTC."""
        return self._extreme_time(pc.min)

    @cached_property
    def end(self) -> datetime:
        """Time of the last event, UTC."""
        return self._extreme_time(pc.max)

    def _extreme_time(self, aggregate: Any) -> datetime:
        end_moment: datetime = aggregate(self.rows[c.OCCURRED_AT]).as_py()
        return end_moment.astimezone(UTC)

    @property
    def next_second(self) -> datetime:
        """The first whole second after the last event, when every event is known."""
        return datetime.fromtimestamp(int(self.end.timestamp()) + _ONE_SECOND_S, UTC)

    @property
    def n_users(self) -> int:
        """Number of users."""
        return int(pc.count_distinct(self.rows[c.USER_ID]).as_py())

    @property
    def n_items(self) -> int:
        """Number of items with events."""
        return int(pc.count_distinct(self.rows[c.ITEM_ID]).as_py())

    def users(self) -> list[Any]:
        """Ids of the users, sorted, in the type of the frame."""
        user_ids = pc.unique(self.rows[c.USER_ID]).to_pylist()
        return sorted(restored_ids(user_ids, self.id_types.get(c.USER_ID)))

    def quarantine(self) -> "pd.DataFrame":
        """Refused rows: reasons and the row as it was read, as JSON."""
        if not self.store.lake.exists("quarantine"):
            return pa.table({c.REASONS: [], c.PAYLOAD: []}).to_pandas()
        return self.store.lake.read("quarantine").select([c.REASONS, c.PAYLOAD]).to_pandas()

    def to_pandas(self) -> "pd.DataFrame":
        """Good events by time, with contract column names; columns without a value left out."""
        event_rows = self.rows.sort_by([(c.OCCURRED_AT, "ascending"), (c.EVENT_ID, "ascending")])
        column_names = [
            column_name
            for column_name in event_rows.column_names
            if column_name != c.EVENT_ID and event_rows[column_name].null_count < len(event_rows)
        ]
        frame = event_rows.select(column_names).to_pandas()
        for column_name in set(ID_COLUMNS) & set(column_names):
            if pa.types.is_integer(self.id_types.get(column_name, pa.string())):
                frame[column_name] = restored_ids(
                    frame[column_name].to_list(), self.id_types[column_name]
                )
        return frame

    def to_dataset(
        self, dataset_name: str, root: str | Path = ".", *, description: str = ""
    ) -> "Log":
        """Write the log as a dataset of a project: YAML, Parquet files and lake.

        From then on ``chronotope train``, the service and feedback know it by its name.

        Args:
            dataset_name: Lower-case letters, digits and underscores.
            root: Root of the project.
            description: What the log contains.

        Returns:
            The same log over the lake of the project; fit on it to register a model.

        Raises:
            ConfigError: The name is invalid or taken, or the log is a dataset already.
        """
        from chronotope.api.project import write_dataset

        return write_dataset(self, dataset_name, Path(root), description)

    def __len__(self) -> int:
        """Number of good events."""
        return len(self.rows)

    def __repr__(self) -> str:
        """Size and period."""
        return (
            f"Log({len(self):,} events, {self.n_users:,} users, {self.n_items:,} items, "
            f"{self.start:%Y-%m-%d} to {self.end:%Y-%m-%d})"
        )

    def _repr_html_(self) -> str:
        period_text = f"{self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M} UTC"
        mean_events = len(self) / max(1, self.n_users)
        event_rows = [
            ("events", f"{len(self):,}"),
            ("users", f"{self.n_users:,}"),
            ("items", f"{self.n_items:,}"),
            ("events a user, mean", f"{mean_events:,.1f}"),
            ("rows quarantined", f"{self.report.events.n_quarantined:,}"),
        ]
        item_rows = self.store.items()
        if item_rows is not None:
            event_rows.append(("items in the catalogue", f"{len(item_rows):,}"))
        return html.card(
            "Log", html.paragraph(period_text, soft=True), html.table(["", ""], event_rows)
        )


def _named_columns(frame_columns: Sequence[str | None]) -> dict[str, str]:
    """Column of the frame of each contract column; an optional one that has none is left out."""
    pairs = zip(_EVENT_COLUMNS, frame_columns, strict=True)
    named_columns: dict[str, Any] = dict(pairs)
    return {n: v for n, v in named_columns.items() if v is not None or n in _NEEDED}


def _stored_batch(event_rows: pa.Table) -> IngestBatch:
    """Rows that were normalised before, as a batch to ingest."""
    no_refused = pa.schema([("row", pa.int64()), (c.REASONS, pa.list_(pa.string()))]).empty_table()
    return IngestBatch(event_rows, event_rows, np.arange(len(event_rows)), no_refused)
