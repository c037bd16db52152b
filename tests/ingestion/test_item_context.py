from datetime import UTC, datetime
from pathlib import Path

import pytest

from chronotope.contracts import columns as c
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
