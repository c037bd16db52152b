"""Log of interactions from a user's data frame: checked, with quarantine, ready for models."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.api import html
from chronotope.api.catalog import ItemCatalog
from chronotope.api.frame_spec import ID_COLUMNS, frame_spec, frame_time, restored_ids, zone_of
from chronotope.api.frames import Frame, read_columns
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
        items_are_places: bool | None = None,
        catalog: ItemCatalog | None = None,
    ) -> Self:
        """Check a data frame and make a log of its good rows.

        Normalisation, checks, quarantine and messages are those of ``chronotope ingest``. The
        frame is not changed.

        Args:
            frame: Data frame of pandas, polars, Arrow or another library that exports Arrow.
            user: Column of the user's id.
            item: Column of the item's id.
            time: Column of the time: timestamps, dates, texts, or seconds since 1970.
            place: Column of the place's id; the item's column for check-ins.
            lat: Column of the latitude, degrees WGS 84.
            lon: Column of the longitude, degrees WGS 84.
            value: Column of an amount, rating or dwell time.
            session: Column of the visit, basket or trajectory.
            event_type: Column of the kind of interaction.
            context: Numeric columns known before the user chooses, such as the weather.
            time_zone: Zone of times without an offset and of the users' clocks, such as
                Europe/Vienna; by default that of the column, else UTC.
            time_format: ``epoch_s``, ``epoch_ms`` or a strptime pattern, if it cannot be told
                from the values.
            items_are_places: Whether items are places; by default whether ``place`` is ``item``.
            catalog: Attributes of the items.

        Raises:
            ConfigError: A parameter is wrong, or the frame is no data frame.
            SchemaError: A column is missing, occurs twice, or mixes types.
            NotEnoughData: The frame is empty, or every row was refused.
            ValidationFailed: A critical check failed, such as latitudes and longitudes swapped.
        """
        columns = _named_columns(
            {c.USER_ID: user, c.ITEM_ID: item, c.OCCURRED_AT: time},
            {
                c.PLACE_ID: None if place == item else place,
                c.LAT: lat,
                c.LON: lon,
                c.VALUE: value,
                c.SESSION_ID: session,
                c.EVENT_TYPE: event_type,
            },
        )
        raw_rows = read_columns(frame, columns | {name: name for name in context}, "log")
        time_column = raw_rows[c.OCCURRED_AT]
        spec = frame_spec(
            columns,
            frame_time(time_column, time, time_format=time_format, time_zone=time_zone),
            zone_name=zone_of(time_column, time_zone),
            context=tuple(context),
            items_are_places=place == item if items_are_places is None else items_are_places,
        )
        id_types: dict[str, pa.DataType] = {
            name: raw_rows[name].type for name in ID_COLUMNS if name in columns
        }
        return cls.of_batches(
            spec, normalised_batches(spec, raw_rows), catalog=catalog, id_types=id_types
        )

    @classmethod
    def of_batches(
        cls,
        spec: DatasetSpec,
        batches: Iterable[IngestBatch],
        *,
        catalog: ItemCatalog | None = None,
        users: pa.Table | None = None,
        id_types: Mapping[str, pa.DataType] | None = None,
    ) -> Self:
        """Log of normalised batches, in a temporary lake.

        Args:
            spec: The dataset.
            batches: Normalised events.
            catalog: Attributes of the items.
            users: Attributes of the users.
            id_types: Types of the ids in the source.
        """
        store = LogStore.temporary_store(spec.name)
        columns = dict(spec.events.columns) if spec.events is not None else {}
        report = ingest_rows(
            spec,
            store,
            batches,
            items=None if catalog is None else catalog.rows,
            users=users,
            columns=columns,
        )
        return cls(spec, store, report, dict(id_types or {}))

    def with_catalog(self, catalog: ItemCatalog) -> Self:
        """The same log with another catalogue.

        Args:
            catalog: Attributes of the items.
        """
        batch = _stored_batch(self.rows)
        return type(self).of_batches(
            self.spec, [batch], catalog=catalog, users=self.store.users(), id_types=self.id_types
        )

    def before(self, moment: object) -> Self:
        """Log of the events before a moment, with the same catalogue.

        Args:
            moment: Time as text, ``datetime`` or ``Timestamp``; without an offset, on the clocks
                of the log's time zone.

        Raises:
            NotEnoughData: No event is earlier.
        """
        end = to_moment(moment, self.time_zone)
        earlier_rows = self.rows.filter(pc.less(self.rows[c.OCCURRED_AT], pa.scalar(end)))
        if not len(earlier_rows):
            raise NotEnoughData(
                "No event of the log is before this moment",
                received=end,
                way_out=f"The log begins at {self.start}",
            )
        items = self.store.items()
        return type(self).of_batches(
            self.spec,
            [_stored_batch(earlier_rows)],
            catalog=None if items is None else ItemCatalog(items),
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
        moment: datetime = aggregate(self.rows[c.OCCURRED_AT]).as_py()
        return moment.astimezone(UTC)

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
        texts = pc.unique(self.rows[c.USER_ID]).to_pylist()
        return sorted(restored_ids(texts, self.id_types.get(c.USER_ID)))

    def quarantine(self) -> "pd.DataFrame":
        """Refused rows: reasons and the row as it was read, as JSON."""
        if not self.store.lake.exists("quarantine"):
            return pa.table({c.REASONS: [], c.PAYLOAD: []}).to_pandas()
        return self.store.lake.read("quarantine").select([c.REASONS, c.PAYLOAD]).to_pandas()

    def to_pandas(self) -> "pd.DataFrame":
        """Good events by time, with contract column names; columns without a value left out."""
        rows = self.rows.sort_by([(c.OCCURRED_AT, "ascending"), (c.EVENT_ID, "ascending")])
        names = [
            name
            for name in rows.column_names
            if name != c.EVENT_ID and rows[name].null_count < len(rows)
        ]
        frame = rows.select(names).to_pandas()
        for name in set(ID_COLUMNS) & set(names):
            if pa.types.is_integer(self.id_types.get(name, pa.string())):
                frame[name] = restored_ids(frame[name].to_list(), self.id_types[name])
        return frame

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
        period = f"{self.start:%Y-%m-%d %H:%M} to {self.end:%Y-%m-%d %H:%M} UTC"
        mean = len(self) / max(1, self.n_users)
        rows = [
            ("events", f"{len(self):,}"),
            ("users", f"{self.n_users:,}"),
            ("items", f"{self.n_items:,}"),
            ("events a user, mean", f"{mean:,.1f}"),
            ("rows quarantined", f"{self.report.events.n_quarantined:,}"),
        ]
        items = self.store.items()
        if items is not None:
            rows.append(("items in the catalogue", f"{len(items):,}"))
        return html.card("Log", html.paragraph(period, soft=True), html.table(["", ""], rows))


def _named_columns(
    required: Mapping[str, str], optional: Mapping[str, str | None]
) -> dict[str, str]:
    """Column of the frame of each contract column that has one."""
    return {
        **required,
        **{name: column for name, column in optional.items() if column is not None},
    }


def _stored_batch(rows: pa.Table) -> IngestBatch:
    """Rows that were normalised before, as a batch to ingest."""
    no_refused = pa.schema([("row", pa.int64()), (c.REASONS, pa.list_(pa.string()))]).empty_table()
    return IngestBatch(rows, rows, np.arange(len(rows)), no_refused)
