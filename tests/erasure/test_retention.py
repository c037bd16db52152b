"""What is past retention leaves every store, in all versions, and does not come back."""

import json
import os
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from chronotope.audit import AuditTrail
from chronotope.cli.main import app
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.schemas import EVENTS
from chronotope.erasure import retention
from chronotope.erasure.derived_files import files_that_name
from chronotope.ingestion.excluded_rows import ExcludedRows
from chronotope.lake import Interaction, InteractionLog, Lake
from chronotope.lake.privacy import record_privacy
from chronotope.privacy import PrivacySettings
from chronotope.runtime.workspace import Workspace

NOW = datetime.now(UTC)
OLD, YOUNG = NOW - timedelta(days=400), NOW - timedelta(days=1)


def events(*rows: tuple[str, datetime]) -> pa.Table:
    same = {"item_id": "tea", "event_type": "view"}
    return pa.Table.from_pylist(
        [same | {"user_id": user, "event_id": user, "occurred_at": at} for user, at in rows],
        schema=EVENTS,
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    workspace = Workspace(tmp_path)
    lake = Lake(workspace.lake("cafe"))
    record_privacy(lake, PrivacySettings(retain_days=365), "cafe")
    lake.merge_events(events(("ann-of-old", OLD), ("bob-of-today", YOUNG)))
    lake.merge_events(events(("cleo-of-today", YOUNG)))
    with closing(InteractionLog(workspace.interactions("cafe"))) as log:
        log.append([Interaction(key=key, kind="impression", payload={}) for key in ("1", "2")])
        log._connection.execute(
            "UPDATE interactions SET received_at = ? WHERE key = '1'", (OLD.isoformat(),)
        )
    for name, moment in (("old", OLD), ("young", YOUNG)):
        path = workspace.features("cafe") / name / "rows.bin"
        path.parent.mkdir(parents=True)
        path.write_text(name)
        os.utime(path, (moment.timestamp(), moment.timestamp()))
    return tmp_path


def assert_expired(root: Path) -> None:
    workspace = Workspace(root)
    lake = Lake(workspace.lake("cafe"))
    assert sorted(lake.read("events")["user_id"].to_pylist()) == ["bob-of-today", "cleo-of-today"]
    assert list(files_that_name([root / "data"], ["ann-of-old"])) == []
    with closing(InteractionLog(workspace.interactions("cafe"))) as log:
        assert [record.key for record in log.read(0, 9)] == ["2"]
    assert [path.name for path in workspace.features("cafe").iterdir()] == ["young"]


@pytest.mark.usefixtures("state_store")
def test_old_rows_leave_every_store(root: Path) -> None:
    planned = retention.expire_data(root, "cafe", dry_run=True)
    assert planned.n_removed == 3
    told = ["retain", "cafe", "--root", str(root), "--json"]
    report = json.loads(CliRunner().invoke(app, told).stdout)
    removed = {store["store"]: store["n_removed"] for store in report["stores"]}
    assert (removed["lake: events"], removed["interaction log"]) == (1, 1)
    assert removed["data/features/cafe"] == 1
    assert_expired(root)
    (entry,) = AuditTrail(Workspace(root).audit()).entries()
    assert (entry.action, entry.detail["n_removed"]) == ("retain", 3)
    version = Lake(Workspace(root).lake("cafe")).version("events")
    assert retention.expire_data(root, "cafe").n_removed == 0
    assert Lake(Workspace(root).lake("cafe")).version("events") == version  # nothing was given up


def test_old_rows_do_not_come_back(root: Path) -> None:
    excluded_rows = ExcludedRows.of_lake(Lake(Workspace(root).lake("cafe")))
    rows, dropped = excluded_rows.filter_events(events(("ann-of-old", OLD), ("dora", YOUNG)))
    assert (rows["user_id"].to_pylist(), dropped) == (["dora"], {"past retention": 1})


def test_a_retention_that_was_killed_is_run_again(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(retention, "forget_versions", killed)
        with pytest.raises(KeyboardInterrupt):
            retention.expire_data(root, "cafe")
    assert list(files_that_name([root / "data"], ["ann-of-old"]))  # in an earlier version
    retention.expire_data(root, "cafe")
    assert_expired(root)


def test_without_a_retention_nothing_is_removed(root: Path) -> None:
    record_privacy(Lake(Workspace(root).lake("cafe")), PrivacySettings(), "cafe")
    with pytest.raises(ConfigError, match=r"keeps its data for good.*pass --days"):
        retention.expire_data(root, "cafe")
