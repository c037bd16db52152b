"""A program ends with the process that wanted it, however that ends."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from chronotope.runtime.supervisor import supervised

SLEEPS = "import time; time.sleep(60)"
PARENT = """
import subprocess, sys
from chronotope.runtime.supervisor import supervised
program = (sys.executable, "-c", sys.argv[1])
subprocess.Popen(supervised(program), start_new_session=True).wait()
"""


def wait_for_pids(path: Path, n: int) -> list[int]:
    until = time.monotonic() + 30
    while len(pids := path.read_text().split() if path.exists() else []) < n:
        assert time.monotonic() < until
        time.sleep(0.02)
    return list(map(int, pids))


def is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_kill_9_of_the_parent_ends_the_program_and_its_children(tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    program = (
        "import os, subprocess, sys, time\n"
        f"child = subprocess.Popen([sys.executable, '-c', {SLEEPS!r}])\n"
        f"open({str(pids)!r}, 'w').write(f'{{os.getpid()}} {{child.pid}}')\n"
        "time.sleep(60)\n"
    )
    with subprocess.Popen([sys.executable, "-c", PARENT, program]) as parent:  # noqa: S603
        started = wait_for_pids(pids, 2)
        assert all(map(is_alive, started))
        parent.kill()
    until = time.monotonic() + 5
    while any(map(is_alive, started)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(is_alive, started))


def test_its_exit_code_is_the_programs() -> None:
    for code, program in ((3, "raise SystemExit(3)"), (137, "import os; os.kill(os.getpid(), 9)")):
        done = subprocess.run(supervised((sys.executable, "-c", program)), check=False)  # noqa: S603
        assert done.returncode == code


def test_a_signal_to_its_group_lets_the_program_end_by_itself() -> None:
    program = (
        "import signal, time\n"
        "signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(SystemExit(7)))\n"
        "print(flush=True)\n"
        "time.sleep(60)\n"
    )
    command = supervised((sys.executable, "-c", program))
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:  # noqa: S603
        assert process.stdout is not None
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGTERM)
        assert process.wait(10) == 7
