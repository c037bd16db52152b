"""Row filters of a table's YAML (``keep``): rows that are not wanted are dropped and counted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Annotated, Any, Final, Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BeforeValidator, ConfigDict, Field, model_validator

from chronotope.contracts import columns as c
from chronotope.datasets.parsing import as_numbers
from chronotope.datasets.text_options import TextOptions
from chronotope.datasets.time_spec import FrozenModel

OPERATORS: Final = (
    "gt",
    "ge",
    "lt",
    "le",
    "eq",
    "ne",
    "in",
    "not_in",
    "starts_with",
    "not_starts_with",
    "is_missing",
)
"""Operators of a filter, in the order in which they are applied."""

_SOURCE_PREFIX: Final = "source:"
_EXACT_INTEGERS: Final = 2**53  # up to here float64 holds every integer
_SHOWN_CHARS: Final = 60
_COMPARISONS: Final = {
    "gt": pc.greater,
    "ge": pc.greater_equal,
    "lt": pc.less,
    "le": pc.less_equal,
}


def _scalar(operand: object) -> object:
    """Refuse what YAML has turned into something else than a number or a text."""
    if isinstance(operand, bool):
        raise ValueError(  # noqa: TRY004 - pydantic reports ValueError only
            "YAML reads yes, no, on, off, true and false as truth values: write the text in "
            'quotes, such as "no"'
        )
    if operand is None or isinstance(operand, int | float | str):
        return operand
    raise ValueError("write a number, or a text in quotes; a date is compared as text")


def _scalars(operands: object) -> object:
    if operands is None:
        return None
    if not isinstance(operands, list | tuple):
        raise ValueError("write a list, such as [purchase, refund]")  # noqa: TRY004
    return tuple(_scalar(operand) for operand in operands)


def _prefixes(operands: object) -> object:
    """One prefix or a list of them, as texts; numbers are written as in the YAML."""
    listed_operands = operands if isinstance(operands, list | tuple) else [operands]
    return None if operands is None else tuple(str(_scalar(operand)) for operand in listed_operands)


Operand = Annotated[int | float | str | None, BeforeValidator(_scalar)]
OperandList = Annotated[
    tuple[int | float | str, ...] | None, BeforeValidator(_scalars), Field(min_length=1)
]
PrefixList = Annotated[tuple[str, ...] | None, BeforeValidator(_prefixes), Field(min_length=1)]


Conditions = dict[str, Any]
"""Operands by operator."""


class RowFilter(FrozenModel):
    """Conditions on one column; a row that does not meet all of them is dropped.

    Numbers are compared as numbers and texts as texts. A missing value, or a text that is no
    number where the operand is one, meets only ``ne``, ``not_in``, ``not_starts_with`` and
    ``is_missing: true``.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        validate_by_alias=True,
        validate_by_name=True,
        serialize_by_alias=True,
    )

    gt: Operand = Field(default=None, description="Greater than")
    ge: Operand = Field(default=None, description="Greater than or equal")
    lt: Operand = Field(default=None, description="Less than")
    le: Operand = Field(default=None, description="Less than or equal")
    eq: Operand = Field(default=None, description="Equal")
    ne: Operand = Field(default=None, description="Not equal")
    any_of: OperandList = Field(default=None, alias="in", description="Equal to one of a list")
    not_in: OperandList = Field(default=None, description="Equal to none of a list")
    starts_with: PrefixList = Field(
        default=None, description="Text that starts with this prefix, or one of a list"
    )
    not_starts_with: PrefixList = Field(
        default=None, description="Text that starts with none of these prefixes"
    )
    is_missing: bool | None = Field(default=None, description="Missing (true) or present (false)")

    @model_validator(mode="before")
    @classmethod
    def _is_mapping(cls, value: object) -> object:
        if not isinstance(value, dict):
            raise ValueError(  # noqa: TRY004 - pydantic reports ValueError only
                "write operators, such as {gt: 0}, {in: [purchase]} or {not_starts_with: C}"
            )
        return value

    @model_validator(mode="after")
    def _not_empty(self) -> Self:
        if not self.conditions():
            raise ValueError(f"no operator; use one of {', '.join(OPERATORS)}")
        return self

    def conditions(self) -> Conditions:
        """Operands by operator, in the order of ``OPERATORS``."""
        return self.model_dump(by_alias=True, exclude_none=True)


KeepRules = dict[str, RowFilter]
"""Filters by column: a mapped contract column, or a column of the source."""


@dataclass(frozen=True, slots=True)
class FilteredRows:
    """Rows of a batch that meet all filters.

    Attributes:
        rows: Remaining rows, without the columns that only filters need.
        row_positions: Positions of these rows in the batch as read, shape (n_rows,).
        dropped: Number of dropped rows by rule; the first rule that a row fails counts.
    """

    rows: pa.Table
    row_positions: npt.NDArray[np.int64]
    dropped: dict[str, int]


def filter_column(column_name: str) -> str:
    """Name in a batch of a source column that only filters need."""
    return f"{_SOURCE_PREFIX}{column_name}"


def filter_rows(
    raw_rows: pa.Table,
    keep_rules: KeepRules,
    default_event_type: str | None = None,
    text_options: TextOptions = TextOptions(),  # noqa: B008 - frozen
) -> FilteredRows:
    """Drop the rows of a batch that do not meet the filters.

    Args:
        raw_rows: Rows with contract column names and the values of the source; source columns
            that only filters need have the names of ``filter_column``.
        keep_rules: Filters by column.
        default_event_type: Event type of rows that have none; filters see it.
        text_options: Decimal separators and null words of texts.
    """
    keep_mask = np.ones(raw_rows.num_rows, dtype=np.bool_)
    dropped: dict[str, int] = {}
    for column_name, row_filter in keep_rules.items():
        column = _FilterColumn(_column(raw_rows, column_name, default_event_type), text_options)
        for rule_name, is_met in _rule_masks(column_name, column, row_filter):
            n_dropped = int((keep_mask & ~is_met).sum())
            keep_mask &= is_met
            if n_dropped:
                dropped[rule_name] = dropped.get(rule_name, 0) + n_dropped
    mapped_rows = raw_rows.select(
        [name for name in raw_rows.column_names if not name.startswith(_SOURCE_PREFIX)]
    )
    row_positions = np.flatnonzero(keep_mask)
    remaining_rows = mapped_rows.take(pa.array(row_positions)) if dropped else mapped_rows
    return FilteredRows(remaining_rows, row_positions, dropped)


def _column(raw_rows: pa.Table, column_name: str, default_event_type: str | None) -> pa.Array:
    source_name = filter_column(column_name)
    batch_name = source_name if source_name in raw_rows.column_names else column_name
    column = raw_rows[batch_name].combine_chunks()
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if batch_name == c.EVENT_TYPE and default_event_type is not None:
        return pc.if_else(_is_blank(column), default_event_type, column.cast(pa.string()))
    return column


class _FilterColumn:
    """A column as the operators compare it."""

    def __init__(self, values: pa.Array, text_options: TextOptions) -> None:
        self.values, self.options = values, text_options

    @property
    def numbers(self) -> pa.Array:
        """Numbers, null where a value is none."""
        return as_numbers(self.values, self.options.decimal, self.options.thousands)

    @property
    def texts(self) -> pa.Array:
        """Texts; null stays null."""
        return self.values.cast(pa.string())

    @property
    def is_missing(self) -> pa.Array:
        """Null, NaN, white space only, or a word for missing values."""
        is_missing = _is_blank(self.values)
        if not _is_text(self.values):
            return is_missing
        null_words = pa.array(self.options.null_values, self.values.type)
        return pc.or_(is_missing, pc.is_in(self.values, value_set=null_words))


def _rule_masks(
    column_name: str, column: _FilterColumn, row_filter: RowFilter
) -> Iterator[tuple[str, npt.NDArray[np.bool_]]]:
    """Name and mask of each rule; values that are no number are a rule of their own."""
    for operator_name, operand in row_filter.conditions().items():
        rule_name = f"{column_name} {operator_name} {_operand_text(operand)}"
        if operator_name in _COMPARISONS and not isinstance(operand, str):
            is_number = pc.is_valid(pc.if_else(column.is_missing, None, column.numbers))
            yield f"{rule_name} (missing or not a number)", _bool_mask(is_number)
        yield rule_name, _bool_mask(_is_met(column, operator_name, operand))


def _is_met(column: _FilterColumn, operator_name: str, operand: Any) -> pa.Array:
    match operator_name:
        case "gt" | "ge" | "lt" | "le":
            values = column.texts if isinstance(operand, str) else column.numbers
            is_met = _COMPARISONS[operator_name](values, operand)
        case "eq":
            is_met = _is_any(column, (operand,))
        case "ne":
            is_met = pc.invert(_is_any(column, (operand,)))
        case "in":
            is_met = _is_any(column, operand)
        case "not_in":
            is_met = pc.invert(_is_any(column, operand))
        case "starts_with":
            is_met = _starts_with(column, operand)
        case "not_starts_with":
            is_met = pc.invert(_starts_with(column, operand))
        case _:
            is_met = pc.equal(column.is_missing, operand)
    return pc.fill_null(is_met, False)


def _is_any(column: _FilterColumn, operands: Sequence[int | float | str]) -> pa.Array:
    """Whether a value equals one of the operands: as numbers if all operands are numbers."""
    if all(_is_exact_number(operand) for operand in operands):
        return pc.is_in(column.numbers, value_set=pa.array(operands, pa.float64()))
    operand_texts = pa.array([str(operand) for operand in operands], pa.string())
    return pc.is_in(column.texts, value_set=operand_texts)


def _is_exact_number(operand: int | float | str) -> bool:
    """Whether float64 holds the operand; longer integers, such as ids, are compared as texts."""
    return isinstance(operand, int | float) and abs(operand) <= _EXACT_INTEGERS


def _starts_with(column: _FilterColumn, prefixes: Sequence[str]) -> pa.Array:
    prefix_masks = [pc.starts_with(column.texts, pattern=prefix) for prefix in prefixes]
    return pc.fill_null(reduce(pc.or_, prefix_masks), False)


def _is_text(values: pa.Array) -> bool:
    return bool(pa.types.is_string(values.type) or pa.types.is_large_string(values.type))


def _is_blank(values: pa.Array) -> pa.Array:
    """Null, NaN, or text of white space only."""
    is_null = pc.is_null(values, nan_is_null=True)
    if not _is_text(values):
        return is_null
    return pc.or_(is_null, pc.fill_null(pc.equal(pc.utf8_trim_whitespace(values), ""), False))


def _operand_text(operand: object) -> str:
    if isinstance(operand, bool):
        return str(operand).lower()
    operands = operand if isinstance(operand, list | tuple) else [operand]
    operand_text = ", ".join(map(str, operands))
    is_short = len(operand_text) <= _SHOWN_CHARS
    return operand_text if is_short else f"{operand_text[: _SHOWN_CHARS - 3]}..."


def _bool_mask(mask: pa.Array) -> npt.NDArray[np.bool_]:
    return np.asarray(mask.to_numpy(zero_copy_only=False), dtype=np.bool_)
