"""How long a command takes that has little to do, beside what its packages take alone.

Run ``python -m benchmarks.startup [--repeats 5] [--json FILE] [--root ROOT --dataset NAME]``.

Each command is a fresh process, timed from outside; the commands alternate. Processor seconds
include child processes such as the private Prefect server, so they may exceed wall seconds. The
ratio compares processor seconds with those of a named alternative in the same run: they depend
less than wall seconds on what else the machine does. ``recommend`` asks the champion of
``--root``; without one a tiny model is trained first.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.small import CITY, TRAINING

PROJECT: Final = Path(__file__).parents[1]
N_ROWS: Final = 1_000
"""Events of the ingestion."""

ALTERNATIVES: Final[dict[str, tuple[str, ...]]] = {
    "import torch": (sys.executable, "-c", "import torch"),
    "prefect version": (sys.executable, "-m", "prefect", "version"),
    "mlflow --help": (sys.executable, "-m", "mlflow", "--help"),
}
_RUN: Final = (sys.executable, "-c", "from chronotope.cli.main import run; run()")
_NEW_ROOT: Final = "NEW_ROOT"
"""Stands for a folder of its own for each run."""


@dataclass(frozen=True, slots=True)
class TimedCommand:
    """A command to time.

    Attributes:
        name: Name in the table.
        words: Arguments of ``chronotope``.
        alternative: Name of what it is compared with.
        exit_code: Exit code that it ends with.
    """

    name: str
    words: tuple[str, ...]
    alternative: str
    exit_code: int = 0


@dataclass(frozen=True, slots=True)
class ProcessTime:
    """Times of one process and its children.

    Attributes:
        wall_s: Seconds from start to end.
        cpu_s: Processor seconds, user and system.
    """

    wall_s: float
    cpu_s: float


def main() -> None:
    """Time all commands in turn, print a table and write the rows."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--root", type=Path, help="root with a champion")
    parser.add_argument("--dataset", default="small_city", help="dataset of the champion")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch_dir:
        scratch = Path(scratch_dir)
        root = train_small(scratch / "champion") if args.root is None else args.root
        rows = time_commands(commands(root, args.dataset, scratch), args.repeats, scratch)
    print(table(rows))
    if args.json:
        args.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


def commands(root: Path, dataset: str, scratch: Path) -> tuple[TimedCommand, ...]:
    """Commands to time.

    Args:
        root: Root with a champion.
        dataset: Dataset of the champion.
        scratch: Folder for the dataset of the ingestion.
    """
    ingested = write_dataset(scratch / "thousand_rows.yaml", N_ROWS)
    recommend = ("recommend", "u0", "--dataset", dataset, "--root", str(root), "--json")
    return (
        TimedCommand("--help", ("--help",), "mlflow --help"),
        TimedCommand("train --help", ("train", "--help"), "mlflow --help"),
        TimedCommand("train (no dataset)", ("train",), "prefect version", exit_code=2),
        TimedCommand("train no_such", ("train", "no_such"), "prefect version", exit_code=1),
        TimedCommand("recommend", recommend, "import torch"),
        TimedCommand(
            f"ingest ({N_ROWS:,} rows)", ("ingest", str(ingested), "--root", _NEW_ROOT),
            "import torch",
        ),
    )  # fmt: skip


def write_dataset(path: Path, n_events: int) -> Path:
    """Write the YAML of a small simulated city; returns its path."""
    city = CITY.model_copy(update={"n_events": n_events}).model_dump(mode="json")
    content = {"name": path.stem, "description": "A city.", "licence": "CC0-1.0", "city": city}
    path.write_text(json.dumps(content), encoding="utf-8")  # JSON is YAML
    return path


def train_small(root: Path) -> Path:
    """Train and promote a model that takes seconds; returns the root."""
    root.mkdir(parents=True)
    dataset = write_dataset(root / "small_city.yaml", CITY.n_events)
    config = root / "training.yaml"
    config.write_text(json.dumps(TRAINING), encoding="utf-8")
    words = ("train", str(dataset), "--config", str(config), "--root", str(root), "--json")
    done = subprocess.run(  # noqa: S603
        [*_RUN, *words], cwd=PROJECT, env=environment(), check=True, stdout=subprocess.PIPE
    )
    if not json.loads(done.stdout)["promotion"]["promoted"]:
        promote = ("promote", "1", "--dataset", "small_city", "--reason", "benchmark")
        subprocess.run(  # noqa: S603
            [*_RUN, *promote, "--root", str(root)], cwd=PROJECT, env=environment(), check=True
        )
    return root


def time_commands(
    timed_commands: tuple[TimedCommand, ...], repeats: int, scratch: Path
) -> list[dict[str, Any]]:
    """Median times of each command and each alternative, and the ratios."""
    programs = {name: (words, 0) for name, words in ALTERNATIVES.items()}
    programs |= {c.name: ((*_RUN, *c.words), c.exit_code) for c in timed_commands}
    times: dict[str, list[ProcessTime]] = {name: [] for name in programs}
    for number in range(-1, repeats):  # the first round fills the disk cache and is dropped
        for name, (words, exit_code) in programs.items():
            root = str(scratch / f"root-{number}")
            process_time = time_process([root if w == _NEW_ROOT else w for w in words], exit_code)
            if number >= 0:
                times[name].append(process_time)
    rows = []
    alternative_of: Mapping[str, str] = {c.name: c.alternative for c in timed_commands}
    cpu_s = {name: statistics.median(t.cpu_s for t in times[name]) for name in programs}
    for name in programs:
        wall_s = statistics.median(t.wall_s for t in times[name])
        row: dict[str, Any] = {"name": name, "wall_s": round(wall_s, 2)}
        row["cpu_s"] = round(cpu_s[name], 2)
        if name in alternative_of:
            row["alternative"] = alternative_of[name]
            row["ratio"] = round(cpu_s[name] / cpu_s[alternative_of[name]], 2)
        rows.append(row)
    return rows


def time_process(words: list[str], exit_code: int) -> ProcessTime:
    """Run a program and time it.

    Raises:
        RuntimeError: It did not end with the exit code.
    """
    start_s = time.perf_counter()
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(  # noqa: S603
            words, cwd=PROJECT, env=environment(), stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        wall_s = time.perf_counter() - start_s
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != exit_code:
            output.seek(0)
            raise RuntimeError(f"{words} ended with {process.returncode}: {output.read()!r}")
    return ProcessTime(wall_s, usage.ru_utime + usage.ru_stime)


def environment() -> dict[str, str]:
    """Variables of all programs: nothing is sent anywhere."""
    quiet = {
        "DO_NOT_TRACK": "1",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    }
    python_path = os.pathsep.join(
        [str(PROJECT / "components"), str(PROJECT), os.environ.get("PYTHONPATH", "")]
    )
    return os.environ | quiet | {"PYTHONPATH": python_path}


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = ["| command | wall s | processor s | ratio |", "|---|---|---|---|"]
    for row in rows:
        is_ours = "ratio" in row
        name = f"`chronotope {row['name']}`" if is_ours else f"`{row['name']}`"
        ratio = f"{row['ratio']:.2f} of `{row['alternative']}`" if is_ours else ""
        lines.append(f"| {name} | {row['wall_s']:.2f} | {row['cpu_s']:.2f} | {ratio} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
