"""Conversion of raw rows to the data contract; invalid rows are refused with their reasons."""

from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.contracts.event_bounds import MAX_TEXT_BYTES, MAX_UTC_OFFSET_MIN
from chronotope.contracts.id_rules import MISSING, NOT_UTF8
from chronotope.contracts.ids import event_ids, xor_with_digests
from chronotope.contracts.schemas import EVENTS
from chronotope.datasets.occurrences import OccurrenceCounter
from chronotope.datasets.parsing import as_instants, as_numbers, is_textual
from chronotope.datasets.row_filters import KeepRules, filter_rows
from chronotope.datasets.spec import DatasetSpec
from chronotope.datasets.text_options import TextOptions
from chronotope.datasets.values.id_texts import id_texts, text_errors, utf8_texts
from chronotope.datasets.values.numbers import MISSING_NUMBER_WORDS, number_hint
from chronotope.datasets.values.private_rows import PrivateRows
from chronotope.datasets.values.time_hints import unread_reasons
from chronotope.spacetime.cells import cell_names, h3_cells
from chronotope.spacetime.clock import utc_offsets

REFUSED: Final = pa.schema(
    [pa.field("row", pa.int64()), pa.field(c.REASONS, pa.list_(pa.string()))]
)
"""Schema of refused rows: position in the batch as read, and the reasons."""

_ID_COLUMNS: Final = (c.USER_ID, c.ITEM_ID, c.PLACE_ID, c.SESSION_ID, c.EVENT_TYPE)
_MASK = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class NormalisedBatch:
    """Result of normalising one batch: each raw row is valid, refused or dropped.

    Attributes:
        rows: Valid rows: the columns of ``EVENTS``, then context and attributes.
        refused: Refused rows, in the schema ``REFUSED``.
        row_positions: Positions of the valid rows in the batch as read, shape (n_rows,).
        dropped: Number of rows dropped by each filter of ``keep``.
        missing_numbers: Number of values by column that state that a number is missing, such as
            NULL, NaN or a dash.
        raw: The batch as read, in the form in which refused rows may be stored.
    """

    rows: pa.Table
    raw: pa.Table
    refused: pa.Table
    row_positions: npt.NDArray[np.int64]
    dropped: dict[str, int] = field(default_factory=dict)
    missing_numbers: dict[str, int] = field(default_factory=dict)


def normalise(
    dataset_spec: DatasetSpec,
    raw_rows: pa.Table,
    *,
    keep_rules: KeepRules | None = None,
    occurrences: OccurrenceCounter | None = None,
    text_options: TextOptions | None = None,
) -> NormalisedBatch:
    """Convert a batch of ``read_events`` to the data contract.

    Filters come first: a row that they drop is not refused, whatever its values. A row is
    refused if its user, item or time is missing or cannot be read, if one of its numbers is not
    finite or not a number, or if it holds a text of more than 64 KiB. A value is what the source
    says, or it is missing or refused.

    Args:
        dataset_spec: The dataset.
        raw_rows: Rows with contract column names and the values of the source.
        keep_rules: Filters; None applies those of the dataset's event log.
        occurrences: Counter of the delivery, with which rows of equal identity become separate
            events if the dataset's ``identity`` has ``occurrence``; None makes them duplicates.
        text_options: Null words and decimal separators; None uses those of the event log.

    Returns:
        Valid rows with their ``event_id``, and refused rows with all their reasons.

    Raises:
        SchemaError: A column has a type that cannot be converted to text, such as a list.
    """
    if text_options is None:
        text_options = dataset_spec.events or TextOptions()
    filtered_rows = filter_rows(
        raw_rows,
        dataset_spec.keep_rules if keep_rules is None else keep_rules,
        dataset_spec.event_type,
        text_options,
    )
    batch_conversion = _BatchConversion(dataset_spec, filtered_rows.rows, text_options)
    converted_rows = batch_conversion.table()
    is_refused = np.zeros(filtered_rows.rows.num_rows, dtype=np.bool_)
    for reason_mask in batch_conversion.refusals.values():
        is_refused |= reason_mask
    row_positions = np.flatnonzero(~is_refused)
    good_rows = converted_rows.take(pa.array(row_positions)) if is_refused.any() else converted_rows
    private_rows = PrivateRows.of(dataset_spec.privacy, dataset_spec.name, dataset_spec.local_zone)
    good_rows = _with_row_ids(dataset_spec, private_rows.stored(good_rows), occurrences)
    # After the ids are computed: they must not depend on the resolution.
    if dataset_spec.cell_resolution is not None:
        good_rows = _with_cell_places(good_rows, dataset_spec.cell_resolution)
    if dataset_spec.coordinate_decimals is not None:
        good_rows = _with_coarse_coordinates(good_rows, dataset_spec.coordinate_decimals)
    return NormalisedBatch(
        rows=good_rows,
        raw=private_rows.stored_raw(raw_rows, text_options, dataset_spec.time),
        refused=_refused_table(batch_conversion.refusals, is_refused, filtered_rows.row_positions),
        row_positions=filtered_rows.row_positions[row_positions],
        dropped=filtered_rows.dropped,
        missing_numbers=batch_conversion.missing_numbers,
    )


def _with_row_ids(
    dataset_spec: DatasetSpec, good_rows: pa.Table, occurrences: OccurrenceCounter | None
) -> pa.Table:
    """Rows with their event ids."""
    if not dataset_spec.has_occurrences:
        occurrences = None
    row_ids = _row_ids(dataset_spec, good_rows, occurrences)
    return good_rows.set_column(0, EVENTS.field(c.EVENT_ID), row_ids)


def _row_ids(
    dataset_spec: DatasetSpec, good_rows: pa.Table, occurrences: OccurrenceCounter | None
) -> pa.StringArray:
    """Event id of each row; the pseudonym of its user can be replaced in it, by a rotation."""
    identity = dataset_spec.identity_columns
    if dataset_spec.privacy.pseudonyms is None:
        row_ids = event_ids([good_rows[column_name] for column_name in identity])
        return row_ids if occurrences is None else occurrences.distinct_ids(row_ids)
    user_ids = good_rows[c.USER_ID]
    other_columns = [name for name in identity if name != c.USER_ID] or [c.EVENT_TYPE]
    base_ids = event_ids([good_rows[column_name] for column_name in other_columns])
    if occurrences is not None:
        base_ids = occurrences.distinct_ids(xor_with_digests(base_ids, user_ids), base_ids)
    return xor_with_digests(base_ids, user_ids)


def _with_cell_places(good_rows: pa.Table, resolution: int) -> pa.Table:
    """Set the H3 cell of the coordinates as the place of events that have none."""
    lat_deg, lon_deg = (good_rows[column_name].to_numpy() for column_name in (c.LAT, c.LON))
    cell_ids = cell_names(h3_cells(lat=lat_deg, lon=lon_deg, resolution=resolution))
    place_ids = pc.coalesce(good_rows[c.PLACE_ID], cell_ids)
    return good_rows.set_column(good_rows.column_names.index(c.PLACE_ID), c.PLACE_ID, place_ids)


def _with_coarse_coordinates(good_rows: pa.Table, n_decimals: int) -> pa.Table:
    """Round the coordinates; ids and cells, made before, stay those of the exact ones."""
    for column_name in (c.LAT, c.LON):
        column_idx = good_rows.column_names.index(column_name)
        coarse_column = pc.round(good_rows[column_name], ndigits=n_decimals)
        good_rows = good_rows.set_column(column_idx, column_name, coarse_column)
    return good_rows


class _BatchConversion:
    """Conversion of one batch.

    Attributes:
        spec: The dataset.
        n: Number of rows.
        raw: Columns of the batch by contract name.
        refusals: Mask of the refused rows by reason, shape (n,) each.
        missing_numbers: Number of values by column that state that a number is missing.
    """

    def __init__(
        self, dataset_spec: DatasetSpec, raw_rows: pa.Table, text_options: TextOptions
    ) -> None:
        self.spec, self.text_options = dataset_spec, text_options
        self.missing_numbers: dict[str, int] = {}
        self.n = raw_rows.num_rows
        self.raw = {
            column_name: _decoded_array(raw_rows[column_name])
            for column_name in raw_rows.column_names
        }
        self.refusals: dict[str, _MASK] = {}

    def table(self) -> pa.Table:
        """All rows, converted; refused ones hold nulls, and all event ids are still empty."""
        for column_name, raw_column in self.raw.items():
            self._refuse_long(column_name, raw_column)
        arrow_fields = list(EVENTS)
        converted_columns: dict[str, pa.Array] = {
            c.EVENT_ID: pa.array(np.full(self.n, ""), pa.string())
        }
        converted_columns[c.OCCURRED_AT] = self._instants()
        converted_columns[c.UTC_OFFSET_MIN] = self._offsets(converted_columns[c.OCCURRED_AT])
        converted_columns |= {
            column_name: self._numbers(column_name) for column_name in (c.LAT, c.LON, c.VALUE)
        }
        converted_columns |= {
            column_name: self._id(column_name)
            for column_name in (c.USER_ID, c.ITEM_ID, c.SESSION_ID)
        }
        converted_columns[c.EVENT_TYPE] = pc.fill_null(self._id(c.EVENT_TYPE), self.spec.event_type)
        converted_columns[c.PLACE_ID] = self._place(converted_columns[c.ITEM_ID])
        for column_name in self.spec.context_columns:
            arrow_fields.append(pa.field(column_name, pa.float64()))
            converted_columns[column_name] = self._numbers(column_name)
        for column_name in self.spec.attribute_columns:
            arrow_fields.append(pa.field(column_name, pa.string()))
            converted_columns[column_name] = self._text(column_name)
        return pa.table(
            [converted_columns[arrow_field.name] for arrow_field in arrow_fields],
            schema=pa.schema(arrow_fields),
        )

    def _refuse(self, row_mask: _MASK, reason: str) -> None:
        if row_mask.any():
            self.refusals[reason] = row_mask

    def _refuse_long(self, column_name: str, column: pa.Array) -> None:
        if column_name in _ID_COLUMNS:
            return  # shorter bounds apply
        if is_textual(column.type) or pa.types.is_binary(column.type):
            is_long = pc.fill_null(pc.greater(pc.binary_length(column), MAX_TEXT_BYTES), False)
            self._refuse(
                _bool_mask(is_long),
                f"{column_name} is longer than {MAX_TEXT_BYTES} bytes",
            )

    def _id(self, column_name: str) -> pa.Array:
        """Ids of a column; rows without a user or an item are refused."""
        raw_column = self.raw.get(column_name)
        if raw_column is None:
            return pa.nulls(self.n, pa.string())
        with text_errors(column_name, raw_column):
            ids = id_texts(raw_column, self.text_options.null_values)
        is_required = column_name in (c.USER_ID, c.ITEM_ID)
        for reason, row_mask in ids.refusals.items():
            if is_required or not reason.startswith(MISSING):
                self._refuse(row_mask, f"{column_name} {reason}")
        return ids.texts

    def _text(self, column_name: str) -> pa.Array:
        raw_column = self.raw.get(column_name)
        if raw_column is None:
            return pa.nulls(self.n, pa.string())
        with text_errors(column_name, raw_column):
            text = utf8_texts(raw_column)
        is_broken = _bool_mask(raw_column.is_valid()) & _bool_mask(text.is_null())
        self._refuse(is_broken, f"{column_name} {NOT_UTF8}")
        is_null = pc.or_(pc.is_null(raw_column, nan_is_null=True), pc.equal(text, ""))
        return pc.if_else(pc.fill_null(is_null, True), pa.scalar(None, pa.string()), text)

    def _numbers(self, column_name: str) -> pa.Array:
        raw_column = self.raw.get(column_name)
        if raw_column is None:
            return pa.nulls(self.n, pa.float64())
        options = self.text_options
        numbers = as_numbers(raw_column, options.decimal, options.thousands)
        if numbers.null_count:
            is_unread = self._unread_numbers(column_name, raw_column, numbers)
            if is_unread.any():
                hint_text = number_hint(raw_column.filter(pa.array(is_unread)), options.decimal)
                self._refuse(is_unread, f"{column_name} is not a number{hint_text}")
        is_infinite = _bool_mask(pc.fill_null(pc.invert(pc.is_finite(numbers)), False))
        self._refuse(is_infinite, f"{column_name} is not finite")
        return numbers

    def _unread_numbers(self, column_name: str, raw_column: pa.Array, numbers: pa.Array) -> _MASK:
        """Mask of the present values that are neither a number nor a word for a missing one."""
        null_rows = np.flatnonzero(_bool_mask(pc.and_(numbers.is_null(), raw_column.is_valid())))
        is_unread = np.zeros(self.n, dtype=np.bool_)
        null_values = raw_column.take(pa.array(null_rows))
        if is_textual(raw_column.type):
            texts = pc.utf8_trim_whitespace(null_values.cast(pa.string()))
            words = [*MISSING_NUMBER_WORDS, *map(str.lower, self.text_options.null_values)]
            is_word = _bool_mask(pc.is_in(pc.utf8_lower(texts), value_set=pa.array(words)))
            is_unread[null_rows[~is_word]] = True
            n_missing = int((is_word & _bool_mask(pc.not_equal(texts, ""))).sum())
        elif pa.types.is_floating(raw_column.type):
            n_missing = len(null_rows)  # NaN
        else:
            is_unread[null_rows], n_missing = True, 0
        if n_missing:
            self.missing_numbers[column_name] = n_missing
        return is_unread

    def _instants(self) -> pa.Array:
        raw_column = self.raw[c.OCCURRED_AT]
        instants, is_skipped = as_instants(raw_column, self.spec.time)
        is_missing = _bool_mask(pc.is_null(raw_column, nan_is_null=True))
        self._refuse(is_missing, f"{c.OCCURRED_AT} {MISSING}")
        is_unread = _bool_mask(instants.is_null()) & ~is_missing
        unread = unread_reasons(raw_column, instants, is_unread, self.spec.time)
        for reason, row_mask in unread.items():
            self._refuse(row_mask, f"{c.OCCURRED_AT} {reason}")
        self._refuse(
            is_skipped, f"{c.OCCURRED_AT} does not exist on the clocks of {self.spec.time.timezone}"
        )
        return instants

    def _offsets(self, instants: pa.Array) -> pa.Array:
        if c.UTC_OFFSET_MIN in self.raw:
            offset_numbers = self._numbers(c.UTC_OFFSET_MIN)
            minutes = np.nan_to_num(offset_numbers.to_numpy(zero_copy_only=False))
            is_impossible = (np.abs(minutes) > MAX_UTC_OFFSET_MIN) | (minutes % 1 != 0)
            self._refuse(
                is_impossible,
                f"{c.UTC_OFFSET_MIN} is no whole number of minutes between "
                f"-{MAX_UTC_OFFSET_MIN} and {MAX_UTC_OFFSET_MIN}",
            )
            is_unusable = is_impossible | _bool_mask(offset_numbers.is_null())
            column_offsets = pa.array(
                np.where(is_unusable, 0, minutes).astype(np.int32), mask=is_unusable
            )
            return pc.coalesce(column_offsets, self._zone_offsets(instants))
        return self._zone_offsets(instants)

    def _zone_offsets(self, instants: pa.Array) -> pa.Array:
        """UTC offsets of ``local_zone``, minutes; null where an instant or the zone is missing."""
        if self.spec.local_zone is None:
            return pa.nulls(self.n, pa.int32())
        utc_seconds = instants.cast(pa.int64()).fill_null(0).to_numpy() // 1_000_000
        zone_offsets = utc_offsets(utc_seconds, self.spec.local_zone)
        return pa.array(zone_offsets, mask=_bool_mask(instants.is_null()))

    def _place(self, items: pa.Array) -> pa.Array:
        if c.PLACE_ID not in self.raw and self.spec.items_are_places:
            return items
        return self._id(c.PLACE_ID)


def _refused_table(
    reason_masks: dict[str, _MASK], is_refused: _MASK, read_positions: npt.NDArray[np.int64]
) -> pa.Table:
    refused_rows = np.flatnonzero(is_refused)
    if not len(refused_rows):
        return REFUSED.empty_table()
    has_reason = np.stack(
        [reason_mask[refused_rows] for reason_mask in reason_masks.values()], axis=1
    )  # (n_refused, n_reasons)
    list_offsets = np.concatenate([[0], np.cumsum(has_reason.sum(axis=1))]).astype(np.int32)
    reason_names = pa.array(list(reason_masks), pa.string()).take(
        pa.array(np.nonzero(has_reason)[1])
    )
    reason_lists = pa.ListArray.from_arrays(pa.array(list_offsets), reason_names)
    return pa.table([pa.array(read_positions[refused_rows]), reason_lists], schema=REFUSED)


def _decoded_array(column: pa.ChunkedArray) -> pa.Array:
    """One array without dictionary encoding, which pandas categoricals have."""
    array = column.combine_chunks()
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array


def _bool_mask(mask: pa.Array) -> _MASK:
    return np.asarray(mask.to_numpy(zero_copy_only=False), dtype=np.bool_)
