"""An erased user is in no store any more, does not come back, and nobody else is touched."""

import json
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from chronotope.audit import AuditTrail
from chronotope.contracts.errors import ConfigError, StoreError
from chronotope.contracts.schemas import EVENTS, INSTANT
from chronotope.contracts.validation_result import ValidationResult
from chronotope.erasure import forget_users, stored_rows, users_without_rows
from chronotope.erasure.derived_files import files_that_name, remove_derived_files
from chronotope.ingestion import IngestBatch, ingest
from chronotope.lake import Interaction, InteractionLog, Lake
from chronotope.lake.privacy import read_user_list
from chronotope.lake.stored_objects import SCORING_PREFIX, StoredFolder
from chronotope.runtime.store_urls import LAKE_URL
from chronotope.runtime.workspace import Workspace
from tests.s3 import BUCKET, running_s3

ANN, BOB = "ann-o'hara-77", "bob-of-the-hill"
AT = datetime(2024, 1, 1, tzinfo=UTC)
REFUSED = pa.schema([("row", pa.int64()), ("reasons", pa.list_(pa.string()))])


def events(*pairs: tuple[str, str]) -> pa.Table:
    same = {"item_id": "tea", "event_type": "view", "occurred_at": AT}
    rows = [same | {"user_id": user, "event_id": event} for user, event in pairs]
    return pa.Table.from_pylist(rows, schema=EVENTS)


def refused_rows() -> pa.Table:
    payloads = [json.dumps({"user": ANN, "at": "never"}), json.dumps({"user": BOB, "at": ""})]
    cut_line = json.dumps({"source_text": f"{ANN},tea"})
    n_rows = 3
    return pa.table(
        {
            "run_id": ["r"] * n_rows,
            "source": ["s"] * n_rows,
            "suite": ["events"] * n_rows,
            "reasons": pa.array([["bad"]] * n_rows, pa.list_(pa.string())),
            "quarantined_at": pa.array([AT] * n_rows, INSTANT),
            "payload": [*payloads, cut_line],
            "row": [0, 1, 2],
        }
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ann and Bob in the lake in several versions, in the logs, and in files made from them."""
    workspace = Workspace(tmp_path)
    lake = Lake(workspace.lake("cafe"))
    lake.merge_events(events((ANN, "a1"), (BOB, "b1")))
    lake.merge_events(events((ANN, "a2"), (BOB, "b2"), ("cleo-the-third", "c1")))
    lake.upsert_users(pa.table({"user_id": [ANN, BOB], "region": ["north", "south"]}))
    lake.quarantine(refused_rows())
    with closing(InteractionLog(workspace.interactions("cafe"))) as log:
        log.append(
            [
                Interaction(key=name, kind="event", payload={"user_id": user, "item_id": "tea"})
                for name, user in (("1", ANN), ("2", BOB), ("3", ANN))
            ]
        )
    for folder in (workspace.features("cafe") / "0a1b", workspace.runs("cafe") / "r1"):
        folder.mkdir(parents=True)
        (folder / "rows.bin").write_text(ANN)
    logs = tmp_path / "data" / "logs"
    logs.mkdir()
    (logs / "error-1.txt").write_text(f"ValueError: {ANN!s} has no history\n")
    (logs / "error-2.txt").write_text(f"ValueError: {ANN}-junior, a user of another name\n")
    return tmp_path


def rows_with(lake_dir: Path, user_id: str) -> list[str]:
    """Data files, of any version, with a row that holds the id, and log files that name it."""
    named = [str(path) for path in files_that_name([lake_dir], [user_id])]
    return named + [
        str(path)
        for path in lake_dir.rglob("*.parquet")
        if any(user_id in str(row) for row in pq.read_table(path).to_pylist())
    ]


@pytest.mark.usefixtures("state_store")
def test_no_store_holds_the_user_and_all_others_stay(root: Path) -> None:
    workspace = Workspace(root)
    lake_dir = workspace.root / "data" / "lake" / "cafe"
    assert rows_with(lake_dir, ANN)
    left_delivery = lake_dir / ".staging-killed"
    left_delivery.mkdir()
    (left_delivery / "good.csv").write_text(ANN)
    (left_delivery / ".owner").touch()
    certificate = forget_users(root, "cafe", [ANN])
    assert rows_with(lake_dir, ANN) == []
    database = workspace.interactions("cafe")
    assert ANN.encode() not in b"".join(
        path.read_bytes() for path in database.parent.glob("interactions.db*")
    )
    removed = {store.store: store.n_removed for store in certificate.stores}
    assert removed["lake: events"] == 2
    assert removed["lake: users"] == 1
    assert removed["lake: quarantine"] == 2
    assert removed["interaction log"] == 2
    assert removed["staged deliveries"] == 1
    assert removed["data/features/cafe"] == removed["data/runs/cafe"] == 1
    assert sorted(path.name for path in (root / "data" / "logs").iterdir()) == ["error-2.txt"]
    lake = Lake(workspace.lake("cafe"))
    assert sorted(lake.read("events").column("event_id").to_pylist()) == ["b1", "b2", "c1"]
    assert lake.read("users").column("user_id").to_pylist() == [BOB]
    assert [
        json.loads(text)["user"] for text in lake.read("quarantine")["payload"].to_pylist()
    ] == [BOB]
    with closing(InteractionLog(database)) as log:
        assert [record.key for record in log.read(0, 9)] == ["2"]


def test_the_certificate_names_nobody(root: Path) -> None:
    certificate = forget_users(root, "cafe", [ANN])
    text = (root / certificate.path).read_text()
    assert ANN not in text
    erased_users = read_user_list(Lake(Workspace(root).lake("cafe")), "erased_users")
    assert erased_users is not None
    assert json.loads(text)["user_digests"] == [erased_users.digest(ANN)]
    assert certificate.models == ()
    (entry,) = AuditTrail(Workspace(root).audit()).entries()
    assert (entry.action, entry.detail["n_users"]) == ("forget", 1)
    assert entry.detail["certificate"] == certificate.path
    assert ANN not in (Workspace(root).audit() / "trail.jsonl").read_text()


def test_a_later_delivery_does_not_bring_the_user_back(root: Path) -> None:
    lake = Lake(Workspace(root).lake("cafe"))
    forget_users(root, "cafe", [ANN])
    rows = events((ANN, "a1"), (ANN, "a3"), (BOB, "b3"))
    batch = IngestBatch(
        raw=pa.table({"n": [0, 1, 2]}),
        rows=rows,
        row_positions=np.arange(3),
        refused=REFUSED.empty_table(),
    )
    nothing = ValidationResult("events", REFUSED.empty_table(), (), len(rows))
    report = ingest([batch], row_check=lambda _: nothing, lake=lake, run_id="r2", source="s")
    assert (report.n_read, report.n_good, report.n_dropped) == (3, 1, 2)
    assert report.dropped == {"erased user": 2}
    assert lake.n_added_rows("events") == 1
    assert ANN not in lake.read("events").column("user_id").to_pylist()


def test_an_erasure_that_was_killed_is_run_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake_dir = Workspace(root).root / "data" / "lake" / "cafe"
    real = stored_rows.erase_rows

    def killed(lake: Lake, table_name: str, column: str, texts: list[str]) -> int:
        if table_name == "users":
            raise KeyboardInterrupt
        return real(lake, table_name, column, texts)

    monkeypatch.setattr(stored_rows, "erase_rows", killed)
    with pytest.raises(KeyboardInterrupt):
        forget_users(root, "cafe", [ANN])
    assert rows_with(lake_dir, ANN)
    monkeypatch.setattr(stored_rows, "erase_rows", real)
    forget_users(root, "cafe", [ANN])
    forget_users(root, "cafe", [ANN])  # a third time finds nothing, and is no error
    assert rows_with(lake_dir, ANN) == []
    assert len(list((root / "data" / "erasures" / "cafe").iterdir())) == 2
    assert len(pads.dataset(lake_dir / "erased_users").to_table()) >= 1


@pytest.mark.parametrize("user_ids", [[], [""]])
def test_nobody_is_no_user(root: Path, user_ids: list[str]) -> None:
    with pytest.raises(ConfigError, match="Name the users to erase"):
        forget_users(root, "cafe", user_ids)


def test_an_id_that_nothing_is_stored_of_costs_nothing(root: Path) -> None:
    lake = Lake(Workspace(root).lake("cafe"))
    with pytest.raises(ConfigError, match="Nothing of these users is stored in cafe"):
        forget_users(root, "cafe", ["ann-o'hara-78"])
    assert lake.dataset("events", 0).count_rows() == 2  # the first version is still there
    assert (Workspace(root).features("cafe") / "0a1b").exists()
    assert read_user_list(lake, "erased_users") is None


def test_ids_without_a_row_are_named(root: Path) -> None:
    assert users_without_rows(root, "cafe", [ANN, f"{ANN} ", "nobody"]) == [f"{ANN} ", "nobody"]


def test_a_user_who_is_in_the_log_alone_is_erased(root: Path) -> None:
    database = Workspace(root).interactions("cafe")
    with closing(InteractionLog(database)) as log:
        log.append([Interaction(key="4", kind="event", payload={"user_id": "dora-the-new"})])
    forget_users(root, "cafe", ["dora-the-new"])
    with closing(InteractionLog(database)) as log:
        assert [record.key for record in log.read(0, 9)] == ["1", "2", "3"]


def test_a_dataset_without_a_lake_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="has not been written yet"):
        forget_users(tmp_path, "cafe", [ANN])
    assert not (tmp_path / "data" / "lake").exists()


def test_short_ids_are_not_looked_for_in_texts(tmp_path: Path) -> None:
    (tmp_path / "epochs.txt").write_text("epoch 17 of 20")
    assert list(files_that_name([tmp_path], ["17"])) == []


def test_an_id_across_two_chunks_is_seen(tmp_path: Path) -> None:
    (tmp_path / "long.txt").write_bytes(b" " * ((1 << 20) - 4) + ANN.encode())
    assert list(files_that_name([tmp_path], [ANN])) == [tmp_path / "long.txt"]


def test_blocks_of_a_killed_scoring_in_an_object_store_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with running_s3() as server:
        for name, value in {**server.environment, LAKE_URL: f"s3://{BUCKET}/shop"}.items():
            monkeypatch.setenv(name, value)
        left_block = StoredFolder(f"s3://{BUCKET}/shop/cafe/{SCORING_PREFIX}/abc")
        left_block.write_object("block-0.parquet", ANN.encode())
        stores = list(remove_derived_files(Workspace(tmp_path), "cafe"))
        assert [store.n_removed for store in stores if "_scoring" in store.store] == [1]
        assert server.keys("shop/cafe/") == []
