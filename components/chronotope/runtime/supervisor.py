"""Supervisor script: runs one program and ends it when the parent dies, ``kill -9`` included.

A process that is killed cannot end its children. So a program is started as the child of this
script, which checks twice a second whether its own parent is alive. It is run as a file, without
site packages, and costs 10 MB and 20 ms.
"""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from typing import Final

GRACE_S: Final = 10.0
"""Seconds between SIGTERM and SIGKILL after the death of the parent."""

_POLL_S: Final = 0.5
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def supervised(child_command: Sequence[str]) -> tuple[str, ...]:
    """Command line that runs a program under the supervisor.

    It has to be started in a session of its own (``start_new_session``), and is stopped by a
    signal to its process group, which reaches the program; its exit code is the program's.

    Args:
        child_command: Program and arguments.
    """
    return (sys.executable, "-I", "-S", __file__, str(os.getpid()), *child_command)


def supervise(parent_pid: int, child_command: Sequence[str]) -> int:
    """Run a program until it ends or the parent dies; returns a shell's exit code.

    Args:
        parent_pid: Id of the process whose death ends the program.
        child_command: Program and arguments.
    """
    for signal_number in _STOP_SIGNALS:  # sent to the whole group: the program decides
        signal.signal(signal_number, _ignore)
    with subprocess.Popen(child_command, close_fds=False) as child_process:  # noqa: S603 - from our own code
        threading.Thread(target=_end_with_parent, args=(parent_pid,), daemon=True).start()
        exit_code = child_process.wait()
    if os.getppid() != parent_pid:
        os.killpg(os.getpid(), signal.SIGKILL)  # members of the group that ignored SIGTERM
    return exit_code if exit_code >= 0 else 128 - exit_code


def _ignore(_number: int, _frame: object) -> None:
    """Signal handler that does nothing; unlike SIG_IGN, the program does not inherit it."""


def _end_with_parent(parent_pid: int) -> None:
    """Wait for the parent's death, then send SIGTERM to the group and SIGKILL after ``GRACE_S``."""
    while os.getppid() == parent_pid:
        time.sleep(_POLL_S)
    os.killpg(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os.killpg(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(supervise(int(sys.argv[1]), sys.argv[2:]))
