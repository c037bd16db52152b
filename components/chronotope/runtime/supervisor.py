"""Runs one program and ends it when the process that wanted it is gone, ``kill -9`` included.

A process that is killed cannot end its children. So a program is started as the child of this
script, which looks twice a second whether its own parent still lives. It is run as a file, without
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
"""Seconds a program has between SIGTERM and SIGKILL once its parent is gone."""

_POLL_S: Final = 0.5
_STOP_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def supervised(child_command: Sequence[str]) -> tuple[str, ...]:
    """The command that runs another one for as long as the calling process lives.

    It has to be started in a session of its own (``start_new_session``), and is stopped by a
    signal to its process group, which reaches the program; its exit code is the program's.

    Args:
        child_command: Program and arguments.
    """
    return (sys.executable, "-I", "-S", __file__, str(os.getpid()), *child_command)


def supervise(parent_pid: int, child_command: Sequence[str]) -> int:
    """Run a program to its end, or until the parent is gone; its exit code as a shell has it.

    Args:
        parent_pid: The process that has to live.
        child_command: Program and arguments.
    """
    for signal_number in _STOP_SIGNALS:  # sent to the whole group: the program decides
        signal.signal(signal_number, _ignore)
    with subprocess.Popen(child_command, close_fds=False) as child_process:  # noqa: S603 - from our own code
        threading.Thread(target=_end_with_parent, args=(parent_pid,), daemon=True).start()
        exit_code = child_process.wait()
    if os.getppid() != parent_pid:
        os.killpg(os.getpid(), signal.SIGKILL)  # who of the group did not heed SIGTERM
    return exit_code if exit_code >= 0 else 128 - exit_code


def _ignore(_number: int, _frame: object) -> None:
    """Unlike SIG_IGN, a handler is not inherited by the program."""


def _end_with_parent(parent_pid: int) -> None:
    """Wait until the parent is gone, then ask the group to end, and after the grace kill it."""
    while os.getppid() == parent_pid:
        time.sleep(_POLL_S)
    os.killpg(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_S)
    os.killpg(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(supervise(int(sys.argv[1]), sys.argv[2:]))
