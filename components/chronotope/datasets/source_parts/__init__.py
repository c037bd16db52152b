"""Parts of a source that tasks read independently: files, or row groups of Parquet files."""

from chronotope.datasets.source_parts.divide_source import FileSlice, SourcePart, divide_source
from chronotope.datasets.source_parts.read_part import PartReading, read_part

__all__ = ["FileSlice", "PartReading", "SourcePart", "divide_source", "read_part"]
