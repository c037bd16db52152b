"""A task in a process of its own, which ends with this one."""

import multiprocessing
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest

from chronotope.runtime.durable_files import replacing
from chronotope.runtime.engine import background
from chronotope.runtime.engine.background import start_in_background
from tests.runtime.test_supervisor import is_alive

PATIENCE_S = 60.0


def write_when_alone(marker: Path) -> None:
    marker.write_text("done", encoding="utf-8")


def wait_for(path: Path) -> bool:
    deadline_s = time.monotonic() + PATIENCE_S
    while not path.exists() and time.monotonic() < deadline_s:
        time.sleep(0.05)
    return path.exists()


def test_a_task_runs_beside_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "n_cores", lambda: 2)
    start_in_background(partial(write_when_alone, tmp_path / "marker"))
    assert wait_for(tmp_path / "marker")


def test_nothing_is_started_on_one_core(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "n_cores", lambda: 1)
    n_before = len(multiprocessing.active_children())
    start_in_background(partial(write_when_alone, tmp_path / "marker"))
    assert len(multiprocessing.active_children()) == n_before


PARENT = """
import sys, time
from functools import partial
from pathlib import Path
from chronotope.runtime.engine import background
from tests.runtime.engine.test_background import write_pid_and_sleep

if __name__ == "__main__":
    background.n_cores = lambda: 2
    background.start_in_background(partial(write_pid_and_sleep, Path(sys.argv[1])))
    time.sleep(300)
"""


def write_pid_and_sleep(marker: Path) -> None:
    with replacing(marker) as draft_path:
        draft_path.write_text(str(os.getpid()), encoding="utf-8")
    time.sleep(300)


def test_a_task_ends_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    script, marker = tmp_path / "parent.py", tmp_path / "pid"
    script.write_text(PARENT, encoding="utf-8")
    env = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    with subprocess.Popen([sys.executable, script, marker], env=env) as parent:  # noqa: S603
        assert wait_for(marker)
        parent.kill()
    task_pid = int(marker.read_text(encoding="utf-8"))
    deadline_s = time.monotonic() + PATIENCE_S
    while is_alive(task_pid) and time.monotonic() < deadline_s:
        time.sleep(0.05)
    assert not is_alive(task_pid)
