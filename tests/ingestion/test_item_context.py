import errno
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronotope.contracts import columns as c
from chronotope.contracts.errors import StoreError
from chronotope.datasets.spec import DatasetSpec
from chronotope.ingestion import TableReport, ingest_item_context
from chronotope.lake import Lake
from chronotope.lake.posted import PostedContextRow, PostedItemContext
from chronotope.lake.table_schemas import ITEM_CONTEXT_TABLE
from chronotope.validation import check_table, derive_item_context_columns
from tests.conftest import PROJECT

SUITE = PROJECT / "expectations" / "item_context.json"
ROWS = [
    "x,p,2024-01-01T00:00Z,2024-01-08T00:00Z,A",
    "y,p,2024-01-01T00:00Z,2024-01-08T00:00Z,B",
    "z,,2024-01-01T00:00Z,,A",
]


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(tmp_path / "lake")


def deliver(lake: Lake, folder: Path, rows: list[str], posted: Path | None = None) -> TableReport:
    (folder / "context.csv").write_text("\n".join(["i,s,a,b,promo", *rows]) + "\n")
    columns = {"item_id": "i", "place_id": "s", "valid_from": "a", "valid_until": "b"}
    spec = DatasetSpec.model_validate(
        {
            "name": "shop",
            "data_dir": folder,
            "events": {
                "format": "csv",
                "path": "events.csv",
                "columns": {"user_id": "u", "item_id": "i", "occurred_at": "t"},
            },
            "item_context": {
                "format": "csv",
                "path": "context.csv",
                "columns": columns,
                "attributes": {"promo": "promo"},
                "defaults": {"promo": "0"},
            },
        }
    )
    report, _ = ingest_item_context(
        spec,
        row_check=check_table(SUITE, derive=derive_item_context_columns),
        lake=lake,
        run_id="run",
        batch_rows=2,
        posted_path=posted,
    )
    return report


def promotions(lake: Lake) -> dict[str, str]:
    rows = lake.read(ITEM_CONTEXT_TABLE)
    return dict(zip(rows[c.ITEM_ID].to_pylist(), rows["promo"].to_pylist(), strict=True))


def test_a_delivery_twice_is_one_version_and_a_change_is_another(
    lake: Lake, tmp_path: Path
) -> None:
    assert deliver(lake, tmp_path, ROWS) == TableReport(3, 3, 0, {})
    version = lake.version(ITEM_CONTEXT_TABLE)
    assert deliver(lake, tmp_path, ROWS) == TableReport(3, 3, 0, {})
    assert lake.version(ITEM_CONTEXT_TABLE) == version
    changed = [ROWS[0].replace(",A", ",C"), *ROWS[1:], ROWS[1].replace("y,", "new,")]
    deliver(lake, tmp_path, changed)
    assert promotions(lake) == {"x": "C", "y": "B", "z": "A", "new": "B"}
    earlier = lake.read(ITEM_CONTEXT_TABLE, version)
    assert sorted(earlier["promo"].to_pylist()) == ["A", "A", "B"]


def test_the_last_row_of_a_key_counts_in_each_delivery(lake: Lake, tmp_path: Path) -> None:
    repeated = [ROWS[0].replace(",A", ",C"), *ROWS]
    for _ in range(2):  # the row that was replaced is no change in a second delivery
        assert deliver(lake, tmp_path, repeated) == TableReport(4, 4, 0, {})
        assert promotions(lake) == {"x": "A", "y": "B", "z": "A"}
    assert lake.version(ITEM_CONTEXT_TABLE) == 0
    changed = [ROWS[0].replace(",A", ",D"), ROWS[0].replace(",A", ",E"), *ROWS[1:]]
    deliver(lake, tmp_path, changed)
    assert promotions(lake)["x"] == "E"


def test_a_later_delivery_of_several_batches_is_one_version(lake: Lake, tmp_path: Path) -> None:
    deliver(lake, tmp_path, ROWS)
    new_rows = [f"new{number},p,2024-01-08T00:00Z,,A" for number in range(9)]
    deliver(lake, tmp_path, [*ROWS, *new_rows])
    assert lake.version(ITEM_CONTEXT_TABLE) == 1
    assert len(promotions(lake)) == len(ROWS) + len(new_rows)


@pytest.mark.parametrize("is_first", [True, False], ids=["first", "later"])
def test_a_full_disk_leaves_the_table_of_before_and_is_repaired(
    lake: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, is_first: bool
) -> None:
    if not is_first:
        deliver(lake, tmp_path, ROWS[:1])
    new_rows = [f"new{number},p,2024-01-08T00:00Z,,A" for number in range(9)]
    write_table, n_written = pq.write_table, Counter[str]()

    def write_until_full(rows: pa.Table, file_path: Path) -> None:
        n_written["files"] += 1
        if n_written["files"] > 2:
            raise OSError(errno.ENOSPC, "No space left on device")
        write_table(rows, file_path)

    monkeypatch.setattr(pq, "write_table", write_until_full)
    with pytest.raises(StoreError, match="disk is full"):
        deliver(lake, tmp_path, [*ROWS, *new_rows])
    assert lake.exists(ITEM_CONTEXT_TABLE) is not is_first
    assert is_first or promotions(lake) == {"x": "A"}
    monkeypatch.undo()
    deliver(lake, tmp_path, [*ROWS, *new_rows])
    assert len(promotions(lake)) == len(ROWS) + len(new_rows)
    assert not list((tmp_path / "lake").glob(".keyed-staging-*"))


def test_bad_rows_are_quarantined_and_no_row_is_lost(lake: Lake, tmp_path: Path) -> None:
    bad_rows = [",p,2024-01-01T00:00Z,,A", "x,p,never,,A", "x,q,2024-01-02Z,2024-01-01Z,A"]
    report = deliver(lake, tmp_path, [ROWS[0], *bad_rows, ROWS[2]])
    assert (report.n_read, report.n_good, report.n_quarantined) == (5, 2, 3)
    assert set(promotions(lake)) == {"x", "z"}
    assert len(lake.read("quarantine")) == 3


def test_posted_rows_are_merged_after_the_source(lake: Lake, tmp_path: Path) -> None:
    posted = PostedItemContext(tmp_path / "posted.db")
    start = datetime(2024, 1, 1, tzinfo=UTC)
    posted.append([PostedContextRow("x", "p", start, None, {"promo": "D"})])
    posted.append([PostedContextRow("w", "", start, None, {"promo": "E"})])
    posted.close()
    deliver(lake, tmp_path, ROWS, posted.path)
    assert promotions(lake) == {"x": "D", "y": "B", "z": "A", "w": "E"}
