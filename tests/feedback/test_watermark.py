"""How far we are is kept whole, and files are taken in once in each form they had."""

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from chronotope.contracts.errors import StoreError
from chronotope.feedback.watermark import (
    Watermark,
    new_files,
    read_lines,
    read_watermark,
    write_watermark,
)


def test_it_is_read_back_and_a_damaged_one_says_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "new" / "watermark.json"
    assert read_watermark(path) == Watermark()
    mark = Watermark(seq=3, files={"a.jsonl": "12"}, learned_at=datetime(2025, 1, 1, tzinfo=UTC))
    write_watermark(path, mark)
    assert read_watermark(path) == mark
    assert [each.name for each in path.parent.iterdir()] == ["watermark.json"]
    path.write_text('{"seq": -1}')
    with pytest.raises(StoreError, match="Delete it"):
        read_watermark(path)


def test_a_file_is_new_until_it_is_taken_in_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text("1\n")
    (tmp_path / "a.jsonl").write_text("2\n")
    (tmp_path / "draft.part").write_text("3\n")
    found = new_files(tmp_path, Watermark())
    assert list(found) == ["a.jsonl", "b.jsonl"]
    mark = Watermark(files=found)
    assert new_files(tmp_path, mark) == {}
    (tmp_path / "b.jsonl").write_text("1\n4\n")
    assert list(new_files(tmp_path, mark)) == ["b.jsonl"]
    assert new_files(tmp_path / "absent", mark) == {}


def test_lines_that_are_no_json_stay_what_they_are(tmp_path: Path) -> None:
    path = tmp_path / "some.jsonl"
    path.write_bytes(json.dumps({"a": 1}).encode() + b"\n\n{half\n" + b"[" * 20_000 + b"\n\xff\n")
    first, half, deep, other = read_lines(path)
    assert (first, half, other) == ({"a": 1}, "{half", "�")
    assert deep == "[" * 20_000


def test_lines_end_at_a_line_feed_alone(tmp_path: Path) -> None:
    path, names = tmp_path / "some.jsonl", ["a\u2028b", "a\u2029b", "a\x85b"]
    lines = [json.dumps({"item_id": name}, ensure_ascii=False) for name in names]
    path.write_bytes("\r\n".join(lines).encode())
    assert read_lines(path) == [{"item_id": name} for name in names]
