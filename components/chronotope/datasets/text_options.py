"""Options of text files, such as CSV, in a dataset's YAML."""

from typing import Literal, Self

from pydantic import Field, model_validator

from chronotope.contracts.id_rules import NULL_WORDS
from chronotope.datasets.time_spec import FrozenModel


class TextOptions(FrozenModel):
    """How the lines of a text file are split into rows and fields."""

    encoding: str = Field(default="utf-8", description="Text encoding of a CSV file")
    delimiter: str = Field(
        default=",",
        min_length=1,
        max_length=1,
        description="Column separator of a CSV file, one character",
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

    @model_validator(mode="after")
    def _distinct_separators(self) -> Self:
        if self.thousands == self.decimal:
            raise ValueError("decimal and thousands must differ")
        return self
