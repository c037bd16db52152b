"""Two holders never overlap; a dead one holds nothing."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from chronotope.contracts.errors import StoreError
from chronotope.runtime.dataset_lock import dataset_lock
from chronotope.runtime.workspace import Workspace

HOLD = """
import sys, time
from pathlib import Path
from chronotope.runtime.workspace import Workspace
from chronotope.runtime.dataset_lock import dataset_lock
with dataset_lock(Workspace(Path(sys.argv[1])), "city"):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.mark.usefixtures("state_store")
def test_holders_never_overlap(tmp_path: Path) -> None:
    inside, most = 0, 0

    def work() -> None:
        nonlocal inside, most
        with dataset_lock(Workspace(tmp_path), "city"):
            inside += 1
            most = max(most, inside)
            time.sleep(0.05)
            inside -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (inside, most) == (0, 1)


@pytest.mark.usefixtures("state_store")
def test_the_lock_of_a_killed_process_is_free_and_of_a_live_one_is_not(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:  # noqa: S603
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        waits: list[str] = []
        with (
            pytest.raises(StoreError, match="Another run"),
            dataset_lock(
                Workspace(tmp_path), "city", patience_s=0.3, on_wait=lambda: waits.append("waits")
            ),
        ):
            pass
        assert waits == ["waits"]
        with dataset_lock(Workspace(tmp_path), "town", patience_s=0.0):
            pass
        os.kill(holder.pid, signal.SIGKILL)
    with dataset_lock(Workspace(tmp_path), "city", patience_s=5.0):
        pass
