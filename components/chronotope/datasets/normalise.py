"""From rows as read to rows of the contract; a bad row is refused, never an exception."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.contracts.errors import SchemaError
from chronotope.contracts.ids import event_ids
from chronotope.contracts.schemas import EVENTS, REQUIRED
from chronotope.datasets.parsing import as_instants, as_numbers, is_textual
from chronotope.datasets.spec import DatasetSpec
from chronotope.spacetime.cells import cell_names, h3_cells
from chronotope.spacetime.clock import utc_offsets

MAX_TEXT_BYTES: Final = 65_536
"""A longer text in any column refuses the row."""

REFUSED: Final = pa.schema(
    [pa.field("row", pa.int64()), pa.field(c.REASONS, pa.list_(pa.string()))]
)
_MAX_OFFSET_MIN: Final = 1_440
_MASK = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class NormalisedBatch:
    """Result of normalising one batch; rows and refused rows add up to what was read.

    Attributes:
        rows: Good rows: the columns of ``EVENTS``, then context and attributes.
        refused: ``row`` (position in the batch as read) and ``reasons``.
        kept: Positions in the batch as read of the good rows, shape (n_rows,).
    """

    rows: pa.Table
    refused: pa.Table
    kept: npt.NDArray[np.int64]


def normalise(spec: DatasetSpec, raw: pa.Table) -> NormalisedBatch:
    """Convert a batch of ``read_events`` to the contract.

    Refused are rows whose user, item or time is missing or unreadable, whose numbers
    are no finite numbers, or that hold a text above 64 KiB.

    Args:
        spec: The dataset.
        raw: Rows under contract names, values as read.

    Returns:
        Good rows with their ``event_id``, and refused rows with every reason.

    Raises:
        SchemaError: A whole column is of a type that is no text, such as a list.
    """
    batch = _Batch(spec, raw)
    table = batch.table()
    bad = np.zeros(raw.num_rows, dtype=np.bool_)
    for mask in batch.refusals.values():
        bad |= mask
    kept = np.flatnonzero(~bad)
    rows = table.take(pa.array(kept)) if bad.any() else table
    ids = event_ids([rows[name] for name in spec.identity])
    rows = rows.set_column(0, EVENTS.field(c.EVENT_ID), ids)
    if spec.cell_resolution is not None:  # after the ids, which another resolution must not change
        rows = _in_cells(rows, spec.cell_resolution)
    return NormalisedBatch(rows=rows, refused=_refused(batch.refusals, bad), kept=kept)


def _in_cells(rows: pa.Table, resolution: int) -> pa.Table:
    """Events without a place get the cell of their coordinates."""
    lat, lon = (rows[name].to_numpy() for name in (c.LAT, c.LON))
    cells = cell_names(h3_cells(lat=lat, lon=lon, resolution=resolution))
    place = pc.coalesce(rows[c.PLACE_ID], cells)
    return rows.set_column(rows.column_names.index(c.PLACE_ID), c.PLACE_ID, place)


class _Batch:
    """One batch under conversion; collects why rows are refused."""

    def __init__(self, spec: DatasetSpec, raw: pa.Table) -> None:
        self.spec = spec
        self.n = raw.num_rows
        self.raw = {name: _plain(raw[name]) for name in raw.column_names}
        self.refusals: dict[str, _MASK] = {}

    def table(self) -> pa.Table:
        """All rows, converted; refused ones hold nulls and an empty event id."""
        for name, column in self.raw.items():
            self._refuse_long(name, column)
        fields = list(EVENTS)
        columns: dict[str, pa.Array] = {c.EVENT_ID: pa.array(np.full(self.n, ""), pa.string())}
        columns[c.OCCURRED_AT] = self._instants()
        columns[c.UTC_OFFSET_MIN] = self._offsets(columns[c.OCCURRED_AT])
        columns |= {name: self._numbers(name) for name in (c.LAT, c.LON, c.VALUE)}
        columns |= {name: self._text(name) for name in (c.USER_ID, c.ITEM_ID, c.SESSION_ID)}
        columns[c.EVENT_TYPE] = pc.fill_null(self._text(c.EVENT_TYPE), self.spec.event_type)
        columns[c.PLACE_ID] = self._place(columns[c.ITEM_ID])
        for name in self.spec.context_columns:
            fields.append(pa.field(name, pa.float64()))
            columns[name] = self._numbers(name)
        for name in self.spec.attribute_columns:
            fields.append(pa.field(name, pa.string()))
            columns[name] = self._text(name)
        return pa.table([columns[field.name] for field in fields], schema=pa.schema(fields))

    def _refuse(self, mask: _MASK, reason: str) -> None:
        if mask.any():
            self.refusals[reason] = mask

    def _refuse_long(self, name: str, column: pa.Array) -> None:
        if is_textual(column.type):
            long = pc.fill_null(pc.greater(pc.binary_length(column), MAX_TEXT_BYTES), False)
            self._refuse(_bools(long), f"{name} is longer than {MAX_TEXT_BYTES} bytes")

    def _text(self, name: str) -> pa.Array:
        column = self.raw.get(name)
        if column is None:
            return pa.nulls(self.n, pa.string())
        unknown = pc.is_null(column, nan_is_null=True)
        text = pc.if_else(unknown, pa.scalar(None, pa.string()), _as_text(name, column))
        text = pc.if_else(pc.equal(text, ""), pa.scalar(None, pa.string()), text)
        if name in REQUIRED and name != c.EVENT_TYPE:
            self._refuse(_bools(text.is_null()), f"{name} is missing")
        return text

    def _numbers(self, name: str) -> pa.Array:
        column = self.raw.get(name)
        if column is None:
            return pa.nulls(self.n, pa.float64())
        numbers = as_numbers(column)
        given = _bools(column.is_valid())
        if is_textual(column.type):
            given &= _bools(pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(column), ""), False))
        self._refuse(given & _bools(numbers.is_null()), f"{name} is not a number")
        infinite = _bools(pc.fill_null(pc.invert(pc.is_finite(numbers)), False))
        self._refuse(infinite, f"{name} is not finite")
        return numbers

    def _instants(self) -> pa.Array:
        column = self.raw[c.OCCURRED_AT]
        instants, skipped = as_instants(column, self.spec.time)
        missing = _bools(column.is_null())
        self._refuse(missing, f"{c.OCCURRED_AT} is missing")
        unread = _bools(instants.is_null()) & ~missing
        self._refuse(unread, f"{c.OCCURRED_AT} cannot be read as {self.spec.time.kind}")
        self._refuse(
            skipped, f"{c.OCCURRED_AT} does not exist on the clocks of {self.spec.time.timezone}"
        )
        return instants

    def _offsets(self, instants: pa.Array) -> pa.Array:
        if c.UTC_OFFSET_MIN in self.raw:
            numbers = self._numbers(c.UTC_OFFSET_MIN)
            minutes = np.nan_to_num(numbers.to_numpy(zero_copy_only=False))
            impossible = (np.abs(minutes) > _MAX_OFFSET_MIN) | (minutes % 1 != 0)
            self._refuse(impossible, f"{c.UTC_OFFSET_MIN} is no offset in whole minutes")
            unusable = impossible | _bools(numbers.is_null())
            told = pa.array(np.where(unusable, 0, minutes).astype(np.int32), mask=unusable)
            return pc.coalesce(told, self._zone_offsets(instants))
        return self._zone_offsets(instants)

    def _zone_offsets(self, instants: pa.Array) -> pa.Array:
        """What the users' clocks show, where nobody told."""
        if self.spec.local_zone is None:
            return pa.nulls(self.n, pa.int32())
        seconds = instants.cast(pa.int64()).fill_null(0).to_numpy() // 1_000_000
        offsets = utc_offsets(seconds, self.spec.local_zone)
        return pa.array(offsets, mask=_bools(instants.is_null()))

    def _place(self, items: pa.Array) -> pa.Array:
        if c.PLACE_ID not in self.raw and self.spec.items_are_places:
            return items
        return self._text(c.PLACE_ID)


def _refused(refusals: dict[str, _MASK], bad: _MASK) -> pa.Table:
    rows = np.flatnonzero(bad)
    if not len(rows):
        return REFUSED.empty_table()
    which = np.stack([mask[rows] for mask in refusals.values()], axis=1)  # (n_refused, n_reasons)
    offsets = np.concatenate([[0], np.cumsum(which.sum(axis=1))]).astype(np.int32)
    names = pa.array(list(refusals), pa.string()).take(pa.array(np.nonzero(which)[1]))
    reasons = pa.ListArray.from_arrays(pa.array(offsets), names)
    return pa.table([pa.array(rows), reasons], schema=REFUSED)


def _plain(column: pa.ChunkedArray) -> pa.Array:
    """One array without dictionary encoding, which categoricals come in."""
    array = column.combine_chunks()
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _as_text(name: str, column: pa.Array) -> pa.Array:
    try:
        return column.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(
            f"Column {name!r} cannot be read as text",
            received=column.type,
            way_out="Map a column of text or numbers, or correct the source",
        ) from error


def _bools(mask: pa.Array) -> _MASK:
    return np.asarray(mask.to_numpy(zero_copy_only=False), dtype=np.bool_)
