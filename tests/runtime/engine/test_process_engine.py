"""Tasks in worker processes: in order, errors unchanged, lost tasks repeated, no orphans."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from chronotope.contracts.errors import ConfigError, EngineError
from chronotope.runtime.engine import Engine, EngineConfig, open_engine
from chronotope.runtime.engine.process_engine import ProcessEngine, n_cores


@pytest.fixture(scope="module")
def engine() -> Iterator[Engine]:
    with open_engine(EngineConfig(kind="processes", n_workers=2)) as engine:
        yield engine


def process_id(_: int) -> int:
    time.sleep(0.2)  # otherwise one worker may take all tasks before the other has started
    return os.getpid()


def square_slowly(number: int) -> int:
    time.sleep(0.3 if number == 0 else 0.0)
    return number * number


def refuse_two(number: int) -> int:
    if number == 2:
        raise ConfigError("Two is refused", received=number, way_out="Take three")
    return number


def kill_worker_once(marker: Path) -> str:
    """Kill this worker, unless an earlier attempt has done so."""
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


def kill_worker(_: int) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def test_results_have_the_order_of_the_items(engine: Engine) -> None:
    assert not engine.in_process
    assert list(engine.map(square_slowly, range(9))) == [number**2 for number in range(9)]


def test_both_workers_run_tasks_and_this_process_does_not(engine: Engine) -> None:
    process_ids = set(engine.map(process_id, range(8)))
    assert len(process_ids) == 2
    assert os.getpid() not in process_ids


def test_an_error_of_a_task_is_raised_unchanged(engine: Engine) -> None:
    results = engine.map(refuse_two, range(4))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(ConfigError, match=r"Two is refused. Received: 2. Take three."):
        next(results)
    assert list(engine.map(refuse_two, [3])) == [3]  # the workers are still there


def test_a_task_whose_worker_was_killed_runs_again(engine: Engine, tmp_path: Path) -> None:
    markers = [tmp_path / "0", tmp_path / "1", tmp_path / "2"]
    markers[0].touch()
    assert list(engine.map(kill_worker_once, markers)) == ["done"] * 3


def test_a_worker_lost_while_tasks_are_submitted_loses_none_of_them(tmp_path: Path) -> None:
    def markers() -> Iterator[Path]:
        yield tmp_path / "0"
        while not (tmp_path / "0").exists() or set(multiprocessing.active_children()) - others:
            time.sleep(0.01)
        time.sleep(0.2)  # the executor marks itself as broken right after its workers have ended
        (tmp_path / "1").touch()
        yield tmp_path / "1"

    others = set(multiprocessing.active_children())
    engine = ProcessEngine(1, max_retries=1)
    assert list(engine.map(kill_worker_once, markers())) == ["done"] * 2
    engine.close()


def test_a_task_that_always_kills_its_worker_is_given_up() -> None:
    engine = ProcessEngine(1, max_retries=1)
    with pytest.raises(EngineError, match="lost more often than max_retries allows"):
        list(engine.map(kill_worker, [0]))
    engine.close()


def test_one_worker_for_each_core_by_default() -> None:
    assert EngineConfig.model_validate("processes").n_workers == 0
    assert 1 <= n_cores() <= (os.cpu_count() or 1)


PARENT = """
import sys
from pathlib import Path
from chronotope.runtime.engine import EngineConfig, open_engine
from tests.runtime.engine.test_process_engine import write_process_id
if __name__ == "__main__":
    with open_engine(EngineConfig(kind="processes", n_workers=1)) as engine:
        list(engine.map(write_process_id, [Path(sys.argv[1])]))
"""


def write_process_id(pid_file: Path) -> None:
    """Write the id of this worker, then wait to be ended."""
    pid_file.with_suffix(".tmp").write_text(str(os.getpid()))
    pid_file.with_suffix(".tmp").rename(pid_file)
    time.sleep(120)


def test_workers_end_when_the_parent_is_killed(tmp_path: Path) -> None:
    pid_file, script = tmp_path / "pid", tmp_path / "parent.py"
    script.write_text(PARENT)
    parent = subprocess.Popen(  # noqa: S603 - a script of this test
        [sys.executable, str(script), str(pid_file)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        wait_until(pid_file.exists)
        worker_id = int(pid_file.read_text())
    finally:
        parent.kill()
        parent.wait()
    wait_until(lambda: not Path(f"/proc/{worker_id}").exists())


def wait_until(condition: object, deadline_s: float = 60.0) -> None:
    assert callable(condition)
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, "timed out"
        time.sleep(0.05)
