"""Drafts read the log that they were made from, and list what is not sure."""

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronotope.contracts.errors import SourceError
from chronotope.datasets.guessing import DatasetDraft, draft_dataset
from chronotope.datasets.normalise import normalise
from chronotope.datasets.readers import read_events
from chronotope.datasets.table_spec import Format, TableSpec

START = datetime(2024, 3, 4, 8, tzinfo=UTC)
N = 40


def moment(n: int) -> datetime:
    return START + timedelta(minutes=97 * n)


def events(draft: DatasetDraft) -> list[tuple[str, str, datetime]]:
    rows = [
        row
        for raw in read_events(draft.spec)
        for row in normalise(draft.spec, raw).rows.to_pylist()
    ]
    return [(row["user_id"], row["item_id"], row["occurred_at"]) for row in rows]


def expected() -> list[tuple[str, str, datetime]]:
    return [(f"u{n % 5}", f"i{n % 7}", moment(n)) for n in range(N)]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize(
    ("names", "form"),
    [
        (("user_id", "item_id", "timestamp"), "%Y-%m-%dT%H:%M:%SZ"),
        (("Kundennummer", "Artikel", "Datum"), "%d.%m.%Y %H:%M"),
        (("visitorid", "productId", "eventTime"), "%Y-%m-%d %H:%M:%S UTC"),
        (("用户", "商品", "时间"), "%Y/%m/%d %H:%M:%S"),
    ],
)
def test_csv_files(tmp_path: Path, delimiter: str, names: tuple[str, ...], form: str) -> None:
    lines = [delimiter.join(names)]
    lines += [delimiter.join((user, item, at.strftime(form))) for user, item, at in expected()]
    (tmp_path / "log.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    draft = draft_dataset("shop", tmp_path / "log.txt")
    assert events(draft) == expected()
    assert any("carry no zone" in doubt for doubt in draft.doubts) == (form[-1] not in "ZC")
    assert draft.text.count("# not sure") == len(draft.doubts)


def test_columns_in_another_order_with_more_of_them(tmp_path: Path) -> None:
    lines = ["note,price,ts,sku,store,lon,customer id,lat,session"]
    lines += [
        f'"a, b",{n}.5,{int(at.timestamp())},{item},north,16.37,{user},48.2,{n // 3}'
        for n, (user, item, at) in enumerate(expected())
    ]
    (tmp_path / "log.csv").write_text("\n".join(lines))
    draft = draft_dataset("shop", tmp_path / "log.csv")
    assert draft.spec.events is not None
    assert draft.spec.events.columns == {
        "user_id": "customer id",
        "item_id": "sku",
        "occurred_at": "ts",
        "lat": "lat",
        "lon": "lon",
        "session_id": "session",
        "place_id": "store",
        "value": "price",
    }
    assert draft.spec.time.kind == "epoch_s"
    assert events(draft) == expected()


def test_parquet_and_compressed_files(tmp_path: Path) -> None:
    users, items, moments = zip(*expected(), strict=True)
    table = pa.table({"reviewer": users, "asin": items, "at": moments})
    pq.write_table(table, tmp_path / "log.bin")
    text = "user,item,time\n" + "".join(
        f"{user},{item},{at:%Y-%m-%dT%H:%M:%SZ}\n" for user, item, at in expected()
    )
    (tmp_path / "log.csv.gz").write_bytes(gzip.compress(text.encode()))
    for name in ("log.bin", "log.csv.gz"):
        assert events(draft_dataset("shop", tmp_path / name)) == expected()


def test_date_and_time_of_day_are_joined(tmp_path: Path) -> None:
    lines = ["user,venue,date,time"]
    lines += [f"{user},{item},{at:%Y-%m-%d},{at:%H:%M:%S}" for user, item, at in expected()]
    (tmp_path / "log.csv").write_text("\n".join(lines))
    draft = draft_dataset("shop", tmp_path / "log.csv")
    assert draft.spec.items_are_places
    assert events(draft) == expected()


def test_no_header(tmp_path: Path) -> None:
    lines = [
        f"{user}\t{at:%Y-%m-%dT%H:%M:%SZ}\t48.20\t16.37\t{item}" for user, item, at in expected()
    ]
    (tmp_path / "log.txt").write_text("\n".join(lines))
    draft = draft_dataset("shop", tmp_path / "log.txt")
    assert any("has no header" in doubt for doubt in draft.doubts)
    assert draft.spec.events is not None
    assert list(draft.spec.events.columns) == ["user_id", "item_id", "occurred_at", "lat", "lon"]
    if "names" in TableSpec.model_fields:
        assert events(draft) == expected()


def test_json_lines(tmp_path: Path) -> None:
    lines = [
        json.dumps({"reviewerID": user, "asin": item, "unixReviewTime": int(at.timestamp())})
        for user, item, at in expected()
    ]
    (tmp_path / "reviews.json").write_text("\n".join(lines))
    draft = draft_dataset("shop", tmp_path / "reviews.json")
    if "json" in set(Format):
        assert events(draft) == expected()
    else:
        assert any("cannot read json" in doubt for doubt in draft.doubts)


def test_names_that_yaml_would_read_as_something_else(tmp_path: Path) -> None:
    lines = ["yes,no,on"] + [
        f"{user},{item},{at:%Y-%m-%dT%H:%M:%SZ}" for user, item, at in expected()
    ]
    (tmp_path / "log.csv").write_text("\n".join(lines))
    draft = draft_dataset("shop", tmp_path / "log.csv")
    assert 'occurred_at: "on"' in draft.text
    assert events(draft) == expected()


def test_stray_quotation_marks_are_told(tmp_path: Path) -> None:
    lines = ["user\ttitle\titem\ttime"]
    lines += [
        f'{user}\t12" mix of {n}\t{item}\t{at:%Y-%m-%dT%H:%M:%SZ}'
        for n, (user, item, at) in enumerate(expected())
    ]
    (tmp_path / "log.tsv").write_text("\n".join(lines))
    draft = draft_dataset("shop", tmp_path / "log.tsv")
    assert any(doubt.startswith("quote: 40 of 41 lines") for doubt in draft.doubts)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>login</html>", "web page"),
        (b"a,b\nx,y\n", "No columns can be the user"),
        (b"just text\nand more\n", "No columns can be the user"),
    ],
)
def test_no_log_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "log.csv").write_bytes(content)
    with pytest.raises(SourceError, match=problem):
        draft_dataset("shop", tmp_path / "log.csv")


def test_a_missing_file_and_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="No such file"):
        draft_dataset("shop", tmp_path / "nowhere.csv")
    with pytest.raises(SourceError, match="no files"):
        draft_dataset("shop", tmp_path)
