"""Log of interactions from a user's data frame: checked, with quarantine, ready for models."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.api.catalog import ItemCatalog
from chronotope.api.logs import interchange, log_views
from chronotope.api.logs.frame_spec import (
    ID_COLUMNS,
    frame_spec,
    frame_time,
    named_columns,
    restored_ids,
    zone_of,
)
from chronotope.api.logs.frames import Frame, column_types, read_columns
from chronotope.api.logs.log_contents import LogContents, StoredEvents, memory_events
from chronotope.api.logs.log_store import (
    LogFeatures,
    LogStore,
    ingest_rows,
    normalised_batches,
)
from chronotope.api.logs.report import LogReport
from chronotope.api.moments import to_moment
from chronotope.contracts import columns as c
from chronotope.contracts.errors import NotEnoughData
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.datasets.spec import DatasetSpec
from chronotope.ingestion import IngestBatch

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Log:
    """Interactions of users with items, in time order; ``ct.Log``.

    Attributes:
        spec: How the frame was read: what the YAML of the same dataset would say.
        contents: The checked events, in memory or in a lake.
        id_types: Types of the ids in the frame, by contract column.
    """

    spec: DatasetSpec
    contents: LogContents
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
        column_map = named_columns(frame_columns)
        raw_rows = read_columns(frame, column_map | {name: name for name in context}, "log")
        times, id_types = raw_rows[c.OCCURRED_AT], column_types(raw_rows, ID_COLUMNS)
        dataset_spec = frame_spec(
            column_map,
            frame_time(times, time, time_format=time_format, time_zone=time_zone),
            zone_name=zone_of(times, time_zone),
            context_columns=tuple(context),
            items_are_places=place == item,
        )
        memory_contents = None if catalog is not None else memory_events(dataset_spec, raw_rows)
        if memory_contents is not None:
            return cls(dataset_spec, memory_contents, id_types)
        ingest_batches = normalised_batches(dataset_spec, raw_rows)
        return cls.of_batches(dataset_spec, ingest_batches, catalog=catalog, id_types=id_types)

    @classmethod
    def from_interactions(
        cls,
        interactions: object,
        *,
        time_zone: str | None = None,
        catalog: ItemCatalog | None = None,
    ) -> Self:
        """Log of a ``Dataset`` or ``Interactions`` of RecTools, or a frame of their columns.

        Args:
            interactions: It has ``user_id``, ``item_id``, ``weight`` and ``datetime``; of a
                ``Dataset``, the external ids are read.
            time_zone: Zone of times without an offset, and of the users; UTC if None.
            catalog: Attributes of the items.

        Raises:
            ConfigError: It is none of these, or a column is missing.
        """
        frame = interchange.interaction_frame(interactions)
        return cls.from_frame(
            frame,
            user=interchange.USER,
            item=interchange.ITEM,
            time=interchange.DATETIME,
            value=interchange.WEIGHT,
            time_zone=time_zone,
            catalog=catalog,
        )

    @classmethod
    def from_sparse(
        cls,
        matrix: object,
        times: object,
        *,
        user_ids: Sequence[Any] | None = None,
        item_ids: Sequence[Any] | None = None,
        time_zone: str | None = None,
        catalog: ItemCatalog | None = None,
    ) -> Self:
        """Log of a sparse matrix: each stored entry other than zero is one event.

        Args:
            matrix: Sparse matrix of SciPy, shape (n_users, n_items); entries become ``value``.
            times: One time for all events, with which nothing can be learned about order, gaps
                and hours; or a sparse matrix with the UTC seconds of each entry.
            user_ids: Id of each row; row numbers from 0 if None.
            item_ids: Id of each column; column numbers from 0 if None.
            time_zone: Zone of a time without an offset, and of the users; UTC if None.
            catalog: Attributes of the items.

        Raises:
            ConfigError: It is no sparse matrix, or ids or times do not fit it.
            NotEnoughData: It has no entry.
        """
        frame = interchange.matrix_frame(
            matrix, times, user_ids=user_ids, item_ids=item_ids, time_zone=time_zone
        )
        return cls.from_interactions(frame, time_zone=time_zone, catalog=catalog)

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
        if catalog is not None:
            dataset_spec = catalog.described(dataset_spec)
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
        log_contents = StoredEvents(dataset_spec, log_store, log_report)
        return cls(dataset_spec, log_contents, dict(id_types or {}))

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
            users=self.contents.user_attributes,
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
        if end_time <= self.start:
            raise NotEnoughData(
                "No event of the log is before this moment",
                received=end_time,
                way_out=f"The log begins at {self.start}",
            )
        earlier_contents = self.contents.before(end_time)
        if earlier_contents is not None:
            return replace(self, contents=earlier_contents)
        earlier_rows = self.rows.filter(pc.less(self.rows[c.OCCURRED_AT], pa.scalar(end_time)))
        item_rows = self.contents.items
        return type(self).of_batches(
            self.spec,
            [_stored_batch(earlier_rows)],
            catalog=None if item_rows is None else ItemCatalog(item_rows),
            users=self.contents.user_attributes,
            id_types=self.id_types,
        )

    @property
    def store(self) -> LogStore:
        """Lake of the events; a log in memory is written to a temporary one when it is needed."""
        return self.contents.store

    @property
    def report(self) -> LogReport:
        """Counts of good, refused and repeated rows, reasons and findings."""
        return self.contents.report

    @property
    def rows(self) -> pa.Table:
        """Good events in the schema of the lake, in no particular order."""
        return self.contents.rows

    @property
    def features(self) -> LogFeatures:
        """Numeric form, which models read: without noise, ids as indices."""
        return self.contents.features

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

    @property
    def start(self) -> datetime:
        """Time of the first event, UTC."""
        return self.contents.period[0]

    @property
    def end(self) -> datetime:
        """Time of the last event, UTC."""
        return self.contents.period[1]

    @property
    def next_second(self) -> datetime:
        """The first whole second after the last event, when every event is known."""
        return self.end.replace(microsecond=0) + timedelta(seconds=1)

    @property
    def n_users(self) -> int:
        """Number of users."""
        return len(self.contents.user_ids)

    @property
    def n_items(self) -> int:
        """Number of items with events."""
        return self.contents.n_items

    def users(self) -> list[Any]:
        """Ids of the users, sorted, in the type of the frame."""
        return sorted(restored_ids(self.contents.user_ids, self.id_types.get(c.USER_ID)))

    def quarantine(self) -> "pd.DataFrame":
        """Refused rows: reasons and the row as it was read, as JSON."""
        refused_rows = self.contents.refused_rows
        if refused_rows is None:
            refused_rows = pa.table({c.REASONS: [], c.PAYLOAD: []})
        return refused_rows.select([c.REASONS, c.PAYLOAD]).to_pandas()

    def to_pandas(self) -> "pd.DataFrame":
        """Good events by time, with contract column names; columns without a value left out."""
        return log_views.events_frame(self.rows, self.id_types)

    def to_interactions(self, dataset_class: interchange.DatasetBuilder | None = None) -> Any:
        """Events as RecTools reads them.

        Args:
            dataset_class: ``rectools.dataset.Dataset``, which then builds the result; None
                returns a pandas frame.

        Returns:
            Frame of ``user_id``, ``item_id``, ``weight`` (the value, else 1) and ``datetime``
            (UTC), by user and time; or the dataset that the class constructs of it.
        """
        frame = interchange.events_frame(self.events, self.index, self.id_types)
        return frame if dataset_class is None else dataset_class.construct(frame)

    def to_sparse(self, *, weighted: bool = False) -> interchange.SparseInteractions:
        """Events by user and item as compressed sparse rows, with the ids of both axes.

        Args:
            weighted: Whether values are summed, 1 where one is unknown; else events are counted.
        """
        return interchange.events_matrix(self.events, self.index, self.id_types, weighted=weighted)

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
        return self.contents.n_events

    def __repr__(self) -> str:
        """Size and period."""
        return (
            f"Log({len(self):,} events, {self.n_users:,} users, {self.n_items:,} items, "
            f"{self.start:%Y-%m-%d} to {self.end:%Y-%m-%d})"
        )

    def _repr_html_(self) -> str:
        return log_views.log_card(self)


def _stored_batch(event_rows: pa.Table) -> IngestBatch:
    """Rows that were normalised before, as a batch to ingest."""
    no_refused = pa.schema([("row", pa.int64()), (c.REASONS, pa.list_(pa.string()))]).empty_table()
    return IngestBatch(event_rows, event_rows, np.arange(len(event_rows)), no_refused)
