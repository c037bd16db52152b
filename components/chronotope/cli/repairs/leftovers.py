"""Leftovers of killed processes: temporary folders, and Prefect servers without a parent."""

import fcntl
import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from chronotope.cli.repairs.damage import BackupFolder, Damage
from chronotope.runtime.temp_dirs import OWNER

_REAPERS: Final = {"systemd", "init", "launchd"}
_ALIVE: Final = (b"chronotope", b"prefect", b"python")
_GRACE_S: Final = 5.0


def draft_damages(root: Path) -> Iterator[Damage]:
    """Temporary folders of processes that have died.

    Args:
        root: Project root.
    """
    for parent_dir in (root / "data", root / "mlruns"):
        for owner_file in sorted(parent_dir.rglob(OWNER)):
            if "repaired" not in owner_file.parts and _is_free(owner_file):
                yield Damage(
                    f"draft {owner_file.parent.name}",
                    f"left in {owner_file.parent.parent} by a process that died",
                    "move it aside",
                    partial(_move, owner_file.parent),
                    needed=False,
                )


def orphan_damages(root: Path) -> Iterator[Damage]:
    """Prefect servers of this root whose parent process has died; Linux only.

    Args:
        root: Project root.
    """
    for server_process in _servers(root.resolve()):
        if _is_orphan(server_process.pid):
            yield Damage(
                f"process {server_process.pid}",
                "a Prefect server whose parent process has died",
                "terminate it",
                partial(_terminate, server_process),
                needed=False,
            )


@dataclass(frozen=True, slots=True)
class _Server:
    """Process of a server; its start time distinguishes it from a later one with the same id.

    Attributes:
        pid: Process id.
        start_ticks: Start time in clock ticks after the boot, as in ``/proc/PID/stat``.
    """

    pid: int
    start_ticks: str


def _servers(root: Path) -> Iterator[_Server]:
    """Prefect servers of this user that belong to the root."""
    for process_dir in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            command_words = (process_dir / "cmdline").read_bytes()
            is_server = b"prefect" in command_words and (
                b"server" in command_words or b"uvicorn" in command_words
            )
            if (
                is_server
                and process_dir.stat().st_uid == os.getuid()
                and _belongs(process_dir, root)
            ):
                yield _Server(int(process_dir.name), _start_ticks(process_dir))


def _belongs(process_dir: Path, root: Path) -> bool:
    """Whether a process has its PREFECT_HOME below the root, or was started in the root."""
    process_env = dict(
        env_entry.split(b"=", 1)
        for env_entry in (process_dir / "environ").read_bytes().split(b"\0")
        if b"=" in env_entry
    )
    prefect_home = os.fsdecode(process_env.get(b"PREFECT_HOME", b""))
    if prefect_home:
        return Path(prefect_home).resolve().is_relative_to(root)
    return (process_dir / "cwd").readlink() == root


def _is_orphan(pid: int) -> bool:
    """Whether a process was adopted by the init process, and that is not one of our programs."""
    with suppress(OSError, IndexError, ValueError):
        parent_pid = int(_stat(Path("/proc") / str(pid))[1])
        parent_dir = Path("/proc") / str(parent_pid)
        process_name = (parent_dir / "comm").read_text().strip()
        command_words = (parent_dir / "cmdline").read_bytes()
        return (parent_pid == 1 or process_name in _REAPERS) and not any(
            command_word in command_words for command_word in _ALIVE
        )
    return False


def _stat(process_dir: Path) -> list[str]:
    """Fields of ``/proc/PID/stat`` after the name, which may contain blanks."""
    return (process_dir / "stat").read_text().rpartition(")")[2].split()


def _start_ticks(process_dir: Path) -> str:
    return _stat(process_dir)[19]


def _is_free(owner_file: Path) -> bool:
    """Whether no process holds the lock of a temporary folder."""
    with suppress(OSError), owner_file.open("r") as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return True
    return False


def _move(draft_dir: Path, backup_folder: BackupFolder) -> str:
    return f"moved to {backup_folder.move(draft_dir)}"


def _terminate(server_process: _Server, _: BackupFolder) -> str:
    """Send SIGTERM, then SIGKILL, unless another process has the same id by now."""
    process_dir = Path("/proc") / str(server_process.pid)
    deadline_s = time.monotonic() + _GRACE_S
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(OSError, IndexError):
            if _start_ticks(process_dir) == server_process.start_ticks:
                os.kill(server_process.pid, signal_number)
            while _is_running(process_dir, server_process) and time.monotonic() < deadline_s:
                time.sleep(0.1)
    return "still running" if _is_running(process_dir, server_process) else "terminated"


def _is_running(process_dir: Path, server_process: _Server) -> bool:
    with suppress(OSError, IndexError):
        stat_fields = _stat(process_dir)
        return stat_fields[0] != "Z" and stat_fields[19] == server_process.start_ticks
    return False
