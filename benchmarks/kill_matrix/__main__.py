"""Kill each step of the two training flows at three points, and compare the next run.

    python -m benchmarks.kill_matrix --json kill_matrix.json

A small simulated town is trained, and later events wait in its inbox. Every run is a process of
its own, killed by SIGKILL with all its children. Each step is killed in three consecutive runs: at
its start; half-way (after half of the time it takes undisturbed); and when its work is done and
not recorded yet. Then the flow runs to its end, and its state is compared with that of an
undisturbed run: metrics, parameters, versions, aliases and promotions, rows of all tables,
snapshots, the watermark, and that no run is left open. The next step begins from the state that
the three kills left, so kills add up; ``--points`` selects single ones.

    python -m benchmarks.kill_matrix --random 10 --seed 1

kills from outside instead, ten times a flow, each time at a random time of the flow; every run
starts from the beginning.
"""

import argparse
import os
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from numpy.random import Generator, default_rng
from prefect.settings import PREFECT_API_URL
from prefect.testing.utilities import prefect_test_harness
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.kill_matrix.doom import (
    POINTS,
    STEPS,
    Doom,
    Point,
    look,
    run_doomed,
    run_killed_after,
    run_to_end,
    run_watched,
)
from benchmarks.kill_matrix.town import LEFT_RUNNING, Town
from benchmarks.rows import Row, some_of, write_rows

WIDTH: Final = 120


@dataclass(frozen=True)
class Matrix:
    """A flow, the folder where it runs, and copies of the folder.

    Attributes:
        flow: ``train_model`` or ``collect_feedback``.
        folder: Folder of the town and the copies.
    """

    flow: str
    folder: Path

    @property
    def root(self) -> Path:
        """Root of the town, the same for all copies, because databases contain paths."""
        return self.folder / "town"

    def outcomes(self, steps: Sequence[str], points: Sequence[Point]) -> Iterator[Row]:
        """Kill, run to the end, compare: one row a step.

        Args:
            steps: Steps of the flow, in its order.
            points: Points of each step, one run after the other.
        """
        self._begin()
        seconds = run_watched(self.root, self.flow)
        wanted = {**look(self.root), LEFT_RUNNING: {}}
        self._restore("begun")
        for step in steps:
            dooms = (Doom(step, point, seconds[step]) for point in points)
            killed = [doom.point for doom in dooms if run_doomed(self.root, self.flow, doom)]
            self._keep("killed")
            about = {"killed": killed, "step_s": round(seconds[step], 3)}
            yield self._outcome(step, wanted) | about
            self._restore("killed")

    def random_outcomes(self, n_kills: int, rng: Generator) -> Iterator[Row]:
        """Kill at random times, run to the end, compare: one row a kill.

        Args:
            n_kills: Number of kills.
            rng: Random generator of the times.
        """
        self._begin()
        began = time.perf_counter()
        wanted = {**run_to_end(self.root, self.flow), LEFT_RUNNING: {}}
        whole_s = time.perf_counter() - began
        for kill_s in rng.uniform(1.0, whole_s, n_kills).tolist():
            self._restore("begun")
            killed = run_killed_after(self.root, self.flow, kill_s)
            about = {"killed": ["random"] if killed else [], "step_s": round(kill_s, 3)}
            yield self._outcome(f"at {kill_s:.1f} of {whole_s:.1f} s", wanted) | about

    def _outcome(self, step: str, wanted: dict[str, Any]) -> Row:
        began = time.perf_counter()
        found = run_to_end(self.root, self.flow)
        return {
            "flow": self.flow,
            "step": step,
            "again_s": round(time.perf_counter() - began, 1),
            "differs": [name for name, value in wanted.items() if found[name] != value],
        }

    def _begin(self) -> None:
        """Create the town if it is missing; for feedback, with a champion."""
        if not self.root.exists():
            Town(self.root).settle()
        if self.flow == "collect_feedback":
            run_to_end(self.root, "train_model")
        self._keep("begun")

    def _keep(self, name: str) -> None:
        shutil.rmtree(self.folder / name, ignore_errors=True)
        shutil.copytree(self.root, self.folder / name, symlinks=True)

    def _restore(self, name: str) -> None:
        shutil.rmtree(self.root)
        shutil.copytree(self.folder / name, self.root, symlinks=True)


def main(words: Sequence[str] | None = None) -> None:
    """Print and store a row for each step; the exit code is 1 if any state differs."""
    known = sorted({step for steps in STEPS.values() for step in steps})
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--json", type=Path, help="store the rows in this file")
    parser.add_argument("--flows", type=some_of(STEPS), default=list(STEPS), help="comma-separated")
    parser.add_argument("--points", type=some_of(POINTS), default=list(POINTS))
    parser.add_argument("--steps", type=some_of(known), default=known, help="comma-separated")
    parser.add_argument("--random", type=int, metavar="N", help="N kills a flow, at random times")
    parser.add_argument("--seed", type=int, default=0, help="seed of --random")
    args = parser.parse_args(words)
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch, prefect_test_harness(120):
        os.environ["PREFECT_API_URL"] = PREFECT_API_URL.value() or ""
        for flow in args.flows:
            for row in _rows(Matrix(flow, Path(scratch) / flow), args):
                rows.append(row)
                print(row, flush=True)
                if args.json:
                    write_rows(rows, args.json)
    Console(width=WIDTH).print(_table(rows, ["random"] if args.random else args.points))
    if any(row["differs"] for row in rows):
        raise SystemExit(1)


def _rows(matrix: Matrix, args: argparse.Namespace) -> Iterator[Row]:
    if args.random:
        return matrix.random_outcomes(args.random, default_rng(args.seed))
    return matrix.outcomes([s for s in STEPS[matrix.flow] if s in args.steps], args.points)


def _table(rows: Sequence[Row], points: Sequence[str]) -> Table:
    """A line a step, as Markdown: docs/resume.md holds it."""
    killed = f"killed: {', '.join(points)}"
    table = Table("flow", "step", "takes", killed, "the next run takes", box=box.MARKDOWN)
    for row in rows:
        outcome = "differs: " + ", ".join(row["differs"]) if row["differs"] else "the same"
        left = [point for point in points if point not in row["killed"]]
        outcome += f" ({', '.join(left)}: nothing was left to do)" if left else ""
        seconds = (f"{row[name]:.1f} s" for name in ("step_s", "again_s"))
        table.add_row(row["flow"], row["step"], next(seconds), outcome, next(seconds))
    return table


if __name__ == "__main__":
    main()
