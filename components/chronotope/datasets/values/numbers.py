"""Conversion of cells to floating-point numbers."""

from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

_NUMBER: Final = r"^[+-]?(\d+\.?\d*([eE][+-]?\d+)?|\.\d+([eE][+-]?\d+)?)$"
_INFINITE: Final = r"(?i)^[+-]?inf(inity)?$"
_HINTS: Final = {
    ".": (
        (r"^[+-]?\d{1,3}(\.\d{3})+,\d*$", 'set decimal: "," and thousands: "."'),
        (r"^[+-]?\d{1,3}(,\d{3})+\.\d*$", 'set thousands: ","'),
        (r"^[+-]?\d*,\d+$", 'for a decimal comma set decimal: ","; for 1,234 set thousands: ","'),
        (r"^[+-]?\d[\d.,]*$", "set decimal and thousands"),
    ),
    ",": ((r"^[+-]?\d[\d.,]*$", 'the numbers do not fit decimal: ","; set thousands, or drop it'),),
}
"""Regular expressions of unread texts by decimal separator, and what may read them."""

MISSING_NUMBER_WORDS: Final = frozenset(
    {
        "",
        "-",
        "--",
        "\u2013",
        "\u2014",
        "null",
        r"\n",
        "nan",
        "none",
        "n/a",
        "na",
        "<na>",
        "#n/a",
        "nil",
    }
)
"""Texts, in lower case, that stand for a missing number."""


def is_textual(column_type: pa.DataType) -> bool:
    """Whether an Arrow type holds text."""
    return bool(
        pa.types.is_string(column_type)
        or pa.types.is_large_string(column_type)
        or pa.types.is_string_view(column_type)
    )


def as_numbers(column: pa.Array, decimal: str = ".", thousands: str | None = None) -> pa.Array:
    """Numbers of a numeric, boolean or text column; null where a value is not a number.

    NaN is null. Infinity is kept, so that the caller can report it.

    Args:
        column: The column.
        decimal: Decimal separator of the texts.
        thousands: Separator of groups of three digits in the texts; None allows none.

    Example:
        >>> as_numbers(pa.array(["1.234,5", "x", "+3"]), ",", ".").to_pylist()
        [1234.5, None, 3.0]
    """
    column_type = column.type
    if pa.types.is_boolean(column_type):
        return column.cast(pa.int8()).cast(pa.float64())
    if is_textual(column_type):
        texts = pc.utf8_trim_whitespace(column.cast(pa.string()))
        return _from_texts(_with_points(texts, decimal, thousands))
    if pa.types.is_decimal(column_type) or pa.types.is_integer(column_type):
        return pc.cast(column, pa.float64(), safe=False)
    if pa.types.is_floating(column_type):
        numbers = pc.cast(column, pa.float64(), safe=False)
        return pc.if_else(pc.is_nan(numbers), pa.scalar(None, pa.float64()), numbers)
    return pa.nulls(len(column), pa.float64())


def number_hint(unread_values: pa.Array, decimal: str) -> str:
    """Likely reason why values are no numbers, after a colon; empty if unknown.

    Args:
        unread_values: Values that are not numbers.
        decimal: Decimal separator that was used.
    """
    if not is_textual(unread_values.type):
        return f": the column has the type {unread_values.type}"
    texts = pc.utf8_trim_whitespace(unread_values.cast(pa.string()))
    for pattern, hint_text in _HINTS[decimal]:
        if pc.all(pc.match_substring_regex(texts, pattern)).as_py():
            return f": {hint_text}"
    return ""


def _from_texts(texts: pa.Array) -> pa.Array:
    is_number = pc.match_substring_regex(texts, _NUMBER)
    if is_number.false_count:
        is_number = pc.or_(is_number, pc.match_substring_regex(texts, _INFINITE))
    return pc.cast(pc.if_else(is_number, texts, pa.scalar(None, texts.type)), pa.float64())


def _with_points(texts: pa.Array, decimal: str, thousands: str | None) -> pa.Array:
    """The texts with a decimal point; null where a separator is out of place."""
    if decimal == "." and thousands is None:
        return texts
    group, point = _char_class(thousands or ""), _char_class(decimal)
    whole = rf"(?:\d{{1,3}}(?:{group}\d{{3}})+|\d+)" if thousands else r"\d+"
    is_grouped = pc.match_substring_regex(
        texts, rf"(?i)^[+-]?(?:{whole}(?:{point}\d*)?|{point}\d+)(?:e[+-]?\d+)?$|^[+-]?inf(inity)?$"
    )
    texts = pc.if_else(is_grouped, texts, pa.scalar(None, texts.type))
    if thousands:
        texts = pc.replace_substring_regex(texts, pattern=group, replacement="")
    return pc.replace_substring(texts, pattern=decimal, replacement=".")


def _char_class(separator: str) -> str:
    """Regular expression of a separator; a blank stands for blanks of every width."""
    return r"[ \x{00a0}\x{2009}\x{202f}]" if separator == " " else f"[{separator}]"
