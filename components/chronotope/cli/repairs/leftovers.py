"""What killed processes left behind: drafts that nobody holds, and servers without a parent."""

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

from chronotope.cli.repairs.damage import Aside, Damage
from chronotope.runtime.temp_dirs import OWNER

_REAPERS: Final = {"systemd", "init", "launchd"}
_ALIVE: Final = (b"chronotope", b"prefect", b"python")
_GRACE_S: Final = 5.0


def draft_damages(root: Path) -> Iterator[Damage]:
    """Folders of drafts whose process has died.

    Args:
        root: Project root.
    """
    for above in (root / "data", root / "mlruns"):
        for owner in sorted(above.rglob(OWNER)):
            if "repaired" not in owner.parts and _is_free(owner):
                yield Damage(
                    f"draft {owner.parent.name}",
                    f"left in {owner.parent.parent} by a process that died",
                    "move it aside",
                    partial(_move, owner.parent),
                    needed=False,
                )


def orphan_damages(root: Path) -> Iterator[Damage]:
    """Prefect servers of this root whose parent is gone, as far as Linux tells.

    Args:
        root: Project root.
    """
    for server in _servers(root.resolve()):
        if _is_orphan(server.pid):
            yield Damage(
                f"process {server.pid}",
                "a Prefect server whose parent has died",
                "end it",
                partial(_end, server),
                needed=False,
            )


@dataclass(frozen=True, slots=True)
class _Server:
    """A process; its beginning tells it from a later one of the same number."""

    pid: int
    began: str


def _servers(root: Path) -> Iterator[_Server]:
    """Processes of this user that are Prefect servers with a home below the root."""
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError):
            words = (folder / "cmdline").read_bytes()
            is_server = b"prefect" in words and (b"server" in words or b"uvicorn" in words)
            if is_server and folder.stat().st_uid == os.getuid() and _belongs(folder, root):
                yield _Server(int(folder.name), _beginning(folder))


def _belongs(folder: Path, root: Path) -> bool:
    """Whether a process keeps its data below the root, or was started in it."""
    variables = dict(
        entry.split(b"=", 1)
        for entry in (folder / "environ").read_bytes().split(b"\0")
        if b"=" in entry
    )
    home = os.fsdecode(variables.get(b"PREFECT_HOME", b""))
    if home:
        return Path(home).resolve().is_relative_to(root)
    return (folder / "cwd").readlink() == root


def _is_orphan(pid: int) -> bool:
    """Whether the process that adopts orphans is the parent, and is no program of ours."""
    with suppress(OSError, IndexError, ValueError):
        parent = int(_stat(Path("/proc") / str(pid))[1])
        above = Path("/proc") / str(parent)
        name = (above / "comm").read_text().strip()
        words = (above / "cmdline").read_bytes()
        return (parent == 1 or name in _REAPERS) and not any(word in words for word in _ALIVE)
    return False


def _stat(folder: Path) -> list[str]:
    """Fields of ``/proc/PID/stat`` behind the name, which may hold blanks."""
    return (folder / "stat").read_text().rpartition(")")[2].split()


def _beginning(folder: Path) -> str:
    return _stat(folder)[19]


def _is_free(owner: Path) -> bool:
    """Whether nobody holds a draft's lock."""
    with suppress(OSError), owner.open("r") as file:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return True
    return False


def _move(folder: Path, aside: Aside) -> str:
    return f"moved to {aside.move(folder)}"


def _end(server: _Server, _: Aside) -> str:
    """Ask a process to end, then make it; another one that got its number is left alone."""
    folder = Path("/proc") / str(server.pid)
    until = time.monotonic() + _GRACE_S
    for number in (signal.SIGTERM, signal.SIGKILL):
        with suppress(OSError, IndexError):
            if _beginning(folder) == server.began:
                os.kill(server.pid, number)
            while _runs(folder, server) and time.monotonic() < until:
                time.sleep(0.1)
    return "ended" if not _runs(folder, server) else "was asked to end"


def _runs(folder: Path, server: _Server) -> bool:
    with suppress(OSError, IndexError):
        fields = _stat(folder)
        return fields[0] != "Z" and fields[19] == server.began
    return False
