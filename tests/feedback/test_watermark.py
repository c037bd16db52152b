"""How far we are is kept whole."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from chronotope.contracts.errors import StoreError
from chronotope.feedback.watermark import Watermark, read_watermark, write_watermark


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
