"""Chronotope, its baselines and the field's libraries on the same data and split.

    python -m benchmarks.peers --dataset movielens_100k \
        --protocol global --json peers.json

Each model trains in a process of its own, under the same number of threads and the same
time budget, and writes the scores of all items for each target. One evaluator ranks them.
Times are processor seconds a thread. Rows of an earlier run stay in the JSON file.
"""

import argparse
import json
import math
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.data_sets import add_data_option, data_root
from benchmarks.peers import data, environments, ranking
from benchmarks.peers.roster import OWN, ROSTER, Entry
from benchmarks.rows import Row, at_least_one, read_rows, some_of, write_rows
from chronotope.contracts.errors import ChronotopeError
from chronotope.contracts.event_log import EventLog

KEYS: Final = ("dataset", "protocol", "model")
COLUMNS: Final = {
    "model": "model",
    "NDCG@10": "ndcg_10",
    "acc@1": "acc_1",
    "@10": "acc_10",
    "MRR": "mrr",
    "seen@10": "return_acc_10",
    "new@10": "discovery_acc_10",
    "train s": "train_s",
    "epoch s": "seconds_epoch",
    "score s": "score_s",
    "MB": "peak_mb",
    "stopped by": "stopped_by",
}
GRACE: Final = 1.1
"""A model that does not watch the clock may take this multiple of the budget unmarked."""
OURS: Final = "chronotope"
RANKS: Final = "ranks.npy"
TABLE_WIDTH: Final = 136
SECONDS: Final = ("train_s", "score_s", "peak_mb")


@dataclass(frozen=True, slots=True)
class Arena:
    """Log, split and folders shared by all models."""

    work: Path
    features: Path
    log: EventLog
    n_items: int
    split: data.Split


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the chosen models, print all rows of the dataset and protocol, and keep them."""
    chosen = parser().parse_args(arguments)
    arena = prepare(chosen)
    console = Console(width=max(Console().width, TABLE_WIDTH))
    n_train, n_targets = len(arena.split.train), len(arena.split.targets)
    console.print(f"{n_train:,} to learn from, {n_targets:,} targets")
    for name in chosen.models:
        try:
            row = measure(name, arena, chosen)
        except ChronotopeError as error:
            console.print(f"{name} failed: {error}", highlight=False)
            continue
        console.print(_line(row), highlight=False)
        keep(row, chosen.json)
    console.print(table(kept(chosen.json), chosen.dataset, chosen.protocol))
    for line in leads(arena.work):
        console.print(line, highlight=False)


def prepare(chosen: argparse.Namespace) -> Arena:
    """Read the dataset, cut it and write the task."""
    work = (chosen.work / f"{chosen.dataset}-{chosen.protocol}").resolve()
    features = data.read_dataset(chosen.dataset, data_root(chosen.data), work)
    log, catalog, split = data.write_task(features, chosen.protocol, work / "task", _limits(chosen))
    return Arena(work, features, log, catalog.n_items, split)


def measure(name: str, arena: Arena, chosen: argparse.Namespace) -> Row:
    """Train and score one model in a process of its own, and evaluate the scores.

    Raises:
        ChronotopeError: Its environment could not be made or its process failed.
    """
    entry, out = ROSTER[name], arena.work / name
    settings = entry.settings_for(arena.n_items)
    told = {"features": str(arena.features), "protocol": chosen.protocol}
    run_worker(
        entry, settings | (told if entry.env == OWN else {}), arena.work / "task", out, chosen
    )
    metrics, rank = ranking.evaluate_scores(
        np.load(out / "scores.npy", mmap_mode="r"),
        arena.log,
        arena.split.targets,
        n_items=arena.n_items,
        drops_seen=data.RULES[chosen.dataset].drops_seen,
    )
    np.save(out / RANKS, rank)
    stats: Row = json.loads((out / "stats.json").read_text(encoding="utf-8"))
    if stats["train_s"] > GRACE * chosen.budget_s:
        stats["stopped_by"] = "itself, too late"
    about: Row = dict(zip(KEYS, (chosen.dataset, chosen.protocol, name), strict=True))
    return about | metrics | stats | _limits(chosen) | {"settings": settings}


def run_worker(
    entry: Entry,
    settings: dict[str, Any],
    task: Path,
    out: Path,
    chosen: argparse.Namespace,
) -> None:
    """Train and score in a process of its own.

    Raises:
        ConfigError: The environment could not be made.
        ChronotopeError: The process failed.
    """
    python = environments.python_of(entry.env, chosen.venvs)
    worker = f"benchmarks.peers.workers.run_{entry.env}"
    told = [str(task), entry.model, str(out), json.dumps(settings)]
    out.mkdir(parents=True, exist_ok=True)
    output = out / "output.log"
    with output.open("w", encoding="utf-8") as file:
        ran = subprocess.run(  # noqa: S603
            [python, "-m", worker, *told],
            check=False,
            env=environments.environment(chosen.threads),
            stdout=file,
            stderr=subprocess.STDOUT,
        )
    if ran.returncode != 0:
        lines = output.read_text(encoding="utf-8").strip().splitlines()
        last = lines[-1] if lines else f"exit status {ran.returncode}"
        raise ChronotopeError("A worker failed", received=last, way_out=f"Read {output}")


def keep(row: Row, path: Path | None) -> None:
    """Put a row into the JSON file in place of an older one of the same model."""
    if path is None:
        return
    same = [row[key] for key in KEYS]
    rows = [other for other in kept(path) if [other[key] for key in KEYS] != same]
    order = list(ROSTER)
    rows = sorted([*rows, _plain(row)], key=lambda r: (*_group(r), order.index(r["model"])))
    write_rows(rows, path)


def kept(path: Path | None) -> list[Row]:
    """Rows of earlier runs whose models are still in the roster."""
    rows = [] if path is None else read_rows(path)
    return [row for row in rows if row["model"] in ROSTER]


def leads(work: Path) -> list[str]:
    """Chronotope's models against each library's, paired over the targets of the latest runs."""
    found = {name: work / name / RANKS for name in ROSTER}
    ranks = {name: np.load(path) for name, path in found.items() if path.is_file()}
    return [
        _lead(our, ranks[our], name, theirs)
        for our in ranks
        if our.startswith(OURS)
        for name, theirs in ranks.items()
        if ROSTER[name].env != OWN and len(theirs) == len(ranks[our])
    ]


def _lead(
    our: str, ours: npt.NDArray[np.float64], name: str, theirs: npt.NDArray[np.float64]
) -> str:
    found = ranking.lead(ours, theirs)
    span = f"{found.estimate:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"
    return f"{our} - {name}: NDCG@10 {span}, p {found.p_value:.3f}"


def table(rows: Sequence[Row], dataset: str, protocol: str) -> Table:
    """Table of the rows of one dataset and protocol."""
    shown = Table(title=f"{dataset}, {protocol}", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for header in COLUMNS:
        shown.add_column(header, justify="left" if header == "model" else "right", no_wrap=True)
    for row in rows:
        if _group(row) == (dataset, protocol):
            shown.add_row(*(_cell(key, row.get(key)) for key in COLUMNS.values()))
    return shown


def _limits(chosen: argparse.Namespace) -> dict[str, float | int]:
    return {"budget_s": chosen.budget_s, "threads": chosen.threads, "seed": chosen.seed}


def _cell(key: str, value: object) -> str:
    if not isinstance(value, float):
        return "-" if value is None else str(value)
    return f"{value:.1f}" if key in SECONDS else f"{value:.3f}"


def _line(row: Row) -> str:
    return (
        f"{row['model']}: NDCG@10 {row['ndcg_10']:.4f}, acc@10 {row['acc_10']:.4f}, "
        f"train {row['train_s']:.0f} s, epoch {row['seconds_epoch']:.2f} s, "
        f"score {row['score_s']:.2f} s"
    )


def _group(row: Row) -> tuple[str, str]:
    return row["dataset"], row["protocol"]


def _plain(row: Row) -> Row:
    """Replace NaN, which JSON does not have, by null."""
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in row.items()}


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    add = options.add_argument
    add_data_option(options)
    add("--dataset", choices=list(data.RULES), default="movielens_100k")
    add("--protocol", choices=data.PROTOCOLS, default="global")
    add("--budget-s", type=float, default=300.0, help="seconds of training for each model")
    add("--threads", type=at_least_one, default=1, help="threads of each model")
    add("--seed", type=int, default=0)
    add("--json", type=Path, help="store the rows in this file, beside those already there")
    add("--models", type=some_of(ROSTER), default=list(ROSTER), help=f"some of {','.join(ROSTER)}")
    add("--venvs", type=Path, default=Path(".venv-peers"), help="the libraries' environments")
    add("--work", type=Path, default=Path("data/peers"), help="folder for tasks and scores")
    return options


if __name__ == "__main__":
    main()
