"""Input and output of a worker; needs numpy and pyarrow only, in any environment.

A task is a folder: ``train.parquet`` (user_idx, item_idx, occurred_s, ordered by user and
time), ``histories.parquet`` (row, user_idx, item_idx, occurred_s: what the user of target
``row`` did before it) and ``task.json``. A worker answers with ``scores.npy``, one row a
target and one column an item, and ``stats.json``.
"""

import json
import os
import re
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq

IntArray = npt.NDArray[np.int64]

BLOCK = 256
"""Targets scored together."""


@dataclass(frozen=True)
class Task:
    """Training data, targets and budget of a worker.

    Attributes:
        folder: Folder of the task's files.
        out: Folder of scores and statistics.
        model: Name of the worker's model.
        settings: Its settings.
        n_users: Number of user indices, the unknown (0) included.
        n_items: Number of item indices, the unknown (0) included.
        n_targets: Rows to score.
        budget_s: Seconds of training.
        threads: Number of threads, the same for all models.
        seed: Seed of everything random.
    """

    folder: Path
    out: Path
    model: str
    settings: dict[str, Any]
    n_users: int
    n_items: int
    n_targets: int
    budget_s: float
    threads: int
    seed: int

    def train(self) -> dict[str, IntArray]:
        """Columns of the training interactions."""
        return _columns(self.folder / "train.parquet")

    def histories(self) -> dict[str, IntArray]:
        """Columns of the events before each target, ordered by target and time."""
        return _columns(self.folder / "histories.parquet")


def read_task(arguments: list[str] | None = None) -> Task:
    """The task named on the command line: folder, model, output folder, settings as JSON."""
    folder, model, out, settings = sys.argv[1:] if arguments is None else arguments
    sys.argv = sys.argv[:1]  # some libraries read the command line too
    told = json.loads((Path(folder) / "task.json").read_text(encoding="utf-8"))
    return Task(Path(folder).resolve(), Path(out).resolve(), model, json.loads(settings), **told)


class Clock:
    """Seconds of processor time a thread, independent of other programs."""

    def __init__(self, task: Task) -> None:
        """Start counting."""
        self._threads, self._budget_s = task.threads, task.budget_s
        self._began, self._wall = time.process_time(), time.perf_counter()

    def seconds(self) -> float:
        """Seconds since the start."""
        return (time.process_time() - self._began) / self._threads

    def wall_seconds(self) -> float:
        """Seconds on the wall since the start."""
        return time.perf_counter() - self._wall

    def is_over(self) -> bool:
        """Whether the budget is spent."""
        return self.seconds() > self._budget_s


class Epochs:
    """Durations of epochs, validation included."""

    def __init__(self, clock: Clock) -> None:
        """Count from the moment ``began`` is called."""
        self._clock = clock
        self._marks: list[float] = []
        self._n_batches = 0

    def began(self) -> None:
        """The first epoch starts now."""
        self._marks = [self._clock.seconds()]

    def batch_done(self) -> None:
        """A batch was trained on."""
        self._n_batches += 1

    def ended(self) -> None:
        """An epoch ends now."""
        self._marks.append(self._clock.seconds())
        self._n_batches = 0

    @property
    def done(self) -> int:
        """Whole epochs."""
        return len(self._marks) - 1

    def seconds(self, n_batches: int | None = None) -> float:
        """Median epoch, or the part of the first one made up to ``n_batches``."""
        if self.done > 0:
            steps = [after - before for before, after in pairwise(self._marks)]
            return statistics.median(steps)
        if n_batches is None or self._n_batches == 0:
            return float("nan")
        return (self._clock.seconds() - self._marks[0]) * n_batches / self._n_batches


class ScoresFile:
    """Rows of scores appended to one ``.npy`` file, block by block."""

    def __init__(self, task: Task, dtype: npt.DTypeLike = np.float32) -> None:
        """Open the file and write its header."""
        self._dtype, self._shape = np.dtype(dtype), (task.n_targets, task.n_items)
        task.out.mkdir(parents=True, exist_ok=True)
        self._file = (task.out / "scores.npy").open("wb")
        header = np.lib.format.header_data_from_array_1_0(np.empty((0, 0), self._dtype))
        np.lib.format.write_array_header_1_0(self._file, header | {"shape": self._shape})

    def append(self, block: npt.NDArray[Any]) -> None:
        """Write the next rows."""
        self._file.write(np.ascontiguousarray(block, dtype=self._dtype).tobytes())

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def blocks(n: int, step: int = BLOCK) -> Iterator[slice]:
    """Slices of at most ``step`` rows."""
    return (slice(at, min(at + step, n)) for at in range(0, n, step))


def write_scores(
    task: Task,
    vectors: npt.NDArray[np.float32],
    items: npt.NDArray[np.float32],
    columns: IntArray,
    known: npt.NDArray[np.bool_],
) -> None:
    """Write ``vectors @ items.T``; unknown users get the items' training counts.

    Args:
        task: The task.
        vectors: One vector a target, shape (n_targets, d).
        items: One vector a trained item, shape (n_trained, d).
        columns: Index of each trained item, shape (n_trained,).
        known: Whether the model knows the target's user, shape (n_targets,).
    """
    popular = popularity(task)
    with_scores = ScoresFile(task)
    for rows in blocks(task.n_targets):
        block = np.full((rows.stop - rows.start, task.n_items), -np.inf, dtype=np.float32)
        block[:, columns] = vectors[rows] @ items.T
        block[~known[rows]] = popular
        with_scores.append(block)
    with_scores.close()


def popularity(task: Task) -> npt.NDArray[np.float32]:
    """Training events of each item, shape (n_items,)."""
    counts = np.bincount(task.train()["item_idx"], minlength=task.n_items)
    return counts.astype(np.float32)


def write_stats(task: Task, stats: dict[str, Any]) -> None:
    """Write the statistics of a run, peak memory added."""
    kept = {**stats, "peak_mb": round(_peak_kib() / 1024, 1)}
    rounded = {k: round(v, 3) if isinstance(v, float) else v for k, v in kept.items()}
    (task.out / "stats.json").write_text(json.dumps(rounded), encoding="utf-8")


def quiet(task: Task) -> None:
    """Work in the output folder, where libraries may write files."""
    scratch = task.out / "scratch"
    scratch.mkdir(parents=True, exist_ok=True)
    os.chdir(scratch)


def _columns(path: Path) -> dict[str, IntArray]:
    table = pq.read_table(path)
    return {name: table[name].to_numpy().astype(np.int64) for name in table.column_names}


def _peak_kib() -> int:
    """Peak resident memory of this process.

    ``ru_maxrss`` starts at what the parent held when it started us, so Linux is asked for
    the high-water mark of this program alone.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        found = re.search(r"^VmHWM:\s+(\d+) kB", status.read_text(encoding="utf-8"), re.MULTILINE)
        if found:
            return int(found[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
