"""docs/bring-your-own-log.md: its YAML is understood, and its numbers are those of the code."""

import re
from datetime import timedelta
from pathlib import Path

import yaml

from chronotope.contracts.clock import MAX_CLOCK_SKEW
from chronotope.datasets.files.budget import FREE_BYTES, MAX_COLUMNS, MAX_EXPANSION
from chronotope.datasets.files.download import MAX_REDIRECTS
from chronotope.datasets.files.parquet_stream import MAX_FOOTER_BYTES
from chronotope.datasets.files.text_lines import MAX_LINE_BYTES
from chronotope.datasets.table_spec import SourceLimits
from chronotope.datasets.text_options import TextOptions

DOC = (Path(__file__).parents[2] / "docs" / "bring-your-own-log.md").read_text(encoding="utf-8")


def test_the_limits_are_the_defaults() -> None:
    blocks = [yaml.safe_load(text) for text in re.findall(r"```yaml\n(.*?)```", DOC, re.DOTALL)]
    (limits,) = [block["limits"] for block in blocks if "limits" in block]
    assert SourceLimits.model_validate(limits) == SourceLimits()
    assert set(limits) == set(SourceLimits.model_fields)


def test_the_numbers_are_those_of_the_code() -> None:
    for words in (
        f"more than {MAX_EXPANSION} times its size once that is above {FREE_BYTES >> 30} GiB",
        f"a line of more than {MAX_LINE_BYTES >> 20} MiB",
        f"more than {MAX_COLUMNS:,} columns",
        f"a footer of more than {MAX_FOOTER_BYTES >> 20} MiB",
    ):
        assert words in DOC, words
    assert (MAX_REDIRECTS, timedelta(minutes=5)) == (5, MAX_CLOCK_SKEW)


def test_the_options_of_text_files_are_those_of_the_code() -> None:
    section = DOC.split("## Text files\n")[1].split("\n## ")[0]
    options = dict(re.findall(r"^\| `(\w+)` \| `?([^|`]*)`? \|", section, re.MULTILINE))
    assert options.keys() <= TextOptions.model_fields.keys()
    for name, default in options.items():
        shown = TextOptions.model_fields[name].default
        assert default.strip() == ("" if shown in (None, ()) else str(shown)), name
