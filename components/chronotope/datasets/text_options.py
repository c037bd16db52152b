"""Options of text files, such as CSV, in a dataset's YAML."""

from pydantic import Field

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
