"""Memory and processor time of this process and all that it starts, those of Ray included."""

import os
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

_MARK: Final = "CHRONOTOPE_BENCHMARK"
_INTERVAL_S: Final = 0.5
_TICKS_PER_S: Final = os.sysconf("SC_CLK_TCK")


@dataclass(slots=True)
class ProcessCosts:
    """Costs of processes by their id; those that ended keep their last ones.

    Attributes:
        peak_mb: Largest resident memory of each process, MiB.
        cpu_s: Processor seconds of each process.
        start_cpu_s: Processor seconds of each process when the measurement began.
        total_mb: Largest sum over all processes at one moment, MiB; a page that several of them
            share counts once (PSS).
    """

    peak_mb: dict[int, float] = field(default_factory=dict)
    cpu_s: dict[int, float] = field(default_factory=dict)
    start_cpu_s: dict[int, float] = field(default_factory=dict)
    total_mb: float = 0.0

    @property
    def largest_mb(self) -> float:
        """Memory of the largest process, MiB."""
        return max(self.peak_mb.values(), default=0.0)

    @property
    def total_cpu_s(self) -> float:
        """Processor seconds of all processes since the measurement began."""
        return sum(self.cpu_s.values()) - sum(self.start_cpu_s.values())

    def sample(self, mark: bytes) -> None:
        """Read the costs of all processes with a mark in their environment."""
        total_mb = 0.0
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                is_own = int(folder.name) == os.getpid()  # marked after it was started
                if not is_own and mark not in (folder / "environ").read_bytes():
                    continue
                status = (folder / "status").read_text()
                times = (folder / "stat").read_text().rpartition(")")[2].split()
                total_mb += _proportional_mb(folder)
            except OSError:  # it has ended, or is another user's
                continue
            peaks = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
            if peaks:
                process_id = int(folder.name)
                self.peak_mb[process_id] = int(peaks[0]) / 1_024
                ticks_s = (int(times[11]) + int(times[12])) / _TICKS_PER_S
                self.cpu_s[process_id] = time.process_time() if is_own else ticks_s
        self.total_mb = max(self.total_mb, total_mb)


def _proportional_mb(folder: Path) -> float:
    """Memory of a process, MiB; of a page that n processes share, one n-th."""
    for line in (folder / "smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) / 1_024
    return 0.0


@contextmanager
def measured_processes() -> Iterator[ProcessCosts]:
    """Measure this process and those that inherit its environment during the block."""
    value = os.environ.setdefault(_MARK, uuid.uuid4().hex)
    mark, costs, is_done = f"{_MARK}={value}".encode(), ProcessCosts(), threading.Event()
    costs.sample(mark)
    costs.start_cpu_s = dict(costs.cpu_s)

    def sample_until_done() -> None:
        while not is_done.wait(_INTERVAL_S):
            costs.sample(mark)

    sampler = threading.Thread(target=sample_until_done, daemon=True)
    sampler.start()
    try:
        yield costs
    finally:
        costs.sample(mark)
        is_done.set()
        sampler.join()


def mark_processes() -> None:
    """Mark this process's environment, before it starts others."""
    os.environ.setdefault(_MARK, uuid.uuid4().hex)
