"""Conversion of cells to the texts of ids, by the rules of ``contracts.id_rules``."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts.errors import SchemaError
from chronotope.contracts.event_bounds import MAX_ID_CHARS
from chronotope.contracts.id_rules import (
    CONTROL,
    EXPONENT,
    HAS_CONTROL,
    LOST_DIGITS,
    MAX_EXACT_FLOAT,
    MISSING,
    NOT_UTF8,
    NULL_WORDS,
    TOO_LONG,
    WHOLE_FLOAT,
)

HAS_FRACTION: Final = "is a number with a fraction"
_UUID_BYTES: Final = 16
_HEX_PAIRS: Final = np.frombuffer(bytes(range(256)).hex().encode(), np.uint8).reshape(256, 2)
_UUID_DASHES: Final = (8, 13, 18, 23)
_EXACT_BELOW: Final = {16: 2**11, 32: 2**24, 64: MAX_EXACT_FLOAT}
"""Whole numbers below it are exact, by the bits of a floating-point type."""

_TEXT: Final = pa.string()
Mask = npt.NDArray[np.bool_]


@dataclass(slots=True)
class IdTexts:
    """Texts of a column of ids.

    Attributes:
        texts: The ids, null where a value is missing or refused.
        refusals: Mask of the refused or missing values by reason, without the column's name.
    """

    texts: pa.Array
    refusals: dict[str, Mask] = field(default_factory=dict)

    def refuse(self, mask: pa.Array | pa.ChunkedArray, reason: str) -> None:
        """Set the texts of a mask to null and record the reason."""
        is_refused = np.asarray(pc.fill_null(mask, False).to_numpy(zero_copy_only=False), np.bool_)
        if is_refused.any():
            self.refusals[reason] = self.refusals.get(reason, False) | is_refused
            self.texts = pc.if_else(pa.array(is_refused), pa.scalar(None, _TEXT), self.texts)


def id_texts(column: pa.Array, null_words: Sequence[str] = NULL_WORDS) -> IdTexts:
    """Texts of ids of any type.

    Integers, exact floating-point numbers and decimals without a fraction become the text of the
    integer, 16 bytes a UUID, other bytes the text that they encode.

    Args:
        column: The ids as read from the source.
        null_words: Texts that stand for a missing id.

    Raises:
        ArrowInvalid, ArrowNotImplementedError: The type has no text, such as a list.
    """
    result = _as_texts(column)
    result.refuse(pc.is_null(column, nan_is_null=True), MISSING)
    if _is_numeric(column.type) or pa.types.is_temporal(column.type):
        return result
    _check_texts(result, null_words)
    return result


def integer_texts(column: pa.Array) -> pa.Array:
    """Texts of whole numbers, null elsewhere; other types give nulls."""
    return _as_texts(column).texts if _is_numeric(column.type) else pa.nulls(len(column), _TEXT)


def utf8_texts(column: pa.Array) -> pa.Array:
    """Texts of bytes, null where they are not UTF-8."""
    try:
        return column.cast(_TEXT)
    except pa.ArrowInvalid:  # at least one is not: a loop over this batch
        byte_values = column.cast(pa.binary()).to_pylist()
        return pa.array([_decoded(value) for value in byte_values], _TEXT)


@contextmanager
def text_errors(column_name: str, column: pa.Array) -> Iterator[None]:
    """Raise an error of Arrow about a type without a text as ``SchemaError``.

    Args:
        column_name: Name of the column, for the message.
        column: The column.
    """
    try:
        yield
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise SchemaError(
            f"Column {column_name!r} cannot be read as text",
            received=column.type,
            way_out="Map a column of text or numbers, or correct the source",
        ) from error


def _check_texts(result: IdTexts, null_words: Sequence[str]) -> None:
    special = "|".join([r"\.0$", r"[eE]\+[0-9]{2,}$", CONTROL, r"^$"])
    is_special = pc.match_substring_regex(result.texts, special)
    if null_words:
        is_special = pc.or_(is_special, pc.is_in(result.texts, value_set=pa.array(null_words)))
    is_long = pc.greater(pc.binary_length(result.texts), MAX_ID_CHARS)
    if pc.any(is_long).as_py():
        result.refuse(pc.greater(pc.utf8_length(result.texts), MAX_ID_CHARS), TOO_LONG)
    if not pc.any(is_special).as_py():
        return
    texts = result.texts
    result.refuse(pc.equal(texts, ""), MISSING)
    for word in null_words:
        result.refuse(pc.equal(texts, word), f"{MISSING} ({word})" if word else MISSING)
    result.refuse(pc.match_substring_regex(texts, CONTROL), HAS_CONTROL)
    result.refuse(pc.match_substring_regex(texts, EXPONENT), LOST_DIGITS)
    is_whole = pc.fill_null(pc.match_substring_regex(texts, WHOLE_FLOAT), False)
    if pc.any(is_whole).as_py():
        integer_parts = pc.utf8_slice_codeunits(texts, 0, -2)
        digits = pc.if_else(is_whole, pc.utf8_ltrim(integer_parts, "-"), "0")
        is_long = pc.greater(pc.utf8_length(digits), 16)
        is_large = pc.greater_equal(pc.utf8_lpad(digits, 16, padding="0"), str(MAX_EXACT_FLOAT))
        result.refuse(pc.or_(is_long, is_large), LOST_DIGITS)
        integer_parts = pc.if_else(pc.equal(integer_parts, "-0"), "0", integer_parts)
        is_exact = pc.and_(is_whole, result.texts.is_valid())
        result.texts = pc.if_else(is_exact, integer_parts, result.texts)


def _as_texts(column: pa.Array) -> IdTexts:
    column_type = column.type
    if isinstance(column_type, pa.BaseExtensionType):
        return _as_texts(column.storage)
    if pa.types.is_floating(column_type):
        return _float_texts(column)
    if pa.types.is_decimal(column_type):
        return _decimal_texts(column)
    if pa.types.is_fixed_size_binary(column_type) and column_type.byte_width == _UUID_BYTES:
        return IdTexts(_uuid_texts(column))
    if (
        pa.types.is_binary(column_type)
        or pa.types.is_large_binary(column_type)
        or (pa.types.is_fixed_size_binary(column_type) or pa.types.is_binary_view(column_type))
    ):
        result = IdTexts(utf8_texts(column.cast(pa.large_binary())))
        result.refuse(pc.and_(result.texts.is_null(), column.is_valid()), NOT_UTF8)
        return result
    return IdTexts(column.cast(_TEXT))


def _float_texts(column: pa.Array) -> IdTexts:
    bound = _EXACT_BELOW[column.type.bit_width]
    numbers = column.cast(pa.float64())
    is_exact = pc.and_(pc.less(pc.abs(numbers), bound), pc.equal(pc.floor(numbers), numbers))
    integers = pc.if_else(pc.fill_null(is_exact, False), numbers, pa.scalar(None, pa.float64()))
    result = IdTexts(integers.cast(pa.int64()).cast(_TEXT))
    is_number = pc.and_(numbers.is_valid(), pc.invert(pc.is_nan(numbers)))
    is_large = pc.greater_equal(pc.abs(numbers), bound)
    result.refuse(pc.and_(is_number, is_large), LOST_DIGITS)
    is_fraction = pc.and_(pc.less(pc.abs(numbers), bound), pc.invert(is_exact))
    result.refuse(pc.and_(is_number, is_fraction), HAS_FRACTION)
    return result


def _decimal_texts(column: pa.Array) -> IdTexts:
    if column.type.scale < 0:
        column = column.cast(pa.decimal256(76, 0))
    texts = pc.replace_substring_regex(column.cast(_TEXT), pattern=r"\.0+$", replacement="")
    result = IdTexts(texts)
    result.refuse(pc.match_substring(texts, "."), HAS_FRACTION)
    return result


def _uuid_texts(column: pa.Array) -> pa.Array:
    """Canonical texts of UUIDs, such as 123e4567-e89b-12d3-a456-426614174000."""
    n_rows = len(column)
    is_valid = np.asarray(column.is_valid().to_numpy(zero_copy_only=False), np.bool_)
    filled = column.fill_null(bytes(_UUID_BYTES)) if column.null_count else column
    content = np.frombuffer(filled.buffers()[1], np.uint8)
    start = filled.offset * _UUID_BYTES
    uuid_bytes = content[start : start + n_rows * _UUID_BYTES].reshape(n_rows, _UUID_BYTES)
    characters = np.full((n_rows, 36), ord("-"), np.uint8)
    columns = [idx for idx in range(36) if idx not in _UUID_DASHES]
    characters[:, columns] = _HEX_PAIRS[uuid_bytes].reshape(n_rows, 32)
    offsets = np.arange(0, 36 * (n_rows + 1), 36, dtype=np.int32)
    texts = pa.StringArray.from_buffers(n_rows, pa.py_buffer(offsets), pa.py_buffer(characters))
    return pc.if_else(pa.array(is_valid), texts, pa.scalar(None, _TEXT))


def _is_numeric(column_type: pa.DataType) -> bool:
    return bool(
        pa.types.is_integer(column_type)
        or pa.types.is_floating(column_type)
        or pa.types.is_decimal(column_type)
    )


def _decoded(value: bytes | None) -> str | None:
    try:
        return None if value is None else value.decode()
    except UnicodeDecodeError:
        return None
