"""Damage done for real to a small root: named in one line, mended, and the command works again."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner, Result

from chronotope.cli.main import app
from chronotope.contracts.errors import StoreError
from chronotope.features.build import build_features
from chronotope.features.snapshot import load_features
from chronotope.features.sources import FeaturesConfig
from chronotope.lake import InteractionLog, Lake
from chronotope.registry.mlflow_store import open_store
from chronotope.registry.promotion_journal import PromotionJournal
from chronotope.runtime.dataset_lock import dataset_lock
from chronotope.runtime.step_cache import run_step, step_result
from chronotope.runtime.workspace import Workspace
from tests.inference.hand_made import fill_lake, register_twice

ASKING = ("recommend", "u00", "--dataset", "city")
TELLING = ("history", "--dataset", "city")
N_EVENTS = 7
LATER = 3
"""Events of a second delivery."""


def call(root: Path, *words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in (*words, "--root", root)])


def repaired(root: Path, *words: str) -> list[dict[str, Any]]:
    done = call(root, "doctor", "--repair", "--json", *words)
    assert done.exit_code == 0, done.output
    results: list[dict[str, Any]] = json.loads(done.stdout)["repaired"]
    return results


def damage_names(root: Path) -> set[str]:
    """What ``doctor`` would have repaired, and that it says so."""
    checks = json.loads(call(root, "doctor", "--json").stdout)["checks"]
    return {check["name"] for check in checks if "doctor --repair" in check["way_out"]}


def files_below(root: Path) -> dict[str, bytes]:
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def whole_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A lake of two deliveries and a champion."""
    root = tmp_path_factory.mktemp("whole") / "root"
    fill_lake(root)
    lake = Lake(root / "data" / "lake" / "city")
    first = lake.read("events")
    more = first.slice(0, LATER)
    names = pa.array([f"later{n}" for n in range(LATER)])
    lake.merge_events(more.set_column(more.column_names.index("event_id"), "event_id", names))
    register_twice(root)
    return root


@pytest.fixture
def root(whole_root: Path, tmp_path: Path) -> Path:
    shutil.copytree(whole_root, tmp_path / "root")
    return tmp_path / "root"


def events_of(root: Path) -> Path:
    return root / "data" / "lake" / "city" / "events"


def log_files(root: Path) -> list[Path]:
    return sorted((events_of(root) / "_delta_log").glob("*.json"))


def garble_last_commit(root: Path) -> None:
    log_files(root)[-1].write_text("{garbage", encoding="utf-8")


def cut_last_commit(root: Path) -> None:
    path = log_files(root)[-1]
    path.write_bytes(path.read_bytes()[:100])


def empty_first_commit(root: Path) -> None:
    log_files(root)[0].write_bytes(b"")


def point_to_no_checkpoint(root: Path) -> None:
    hint = events_of(root) / "_delta_log" / "_last_checkpoint"
    hint.write_text('{"version": 77, "size": 3}', encoding="utf-8")


def newest_data_file(root: Path) -> Path:
    return max(events_of(root).glob("*.parquet"), key=lambda path: path.stat().st_mtime_ns)


def garble_data(root: Path) -> None:
    newest_data_file(root).write_bytes(b"PAR1 no more")


def remove_data(root: Path) -> None:
    newest_data_file(root).unlink()


def garble_journal(root: Path) -> None:
    (root / "mlruns" / "promotions.db").write_bytes(b"no database at all " * 300)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("damage", "command", "name", "n_left"),
    [
        (garble_last_commit, ASKING, "table city/events", N_EVENTS),
        (cut_last_commit, ASKING, "table city/events", N_EVENTS),
        (empty_first_commit, ASKING, "table city/events", N_EVENTS + LATER),
        (point_to_no_checkpoint, ASKING, "table city/events", N_EVENTS + LATER),
        (garble_data, ASKING, "table city/events", N_EVENTS),
        (remove_data, ASKING, "table city/events", N_EVENTS),
        (garble_journal, TELLING, "database promotions.db", N_EVENTS + LATER),
    ],
)
def test_damage_is_named_mended_and_the_command_works_again(
    root: Path,
    damage: Callable[[Path], None],
    command: tuple[str, ...],
    name: str,
    n_left: int,
) -> None:
    latest = Lake(root / "data" / "lake" / "city").version("events")
    damage(root)
    refused = call(root, *command)
    assert refused.exit_code == 1
    assert "Traceback" not in refused.output
    assert refused.stderr.startswith("Error: ")
    named = {"table city/events": ("events", "part-"), "database promotions.db": ("promotions",)}
    assert any(word in refused.stderr for word in named[name])
    assert "chronotope doctor --repair" in refused.stderr
    assert name in damage_names(root)

    before = files_below(root)
    assert [one["name"] for one in repaired(root, "--dry-run")] == [name]
    assert files_below(root) == before

    (mended,) = repaired(root)
    assert (mended["name"], mended["ok"]) == (name, True)
    assert call(root, *command).exit_code == 0
    assert name not in damage_names(root)
    lake = Lake(root / "data" / "lake" / "city")
    assert lake.read("events").num_rows == n_left
    if n_left == N_EVENTS:
        assert lake.version("events") > latest  # a number never stands for other rows
        assert f"{N_EVENTS} rows" in mended["done"]
    after = set(files_below(root).values())
    assert all(content in after for content in before.values()), "something was deleted"


@pytest.mark.slow
def test_a_journal_keeps_what_can_be_read_and_takes_the_champion_from_the_alias(
    root: Path,
) -> None:
    path = root / "mlruns" / "promotions.db"
    journal = PromotionJournal(path)
    for number in range(60):
        intent = journal.open_intent(
            "town",
            str(number),
            expected=journal.champion("town"),
            key=f"k{number}",
            reason="r" * 400,
        )
        journal.settle(intent, "committed")
    content = bytearray(path.read_bytes())
    middle = len(content) // 2 // 4096 * 4096
    content[middle : middle + 4096] = b"\x7f" * 4096
    path.write_bytes(bytes(content))
    assert call(root, "history", "--dataset", "town").exit_code == 1
    repaired(root)
    assert 40 < len(PromotionJournal(path).entries("town")) < 60
    assert PromotionJournal(path).champion("city") == "1"


@pytest.mark.slow
def test_an_empty_mlflow_database_is_moved_aside_and_made_anew(root: Path) -> None:
    path = root / "mlruns" / "mlflow.db"
    path.write_bytes(b"")
    (mended,) = repaired(root)
    assert "database mlflow.db" in mended["name"]
    assert "train again" in mended["done"]
    assert not path.exists()
    refused = call(root, *ASKING)
    assert (refused.exit_code, "Traceback" in refused.output) == (1, False)
    assert open_store(root / "mlruns").client.search_registered_models() == []


def test_an_empty_step_file_is_moved_aside_and_the_step_done_again(tmp_path: Path) -> None:
    run = Workspace(tmp_path).runs("city") / "abc"
    run_step(run, "fit", int, lambda: 1)
    run_step(run, "judge", int, lambda: 2)
    (run / "fit.json").write_bytes(b"")
    with pytest.raises(StoreError, match=r"fit\.json.*chronotope doctor --repair"):
        step_result(run, "fit", int)
    assert damage_names(tmp_path) == {"run city/abc"}
    repaired(tmp_path)
    assert run_step(run, "fit", int, lambda: 3) == 3
    assert run_step(run, "judge", int, lambda: 4) == 2


def test_a_run_whose_folds_are_damaged_is_done_again_as_a_whole(tmp_path: Path) -> None:
    run = Workspace(tmp_path).runs("city") / "abc"
    run_step(run, "freeze_folds", int, lambda: 1)
    (run / "frozen_folds.json").write_text("[", encoding="utf-8")
    (mended,) = repaired(tmp_path)
    assert mended["name"] == "run city/abc"
    assert not run.exists()


def test_a_snapshot_that_cannot_be_read_is_moved_aside_and_built_again(tmp_path: Path) -> None:
    fill_lake(tmp_path)
    events = Lake(tmp_path / "data" / "lake" / "city").read("events")
    out = Workspace(tmp_path).features("city")

    def build() -> Path:
        config = FeaturesConfig()
        return build_features(events, None, config=config, out=out, data_version="1").path

    path = build()
    (path / "events.parquet").write_bytes(b"nothing")
    assert damage_names(tmp_path) == {f"features city/{path.name}"}
    repaired(tmp_path)
    assert len(load_features(build())[0].user_idx) == N_EVENTS


def test_rights_of_databases_with_user_ids_are_taken_from_others(tmp_path: Path) -> None:
    path = Workspace(tmp_path).interactions("city")
    InteractionLog(path).close()
    path.chmod(0o644)
    assert damage_names(tmp_path) == {"permissions city/interactions.db"}
    repaired(tmp_path)
    assert path.stat().st_mode & 0o777 == 0o600


DRAFTING = """
import sys, time
from pathlib import Path
from chronotope.runtime.temp_dirs import temporary_folder
with temporary_folder(Path(sys.argv[1]), ".draft-"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_draft_of_a_killed_process_is_moved_aside_and_that_of_a_living_one_stays(
    tmp_path: Path,
) -> None:
    words = [sys.executable, "-c", DRAFTING, str(tmp_path / "data" / "features" / "city")]
    process = subprocess.Popen(words, stdout=subprocess.PIPE)  # noqa: S603 - our own interpreter
    assert process.stdout is not None
    process.stdout.readline()
    assert damage_names(tmp_path) == set()
    process.kill()
    process.communicate()
    (mended,) = repaired(tmp_path)
    assert mended["name"].startswith("draft .draft-")
    assert damage_names(tmp_path) == set()


SERVING = """
import os, subprocess, sys
words = [sys.executable, "-c", "import time; time.sleep(60)", "prefect", "server", "start"]
none = subprocess.DEVNULL
print(subprocess.Popen(words, start_new_session=True, stdout=none, stderr=none).pid)
"""


def test_a_prefect_server_without_its_parent_is_ended_if_it_is_of_this_root(
    tmp_path: Path,
) -> None:
    above = Path("/proc/1/cmdline")
    if not above.is_file() or any(w in above.read_bytes() for w in (b"python", b"chronotope")):
        pytest.skip("orphans cannot be told from others here")
    env = {**os.environ, "PREFECT_HOME": str(tmp_path / "data" / "prefect")}
    words = [sys.executable, "-c", SERVING]
    done = subprocess.run(words, env=env, capture_output=True, check=True)  # noqa: S603 - ours
    pid = int(done.stdout)
    try:
        assert damage_names(tmp_path / "elsewhere") == set()
        assert damage_names(tmp_path) == {f"process {pid}"}
        repaired(tmp_path)
        for _ in range(50):
            if not Path(f"/proc/{pid}/cmdline").is_file() or is_zombie(pid):
                break
            time.sleep(0.1)
        assert damage_names(tmp_path) == set()
    finally:
        if Path(f"/proc/{pid}").exists() and not is_zombie(pid):
            os.kill(pid, signal.SIGKILL)


def is_zombie(pid: int) -> bool:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"


def test_nothing_is_repaired_while_a_flow_runs_or_another_process_holds_the_database(
    tmp_path: Path,
) -> None:
    fill_lake(tmp_path)
    with dataset_lock(Workspace(tmp_path), "city"):
        refused = call(tmp_path, "doctor", "--repair")
    assert refused.exit_code == 1
    assert "Another run" in refused.stderr


def test_a_whole_root_has_nothing_to_repair(tmp_path: Path) -> None:
    fill_lake(tmp_path)
    with sqlite3.connect(tmp_path / "data" / "other.db") as connection:
        connection.execute("CREATE TABLE other (x)")
    before = files_below(tmp_path)
    assert "Nothing is damaged" in call(tmp_path, "doctor", "--repair", "--dry-run").stdout
    assert damage_names(tmp_path) == set()
    assert files_below(tmp_path) == before
