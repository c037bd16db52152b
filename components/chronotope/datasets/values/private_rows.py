"""Rows as a dataset's privacy settings let them be stored: pseudonyms, coarse places and times."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.contracts.event_bounds import MAX_UTC_OFFSET_MIN
from chronotope.datasets.parsing import as_numbers, is_textual
from chronotope.datasets.text_options import TextOptions
from chronotope.datasets.time_spec import TimeSpec
from chronotope.datasets.values.coarse_raw_times import (
    UserClocks,
    coarse_raw_times,
    hidden_values,
)
from chronotope.datasets.values.id_texts import id_texts
from chronotope.datasets.values.numbers import MISSING_NUMBER_WORDS
from chronotope.privacy import (
    PrivacySettings,
    PseudonymKeys,
    coarse_coordinates,
    coarse_times,
    read_keys,
)


@dataclass(frozen=True, slots=True)
class PrivateRows:
    """Conversion of the rows of one dataset.

    Attributes:
        settings: What is stored of people.
        keys: Keys of the pseudonyms; None without pseudonyms.
        local_zone: Zone of the users' clocks where rows do not state it; None for UTC.
    """

    settings: PrivacySettings
    keys: PseudonymKeys | None
    local_zone: str | None = None

    @classmethod
    def of(cls, settings: PrivacySettings, dataset: str, local_zone: str | None = None) -> Self:
        """Conversion with the keys of the environment.

        Args:
            settings: What is stored of people.
            dataset: Name of the dataset.
            local_zone: Zone of the users' clocks; None for UTC.

        Raises:
            ConfigError: The keys are missing or too short.
        """
        pseudonyms = settings.pseudonyms
        keys = None if pseudonyms is None else read_keys(pseudonyms, dataset)
        return cls(settings, keys, local_zone)

    def stored(self, rows: pa.Table) -> pa.Table:
        """Valid rows of events or users as they are stored.

        Args:
            rows: Rows by the data contract.
        """
        if self.keys is not None:
            for column_name in self._hidden_columns(rows):
                rows = _replaced(rows, column_name, self.keys.pseudonyms(rows[column_name]))
        if self.settings.h3_resolution is not None and c.LAT in rows.column_names:
            rows = self._with_coarse_places(rows)
        if self.settings.time_resolution_min is not None and c.OCCURRED_AT in rows.column_names:
            rows = self._with_coarse_times(rows, self.settings.time_resolution_min)
        return rows

    def stored_raw(
        self, raw_rows: pa.Table, text_options: TextOptions, time_spec: TimeSpec
    ) -> pa.Table:
        """Rows as read, in the form in which refused ones are stored.

        Ids that cannot be read become nulls: they may name somebody, too. Times that cannot be
        read lose their digits and letters.

        Args:
            raw_rows: Rows with contract column names and the values of the source.
            text_options: Null words and decimal separators of the source.
            time_spec: Encoding of the times.
        """
        if self.keys is not None:
            for column_name in self._hidden_columns(raw_rows):
                column = _decoded(raw_rows[column_name])
                texts = id_texts(column, text_options.null_values).texts
                raw_rows = _replaced(raw_rows, column_name, self.keys.pseudonyms(texts))
        if self.settings.h3_resolution is not None and {c.LAT, c.LON} <= {*raw_rows.column_names}:
            raw_rows = self._with_coarse_raw_places(raw_rows, text_options)
        resolution_min = self.settings.time_resolution_min
        if resolution_min is not None and c.OCCURRED_AT in raw_rows.column_names:
            column = _decoded(raw_rows[c.OCCURRED_AT])
            clocks = UserClocks(self.local_zone, _stated_offsets(raw_rows, text_options))
            coarse_column = coarse_raw_times(column, time_spec, clocks, resolution_min)
            raw_rows = _replaced(raw_rows, c.OCCURRED_AT, coarse_column)
        return raw_rows

    def _hidden_columns(self, rows: pa.Table) -> list[str]:
        hidden_names = {c.USER_ID} | self.settings.identifiers
        return [name for name in rows.column_names if name in hidden_names]

    def _with_coarse_places(self, rows: pa.Table) -> pa.Table:
        lat_deg, lon_deg = (rows[name].cast(pa.float64()).to_numpy() for name in (c.LAT, c.LON))
        centres = coarse_coordinates(
            lat=lat_deg, lon=lon_deg, resolution=self.settings.h3_resolution or 0
        )
        for column_idx, column_name in enumerate((c.LAT, c.LON)):
            is_known = ~np.isnan(centres[:, column_idx])
            is_alone = np.isnan(lat_deg) != np.isnan(lon_deg)  # would stay exact
            # An impossible value stays, for the suite to refuse.
            column = pc.if_else(
                pa.array(is_known), pa.array(centres[:, column_idx]), rows[column_name]
            )
            column = pc.if_else(pa.array(is_alone), pa.scalar(None, pa.float64()), column)
            rows = _replaced(rows, column_name, column)
        return rows

    def _with_coarse_raw_places(self, raw_rows: pa.Table, text_options: TextOptions) -> pa.Table:
        numbers = [
            as_numbers(_decoded(raw_rows[name]), text_options.decimal, text_options.thousands)
            for name in (c.LAT, c.LON)
        ]
        lat_deg, lon_deg = (column.to_numpy(zero_copy_only=False) for column in numbers)
        centres = coarse_coordinates(
            lat=lat_deg, lon=lon_deg, resolution=self.settings.h3_resolution or 0
        )
        for column_idx, (column_name, bound_deg) in enumerate(((c.LAT, 90.0), (c.LON, 180.0))):
            column, centre = _decoded(raw_rows[column_name]), centres[:, column_idx]
            if column.null_count == len(column):
                continue  # perhaps of a type that holds nothing
            coarse_column = pa.array(np.round(centre, 6))
            if is_textual(column.type):
                coarse_column = pc.replace_substring(
                    coarse_column.cast(pa.string()), ".", text_options.decimal
                )
                column = column.cast(pa.string())
            coarse_column = coarse_column.cast(column.type, safe=False)
            is_rounded = ~np.isnan(centre)
            # An impossible number stays, since it is the reason.
            is_alone = ~is_rounded & (np.abs((lat_deg, lon_deg)[column_idx]) <= bound_deg)
            is_unread = np.isnan((lat_deg, lon_deg)[column_idx]) & ~_is_absent(column, text_options)
            column = pc.if_else(pa.array(is_unread), hidden_values(column), column)
            column = pc.if_else(pa.array(is_alone), pa.scalar(None, column.type), column)
            column = pc.if_else(pa.array(is_rounded), coarse_column, column)
            raw_rows = _replaced(raw_rows, column_name, column)
        return raw_rows

    def _with_coarse_times(self, rows: pa.Table, resolution_min: int) -> pa.Table:
        instants = rows[c.OCCURRED_AT]
        occurred_us = instants.cast(pa.int64()).to_numpy()
        offsets = rows[c.UTC_OFFSET_MIN].fill_null(0).to_numpy()
        coarse_us = coarse_times(occurred_us, offsets, resolution_min)
        return _replaced(rows, c.OCCURRED_AT, pa.array(coarse_us).cast(instants.type))


def _is_absent(column: pa.Array, text_options: TextOptions) -> npt.NDArray[np.bool_]:
    """Whether values are words that state that a number is missing, shape (n,)."""
    if not is_textual(column.type):
        return np.zeros(len(column), np.bool_)
    words = [*MISSING_NUMBER_WORDS, *map(str.lower, text_options.null_values)]
    texts = pc.utf8_lower(pc.utf8_trim_whitespace(column))
    is_word = pc.is_in(texts, value_set=pa.array(words, column.type))
    return np.asarray(is_word.to_numpy(zero_copy_only=False), np.bool_)


def _stated_offsets(
    raw_rows: pa.Table, text_options: TextOptions
) -> npt.NDArray[np.float64] | None:
    """Usable offsets that rows state, minutes, NaN elsewhere, shape (n,); None without any."""
    if c.UTC_OFFSET_MIN not in raw_rows.column_names:
        return None
    column = _decoded(raw_rows[c.UTC_OFFSET_MIN])
    numbers = as_numbers(column, text_options.decimal, text_options.thousands)
    minutes = np.asarray(numbers.to_numpy(zero_copy_only=False), np.float64)
    with np.errstate(invalid="ignore"):
        is_usable = (np.abs(minutes) <= MAX_UTC_OFFSET_MIN) & (minutes % 1 == 0)
    return np.where(is_usable, minutes, np.nan)


def _replaced(rows: pa.Table, column_name: str, column: pa.Array | pa.ChunkedArray) -> pa.Table:
    column_idx = rows.column_names.index(column_name)
    old_field = rows.schema.field(column_idx)
    return rows.set_column(column_idx, old_field.with_type(column.type), column)


def _decoded(column: pa.ChunkedArray) -> pa.Array:
    array = column.combine_chunks()
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
