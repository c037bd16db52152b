"""JSON Lines and arrays of objects: exact texts, refused lines, nested names."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chronotope.contracts.errors import SchemaError, SourceError
from chronotope.datasets.files.json_lines import stream_json
from chronotope.datasets.files.line_accounting import SourceReport
from chronotope.datasets.table_spec import Format, TableSpec

COLUMNS = {"user_id": "user.id", "item_id": "item", "value": "price"}


def read(
    path: Path, report: SourceReport | None = None, read_bytes: int = 1 << 20, **options: object
) -> list[tuple[str | None, ...]]:
    spec = TableSpec.model_validate(
        {"format": "jsonl", "path": "log.json", "columns": COLUMNS} | options
    )
    assert spec.format is Format.JSON
    batches = list(stream_json(spec, path, report, read_bytes=read_bytes))
    return [tuple(row.values()) for batch in batches for row in batch.to_pylist()]


def written(folder: Path, text: str, encoding: str = "utf-8") -> Path:
    path = folder / "log.json"
    path.write_bytes(text.encode(encoding))
    return path


def test_numbers_keep_their_text_and_missing_keys_are_null(tmp_path: Path) -> None:
    lines = [
        '{"user": {"id": 12345678901234567890123}, "item": 1.10, "price": 1e400}',
        '{"price": null, "item": "a\\u00fc\\n", "user": {"id": "007"}, "more": [1]}',
        '{"user": {}, "item": true}',
        '{"user.id": "x", "item": ["a", "b"]}',
        '{"user": "no object", "item": "\\ud83d\\ude00"}',
    ]
    assert read(written(tmp_path, "\ufeff" + "\n".join(lines))) == [
        ("12345678901234567890123", "1.10", "1e400"),
        ("007", "aü\n", None),
        (None, "true", None),
        ("x", '["a", "b"]', None),
        (None, "😀", None),
    ]


def test_each_broken_line_is_refused_with_its_number(tmp_path: Path) -> None:
    good = '{"user": {"id": 1}, "item": 2, "price": 3}'
    bad = ['{"user": {"id": 1}', '"item": 2}', "[1]", '{"item": "\\ud800"}', "{}{}", good + ","]
    text = "\n".join([good, *bad, "", good, good * 2]) + "\n"
    report = SourceReport()
    assert read(written(tmp_path, text), report, max_refused_share=0.9) == [("1", "2", "3")] * 2
    refused = report.take_refused()
    assert refused["source_line"].to_pylist() == [2, 3, 4, 5, 6, 7, 10]
    assert refused["source_text"].to_pylist()[:6] == bad
    assert "surrogate" in refused["reason"][3].as_py()
    counts = report.totals()
    assert counts.is_balanced
    assert (counts.n_lines, counts.n_blank, counts.n_refused) == (10, 1, 7)
    with pytest.raises(SourceError, match=r"line 2: no valid JSON.*one JSON object"):
        read(tmp_path / "log.json")


@settings(max_examples=100, deadline=None)
@given(
    rows=st.lists(st.tuples(st.text(), st.integers(), st.floats(allow_nan=False)), min_size=1),
    form=st.sampled_from(["lines", "array", "indented"]),
    is_ascii=st.booleans(),
    read_bytes=st.sampled_from([1, 7, 1 << 20]),
)
def test_what_json_writes_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[tuple[str, int, float]],
    form: str,
    is_ascii: bool,
    read_bytes: int,
) -> None:
    objects = [{"item": text, "user": {"id": n}, "price": price} for text, n, price in rows]
    texts = [json.dumps(row, ensure_ascii=is_ascii) for row in objects]
    content = "\n".join(texts)
    if form != "lines":
        indent = 2 if form == "indented" else None
        content = json.dumps(objects, ensure_ascii=is_ascii, indent=indent)
    report = SourceReport()
    path = tmp_path_factory.mktemp("json") / "log.json"
    path.write_text(content, encoding="utf-8", newline="")
    found = read(path, report, read_bytes)
    assert found == [(str(n), text or None, json.dumps(price)) for text, n, price in rows]
    assert report.totals().is_balanced
    assert report.totals().n_rows == len(rows)


@pytest.mark.parametrize("text", ['[{"item": 1}', "[1, 2]", '[{"item": 1} {"item": 2}]', "[{]"])
def test_a_broken_array_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(SourceError, match=r"array .* is cut short or broken after element \d"):
        read(written(tmp_path, text), SourceReport())


def test_a_column_that_no_object_has_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, '{"user": {"ID": 1}, "item": 2, "price": 3}\n')
    with pytest.raises(SchemaError, match=r"user\.id.*Received: item, price, user\.ID"):
        read(path, SourceReport())


def test_bytes_of_another_encoding(tmp_path: Path) -> None:
    text = '{"user": {"id": "é"}, "item": 2, "price": 3}\n'
    path = written(tmp_path, text, "latin-1")
    with pytest.raises(SourceError, match=r"encoding.*latin-1"):
        read(path, SourceReport())
    assert read(path, encoding="latin-1") == [("é", "2", "3")]
