"""``kill -9`` of a command ends the Prefect server that it started, and leaves nothing of it."""

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import yaml

from tests.flows.feedback_town import TINY, Town

pytestmark = pytest.mark.slow

COMMAND = "from chronotope.cli.main import run; run()"
HIDDEN = ("PREFECT_API_URL", "PREFECT_API_AUTH_STRING", "PREFECT_SERVER_API_AUTH_STRING")


def group_of(parent_pid: int) -> list[int]:
    """Processes of the server's group: that of the supervisor which watches a parent."""
    groups: dict[int, list[int]] = {}
    leader = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            state, _, group = (folder / "stat").read_text().rsplit(")", 1)[1].split()[:3]
        except OSError:  # it ended meanwhile
            continue
        if state != "Z":
            groups.setdefault(int(group), []).append(int(folder.name))
        if any(b"supervisor.py" in word for word in words) and str(parent_pid).encode() in words:
            leader = int(folder.name)
    return groups.get(leader, [])


def n_runs(home: Path) -> int:
    """Flow runs that a server has taken note of."""
    try:
        with closing(sqlite3.connect(f"file:{home}/prefect.db?mode=ro", uri=True)) as database:
            return int(database.execute("select count(*) from flow_run").fetchone()[0])
    except sqlite3.OperationalError:  # its tables are not made yet
        return 0


def wait(what: str, seconds: float, is_so: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < until, f"waited for {what}"
        time.sleep(0.1)


def test_a_killed_training_leaves_no_server(tmp_path: Path) -> None:
    town = Town(tmp_path).settle()
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(TINY), encoding="utf-8")
    home, scratch = tmp_path / "prefect", tmp_path / "scratch"
    scratch.mkdir()
    env = {name: value for name, value in os.environ.items() if name not in HIDDEN}
    env |= {"PREFECT_HOME": str(home), "TMPDIR": str(scratch)}
    words = ["train", town.spec, "--config", tmp_path / "tiny.yaml", "--root", tmp_path]
    with subprocess.Popen(  # noqa: S603 - our own interpreter
        [sys.executable, "-c", COMMAND, *map(str, words)], env=env, stdout=subprocess.DEVNULL
    ) as training:
        wait("the first run", 400, lambda: n_runs(home) > 0)
        started = group_of(training.pid)
        training.kill()
    assert len(started) >= 2
    alive = lambda: [pid for pid in started if Path(f"/proc/{pid}").exists()]  # noqa: E731
    wait("the server to end", 30, lambda: not alive())
    assert [path for path in scratch.iterdir() if path.is_dir()] == []
