"""Options of text files (CSV and JSON Lines) in a dataset's YAML."""

from typing import Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from chronotope.contracts.id_rules import NULL_WORDS
from chronotope.datasets.time_spec import FrozenModel

WHITESPACE: Final = "whitespace"
"""Delimiter word: runs of spaces and tabs separate the columns."""

_DELIMITER_WORDS: Final = {
    "tab": "\t",
    "\\t": "\t",
    "comma": ",",
    "semicolon": ";",
    "pipe": "|",
    "space": " ",
}


class TextOptions(FrozenModel):
    """How the lines of a text file are split into rows and fields."""

    encoding: str = Field(default="utf-8", description="Text encoding of a CSV or JSON file")
    delimiter: str = Field(
        default=",",
        min_length=1,
        max_length=16,
        description="Column separator of a CSV file: one or more characters, or one of the words "
        "tab, comma, semicolon, pipe, space, and whitespace for runs of spaces and tabs",
    )
    header: bool | None = Field(
        default=None,
        description="Whether the first line of a CSV file holds the column names. Left out, it "
        "does, unless columns maps numbers that can only be positions",
    )
    names: tuple[str, ...] = Field(
        default=(),
        description="Column names of a CSV file, in order; with header: true they replace the "
        "names in the file. Without names, the columns of a headerless file are numbered from 1, "
        "or from 0 if columns maps 0",
    )
    quote: str | None = Field(
        default='"',
        max_length=1,
        description="Quotation mark around CSV fields; null if the file has no quoting, so that "
        "every quotation mark is a plain character",
    )
    escape: str | None = Field(
        default=None,
        max_length=1,
        description="Character that makes the next quotation mark or delimiter of a CSV file a "
        "plain character, such as a backslash; by default a mark is doubled, and a backslash is "
        "tried on lines that have the wrong number of columns otherwise",
    )
    skip_rows: int = Field(
        default=0,
        ge=0,
        le=100_000,
        description="Number of lines before the header of a CSV file, which are not read",
    )
    comment: str | None = Field(
        default=None,
        min_length=1,
        max_length=16,
        description="Prefix of lines of a CSV file that are comments. Left out, lines with # "
        "before the header are",
    )
    skip_initial_space: bool | None = Field(
        default=None,
        description="Whether spaces after a delimiter of a CSV file are left out. Left out, they "
        "are if every delimiter of the header is followed by a space",
    )
    max_refused_share: float = Field(
        default=0.2,
        ge=0.0,
        le=1.0,
        description="Maximum share of the lines of a file that may be refused, for example for a "
        "wrong number of columns; above it, and above five lines, the file is refused. 0 refuses "
        "the file at the first line",
    )

    null_values: tuple[str, ...] = Field(
        default=NULL_WORDS,
        description="Texts that stand for a missing id, such as NULL; the list replaces the "
        "default one, and [] allows every text. In columns of numbers they are missing "
        "numbers, as are the default texts and dashes",
    )
    decimal: Literal[".", ","] = Field(
        default=".", description="Decimal separator of numbers in texts, a point or a comma"
    )
    thousands: Literal[",", ".", " ", "'", "_"] | None = Field(
        default=None,
        description="Separator of groups of three digits in texts, such as , in 1,234.5; none by "
        "default",
    )

    @field_validator("delimiter")
    @classmethod
    def _delimiter_character(cls, delimiter: str) -> str:
        if "\n" in delimiter or "\r" in delimiter:
            raise ValueError("a line break cannot separate columns")
        return _DELIMITER_WORDS.get(delimiter.strip().lower(), delimiter)

    @model_validator(mode="after")
    def _distinct_characters(self) -> Self:
        if self.quote and self.quote in self.delimiter:
            raise ValueError("quote and delimiter must differ; set quote: null for no quoting")
        if self.escape and self.escape in self.delimiter:
            raise ValueError("escape and delimiter must differ")
        if len(set(self.names)) < len(self.names):
            raise ValueError("names must differ from each other")
        return self

    @model_validator(mode="after")
    def _distinct_separators(self) -> Self:
        if self.thousands == self.decimal:
            raise ValueError("decimal and thousands must differ")
        return self
