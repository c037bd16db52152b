"""Item context of requests, from the lake and from what was posted to the service since."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from chronotope.artifact.bundle import Manifest, Vocabulary
from chronotope.contracts import columns as c
from chronotope.contracts.data_version import TableVersion
from chronotope.contracts.ids import IdMap
from chronotope.contracts.item_context import ItemContext, ItemContextColumn
from chronotope.contracts.queries import Queries, expected_places
from chronotope.contracts.schemas import ITEM_CONTEXT
from chronotope.features.item_context_index import build_item_context
from chronotope.lake import Lake
from chronotope.lake.posted import PostedItemContext
from chronotope.lake.table_schemas import ITEM_CONTEXT_TABLE
from chronotope.runtime.workspace import Workspace

DAY_S: Final = 86_400
MAX_DAYS: Final = 8
"""Days whose rows are in memory."""


@dataclass
class ItemContextReader:
    """Rows of requests by the day of their moment; threads may share it.

    Attributes:
        lake: The dataset's lake.
        version: Version of the table; None if there is none.
        posted: Log of posted rows; one replaces a row of the lake of equal place and times.
        columns: Columns that the model's graph takes.
        items, places: The model's ids.
        owns_log: Whether the log of posted rows is this reader's to close.
    """

    lake: Lake
    version: TableVersion | None
    posted: PostedItemContext
    columns: tuple[ItemContextColumn, ...]
    items: IdMap
    places: IdMap
    owns_log: bool = False
    _days: dict[tuple[int, int], ItemContext] = field(default_factory=dict)
    _lock: Lock = field(default_factory=Lock)

    @classmethod
    def of_model(
        cls,
        workspace: Workspace,
        manifest: Manifest,
        vocabulary: Vocabulary,
        posted: PostedItemContext | None = None,
    ) -> Self | None:
        """Reader for a model; None if it reads no item context.

        Args:
            workspace: Folders of the project.
            manifest: Dataset and columns of the model.
            vocabulary: The model's ids.
            posted: Open log of the posted rows, which the caller closes; None opens one, which
                ``close`` closes.
        """
        if not manifest.item_context:
            return None
        lake = Lake(workspace.lake(manifest.dataset))
        has_table = lake.exists(ITEM_CONTEXT_TABLE)
        return cls(
            lake,
            lake.table_version(ITEM_CONTEXT_TABLE) if has_table else None,
            posted or PostedItemContext(workspace.posted_item_context(manifest.dataset)),
            manifest.item_context,
            vocabulary.items,
            vocabulary.places,
            owns_log=posted is None,
        )

    def close(self) -> None:
        """Close the log of posted rows if this reader opened it; no request may follow."""
        if self.owns_log:
            self.posted.close()

    def add_rows(self, queries: Queries) -> Queries:
        """The queries with the rows that are valid at their moments, as in a training.

        Args:
            queries: Queries; see ``expected_places``.
        """
        places = expected_places(queries)
        position = self.posted.position()
        rows = [
            self._day(int(moment_s) // DAY_S, position).at(place[None], moment_s[None])
            for place, moment_s in zip(places, queries.request_s, strict=True)
        ]
        row_width = max(row.item_idx.shape[1] for row in rows)
        items = np.zeros((len(rows), row_width), np.int32)
        levels = np.zeros((len(rows), row_width, len(self.columns)), np.int32)
        for query_idx, row in enumerate(rows):
            items[query_idx, : row.item_idx.shape[1]] = row.item_idx[0]
            levels[query_idx, : row.item_idx.shape[1]] = row.levels[0]
        return replace(queries, context_item_idx=items, context_levels=levels)

    def position(self) -> int:
        """Position of the latest posted row: an answer from before it is stale."""
        return self.posted.position()

    def _day(self, day: int, position: int) -> ItemContext:
        """Rows that are valid at some moment of a UTC day, with those posted until a position."""
        key = day, position
        with self._lock:
            index = self._days.get(key)
            if index is None:
                index = self._read_day(day)
                while len(self._days) >= MAX_DAYS:
                    self._days.pop(next(iter(self._days)))
                self._days[key] = index
        return index

    def _read_day(self, day: int) -> ItemContext:
        start, end = (
            pa.scalar(datetime.fromtimestamp(0, UTC) + timedelta(days=day + later))
            for later in (0, 1)
        )
        is_valid = (pc.field(c.VALID_FROM) < end) & (
            pc.field(c.VALID_UNTIL).is_null() | (pc.field(c.VALID_UNTIL) > start)
        )
        posted = pads.dataset(self.posted.table(self._schema()))
        row_sources = [posted]
        if self.version is not None:
            row_sources = [self.lake.dataset(ITEM_CONTEXT_TABLE, self.version), posted]

        def read_rows(column_names: list[str]) -> Iterable[pa.RecordBatch]:
            for source in row_sources:
                # a posted row comes later, so that it counts where keys are equal
                yield from source.to_batches(columns=column_names, filter=is_valid)

        return build_item_context(read_rows, self.columns, self.items, self.places)

    def _schema(self) -> pa.Schema:
        value_fields = [
            pa.field(column.name, pa.float64() if column.edges else pa.string())
            for column in self.columns
        ]
        return pa.schema([*ITEM_CONTEXT, *value_fields])
