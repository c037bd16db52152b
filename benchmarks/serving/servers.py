"""Servers in processes of their own, timed by another process."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.rows import Row

PATIENCE_S: Final = 120.0
"""Maximum seconds until a server's first response."""


def ask(address: str, bodies: list[Any], *options: str) -> dict[str, Any]:
    """Run the load generator in another process."""
    command = [sys.executable, "-m", "benchmarks.serving.load", address, *options]
    done = subprocess.run(  # noqa: S603 - our own interpreter
        command, input=json.dumps(bodies), capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@contextmanager
def running(command: list[str], port: int) -> Iterator[int]:
    """Process group of a server, from its first response to the end of the block."""
    with subprocess.Popen(  # noqa: S603 - commands of this file
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            _wait_for(process, port)
            yield process.pid
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def _wait_for(process: "subprocess.Popen[bytes]", port: int) -> None:
    until = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except urllib.error.HTTPError:  # it answers, though not to this
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"No answer on port {port}: {process.args!r}")


def cpu_s(group: int) -> float:
    """Processor seconds that the processes of a group have used until now."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            told = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(told[2]) == group:
            ticks += int(told[11]) + int(told[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def free_port() -> int:
    """A free port."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def times(name: str, seconds: list[float]) -> Row:
    """Median and 99th percentile as ``<name>_p50_ms`` and ``<name>_p99_ms``."""
    p50, p99 = np.quantile(1000 * np.array(seconds), (0.5, 0.99)).round(3).tolist()
    return {f"{name}_p50_ms": p50, f"{name}_p99_ms": p99}
