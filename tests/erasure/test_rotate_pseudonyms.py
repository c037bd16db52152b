"""A new key reaches every store, whenever it is killed, and a source read again adds nothing."""

import json
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from chronotope.audit import AuditTrail
from chronotope.cli.main import app
from chronotope.contracts.errors import ConfigError
from chronotope.datasets.normalise import normalise
from chronotope.datasets.spec import DatasetSpec
from chronotope.erasure import rotate_pseudonyms as rotation
from chronotope.lake import Interaction, InteractionLog, Lake
from chronotope.lake.event_labels import EventLabel, EventLabelLog, read_event_labels
from chronotope.lake.privacy import add_to_user_list, read_stored_users, record_privacy
from chronotope.lake.table_schemas import ERASED_USERS, OPTED_OUT_USERS
from chronotope.privacy import PseudonymKeys, PseudonymSettings
from chronotope.runtime.workspace import Workspace

OLD, NEW = "o" * 32, "n" * 32
VARIABLE = PseudonymSettings().variable
SPEC = DatasetSpec.model_validate(
    {
        "name": "cafe",
        "privacy": {"pseudonyms": {}, "columns": {"mail": "identifier"}},
        "identity": ["user_id", "item_id", "occurred_at", "occurrence"],
        "events": {
            "format": "csv",
            "path": "log.csv",
            "columns": {"user_id": "u", "item_id": "i", "occurred_at": "t"},
            "attributes": {"mail": "m"},
        },
    }
)
RAW = pa.table(
    {
        "user_id": ["ann", "ann", "ann", "bob"],
        "item_id": ["tea", "tea", "rye", "tea"],
        "occurred_at": ["2024-01-01T00:00:00Z"] * 4,
        "mail": ["ann@x.org", "ann@x.org", None, "bob@x.org"],
    }
)


def events() -> pa.Table:
    from chronotope.datasets.occurrences import OccurrenceCounter

    return normalise(SPEC, RAW, occurrences=OccurrenceCounter()).rows


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Rows of one key in every store."""
    monkeypatch.setenv(VARIABLE, OLD)
    workspace = Workspace(tmp_path)
    lake = Lake(workspace.lake("cafe"))
    record_privacy(lake, SPEC.privacy, "cafe")
    rows = events()
    lake.merge_events(rows)
    users = read_stored_users(lake, "cafe")
    lake.upsert_users(pa.table({"user_id": [users.stored_id("ann")], "region": ["north"]}))
    add_to_user_list(lake, ERASED_USERS, [users.stored_id("cleo")])
    add_to_user_list(lake, OPTED_OUT_USERS, [users.stored_id("dora")])
    payload = json.dumps({"user_id": users.stored_id("bob"), "occurred_at": "never"})
    quarantined = {"event_id": None, "source": "s", "reasons": ["bad"], "suite": "x", "run_id": "r"}
    quarantined |= {
        "quarantined_at": datetime(2024, 1, 1, tzinfo=UTC),
        "payload": payload,
        "row": 0,
    }
    lake.quarantine(pa.Table.from_pylist([quarantined]))
    with closing(InteractionLog(workspace.interactions("cafe"))) as log:
        event = {"user_id": users.stored_id("ann"), "item_id": "tea"}
        log.append([Interaction(key="1", kind="event", payload=event)])
    with closing(EventLabelLog(workspace.event_labels("cafe"))) as labels:
        labels.append([EventLabel(rows["event_id"][2].as_py(), True), EventLabel("key:1", False)])
    monkeypatch.setenv(VARIABLE, f"{OLD},{NEW}")
    return tmp_path


def state(root: Path) -> list[Any]:
    """Everything that names a user, by table."""
    workspace = Workspace(root)
    lake = Lake(workspace.lake("cafe"))
    columns = {"events": ["event_id", "user_id", "item_id", "mail"], "quarantine": ["payload"]}
    names = ("events", "users", "quarantine", ERASED_USERS, OPTED_OUT_USERS)
    tables = [lake.read(name, columns=columns.get(name)).to_pylist() for name in names]
    rows = [sorted(str(row | {"erased_at": None}) for row in table) for table in tables]
    with closing(InteractionLog(workspace.interactions("cafe"))) as log:
        logged = [record.payload for record in log.read(0, 9)]
    return [*rows, logged, read_event_labels(workspace.event_labels("cafe"))]


def assert_rotated(root: Path) -> None:
    workspace = Workspace(root)
    lake, keys = Lake(workspace.lake("cafe")), PseudonymKeys.of([OLD.encode(), NEW.encode()])
    ann = keys.pseudonym("ann")
    assert lake.merge_events(events()).inserted == 0  # the source, read again
    assert sorted(set(lake.read("events")["user_id"].to_pylist())) == sorted(
        {ann, keys.pseudonym("bob")}
    )
    assert keys.pseudonym("ann@x.org") in lake.read("events")["mail"].to_pylist()
    assert lake.read("users")["user_id"].to_pylist() == [ann]
    users = read_stored_users(lake, "cafe")
    assert users.is_opted_out(users.stored_id("dora"))
    assert users.is_excluded(users.stored_id("cleo"))
    assert not users.is_excluded(ann)
    assert keys.pseudonym("bob") in lake.read("quarantine")["payload"][0].as_py()
    labelled = lake.read("events").filter(pa.compute.equal(lake.read("events")["item_id"], "rye"))
    assert read_event_labels(workspace.event_labels("cafe")) == {
        labelled["event_id"][0].as_py(): True,
        "key:1": False,
    }
    old_ann = PseudonymKeys.of([OLD.encode()]).pseudonym("ann").encode()
    files = [path for path in (root / "data").rglob("*") if path.is_file()]
    assert not [path for path in files if old_ann in path.read_bytes()]


@pytest.mark.usefixtures("state_store")
def test_every_store_follows_the_new_key(root: Path) -> None:
    planned = rotation.rotate_pseudonyms(root, "cafe", dry_run=True)
    assert planned.stores == ()
    with pytest.raises(ConfigError, match="pseudonyms rotate"):
        read_stored_users(Lake(Workspace(root).lake("cafe")), "cafe")
    told = ["pseudonyms", "rotate", "cafe", "--root", str(root), "--json"]
    stores = json.loads(CliRunner().invoke(app, told).stdout)["stores"]
    assert (stores["lake: events"], stores["interaction log"]) == (4, 1)
    assert_rotated(root)
    (entry,) = AuditTrail(Workspace(root).audit()).entries()
    assert entry.action == "rotate pseudonyms"


@pytest.mark.parametrize("killed_at", range(1, 12))
def test_a_rotation_that_was_killed_is_run_again(
    root: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    """Killed at the n-th write of a table, a log or the record."""
    n_writes = 0

    def killing(write: Any) -> Any:
        def counted(*arguments: Any, **options: Any) -> Any:
            nonlocal n_writes
            n_writes += 1
            if n_writes == killed_at:
                raise KeyboardInterrupt
            return write(*arguments, **options)

        return counted

    with monkeypatch.context() as patched:
        for name in ("_rewrite_log", "replace_rows", "rotate_user_list", "forget_versions"):
            patched.setattr(rotation, name, killing(getattr(rotation, name)))
        patched.setattr(rotation, "write_privacy", killing(rotation.write_privacy))
        with pytest.raises(KeyboardInterrupt):
            rotation.rotate_pseudonyms(root, "cafe")
    with suppress(ConfigError):  # nothing is left to do where it was killed after the record
        rotation.rotate_pseudonyms(root, "cafe")
    assert_rotated(root)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (OLD, "needs one new key.*0 new keys.*Append one to"),
        (f"{OLD},{NEW},{'m' * 32}", "needs one new key.*2 new keys"),
        (NEW, "not those of its lake"),
        ("", "is missing"),
    ],
    ids=["none", "two", "others", "no key"],
)
def test_wrong_keys_change_nothing(
    root: Path, monkeypatch: pytest.MonkeyPatch, value: str, problem: str
) -> None:
    before = state(root)
    monkeypatch.setenv(VARIABLE, value)
    with pytest.raises(ConfigError, match=problem):
        rotation.rotate_pseudonyms(root, "cafe")
    assert state(root) == before


def test_a_lake_of_plain_ids_is_not_rotated(tmp_path: Path) -> None:
    lake = Lake(Workspace(tmp_path).lake("cafe"))
    record_privacy(lake, DatasetSpec.model_fields["privacy"].default, "cafe")
    with pytest.raises(ConfigError, match="has no pseudonyms"):
        rotation.rotate_pseudonyms(tmp_path, "cafe")
