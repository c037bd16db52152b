"""Rows stay whole, foreign files stay untouched, and options say what they accept."""

from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from benchmarks.rows import at_least_one, read_rows, some_of, write_rows
from chronotope.contracts.errors import ConfigError


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    rows = [{"model": "one", "mrr": 0.5}, {"model": "two", "mrr": None}]
    assert read_rows(tmp_path / "rows.json") == []
    write_rows(rows, tmp_path / "rows.json")
    assert read_rows(tmp_path / "rows.json") == rows
    assert [path.name for path in tmp_path.iterdir()] == ["rows.json"]


@pytest.mark.parametrize("text", ["{broken", '{"model": 1}', "[1, 2]"])
def test_a_file_of_something_else_is_refused_and_left(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"rows\.json"):
        read_rows(path)
    assert path.read_text(encoding="utf-8") == text


def test_options_say_what_they_accept() -> None:
    assert some_of(["a", "b", "c"])("a,c") == ["a", "c"]
    with pytest.raises(ArgumentTypeError, match="unknown"):
        some_of(["a"])("a,z")
    assert at_least_one("3") == 3
    with pytest.raises(ArgumentTypeError, match="received 0"):
        at_least_one("0")
