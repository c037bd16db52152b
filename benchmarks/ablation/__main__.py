"""Ablation on Foursquare NYC: the model trained and evaluated without one part at a time.

    python -m benchmarks.ablation --json ablation.json \
        --parts decays,hours --epochs 3 --every 3

The stream of ``benchmarks.next_place``. Rows of an earlier run stay in the JSON file until
the same part runs again with the same settings. The full model runs first, unless its ranks
are in ``--work`` already.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.ablation.parts import FULL, PARTS, REQUEST_TIMES
from benchmarks.data_sets import add_data_option, data_set_dir
from benchmarks.next_place import WITHIN_SESSION, Stream, read_stream
from benchmarks.rows import Row, at_least_one, read_rows, some_of, write_rows
from chronotope.artifact.hidden_time import RequestTimeMarginalized
from chronotope.contracts.event_log import Float64
from chronotope.metrics import EvaluationResult, evaluate, hit_rate, paired_difference
from chronotope.models.config import ModelConfig
from chronotope.training.recommender import ChronotopeRecommender

TIMES: Final = ("hidden", "given")
KEYS: Final = ("part", "time", "epochs", "every", "seed")
METRICS: Final = {
    "acc_1": "Acc@1",
    "acc_10": "Acc@10",
    "mrr": "MRR",
    "discovery_acc_10": "discovery@10",
    "return_acc_10": "return@10",
}
TABLE_WIDTH: Final = 190


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings that all parts share.

    Attributes:
        epochs: Maximum number of passes over the targets.
        every: Evaluate every n-th target.
        seed: Seed of the training.
        model: Hyper-parameters of the network.
    """

    epochs: int = 3
    every: int = 3
    seed: int = 0
    model: ModelConfig = field(default_factory=ModelConfig)

    def of_row(self) -> Row:
        """The settings that distinguish rows."""
        return {"epochs": self.epochs, "every": self.every, "seed": self.seed}


@dataclass(frozen=True, slots=True)
class TargetResults:
    """Result of each target: rank, user, and whether it was a return."""

    rank: Float64
    user: npt.NDArray[np.integer]
    is_return: npt.NDArray[np.bool_]

    def of_metric(self, name: str) -> tuple[Float64, npt.NDArray[np.bool_]]:
        """Each target's value of a metric, and the targets it is about."""
        values = {"acc_1": hit_rate(self.rank, 1), "mrr": 1 / self.rank}
        about = {"return_acc_10": self.is_return, "discovery_acc_10": ~self.is_return}
        everything = np.ones(len(self.rank), dtype=np.bool_)
        return values.get(name, hit_rate(self.rank, 10)), about.get(name, everything)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the chosen parts, store their rows, and print all rows of these settings."""
    chosen = parser().parse_args(arguments)
    console = Console(width=max(Console().width, TABLE_WIDTH))
    settings = Settings(chosen.epochs, chosen.every, chosen.seed)
    run(
        read_stream(data_set_dir("foursquare_nyc", chosen.data)),
        settings,
        chosen.parts,
        chosen.work,
        chosen.json,
    )
    for when in TIMES:
        console.print(table(kept(chosen.json), settings, when))


def run(stream: Stream, settings: Settings, parts: Sequence[str], work: Path, path: Path) -> None:
    """Measure parts one by one; rows are stored as soon as a part is done."""
    folder = work / "-".join(f"{name}{value}" for name, value in settings.of_row().items())
    folder.mkdir(parents=True, exist_ok=True)
    has_full = all((folder / f"{FULL}-{when}.npz").is_file() for when in TIMES)
    first = [] if has_full and FULL not in parts else [FULL]
    for part in [*first, *(part for part in parts if part != FULL)]:
        train_s = measure(part, stream, settings, folder)
        for when in TIMES:
            full, without = (load(folder / f"{name}-{when}.npz") for name in (FULL, part))
            about = {"part": part, "time": when} | settings.of_row()
            keep(about | row_of(without, full) | {"train_s": round(train_s, 1)}, path)


def measure(part: str, stream: Stream, settings: Settings, folder: Path) -> float:
    """Train without a part and write the results of the targets; returns training seconds."""
    changes = {"max_epochs": settings.epochs, "seed": settings.seed}
    model = ChronotopeRecommender(settings.model, WITHIN_SESSION.model_copy(update=changes))
    asked = model if part == REQUEST_TIMES else RequestTimeMarginalized(model)
    started = time.perf_counter()
    with PARTS[part].off():
        model.fit(stream.base, stream.catalog)
        train_s = time.perf_counter() - started
        for when in TIMES:
            outcomes = evaluate(
                asked,
                stream.log,
                stream.targets[:: settings.every],
                n_items=stream.catalog.n_items,
                time_given=when == "given",
                rounds=stream.rounds,
            )
            save(outcomes, folder / f"{part}-{when}.npz")
    return train_s


def row_of(without: TargetResults, full: TargetResults) -> Row:
    """Metrics without a part, less those of the full model, and 95 % intervals over users."""
    row: Row = {"n_targets": len(without.rank)}
    for name in METRICS:
        values, about = without.of_metric(name)
        if not about.any():
            continue
        found = paired_difference(
            values[about], full.of_metric(name)[0][about], without.user[about]
        )
        row[name] = float(values[about].mean())
        row |= {f"{name}_diff": found.estimate, f"{name}_low": found.low}
        row |= {f"{name}_high": found.high}
    return row


def save(outcomes: EvaluationResult, path: Path) -> None:
    """Write the results of the targets."""
    np.savez(path, rank=outcomes.rank, user=outcomes.user, is_return=outcomes.is_return)


def load(path: Path) -> TargetResults:
    """Read what ``save`` wrote."""
    with np.load(path) as kept_arrays:
        return TargetResults(**kept_arrays)


def keep(row: Row, path: Path) -> None:
    """Put a row into the JSON file in place of an older one of the same part and settings."""
    same = [row[key] for key in KEYS]
    rows = [*(other for other in kept(path) if [other[key] for key in KEYS] != same), row]
    order = list(PARTS)
    rows.sort(key=lambda r: (*(r[key] for key in KEYS[2:]), r["time"], order.index(r["part"])))
    write_rows(rows, path)


def kept(path: Path) -> list[Row]:
    """Rows of earlier runs whose parts still exist."""
    return [row for row in read_rows(path) if row["part"] in PARTS]


def table(rows: Sequence[Row], settings: Settings, when: str) -> Table:
    """Table of the rows: values of the full model, and differences without a part."""
    about = settings.of_row() | {"time": when}
    shown = Table(title=f"Without a part, time {when}", box=box.SIMPLE_HEAD)
    for header in ("without", *METRICS.values()):
        shown.add_column(header, justify="left" if header == "without" else "right", no_wrap=True)
    for row in rows:
        if about.items() <= row.items():
            shown.add_row(row["part"], *(cell(row, name) for name in METRICS))
    return shown


def cell(row: Row, name: str) -> str:
    """A value, and its difference to the full model with the interval."""
    if name not in row:
        return "-"
    if row["part"] == FULL:
        return f"{row[name]:.3f}"
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return f"{row[name]:.3f} {row[f'{name}_diff']:+.4f} [{low:+.3f}, {high:+.3f}]"


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.ablation", description=__doc__)
    add = options.add_argument
    add_data_option(options)
    add("--json", type=Path, required=True, help="store the rows in this file")
    add("--parts", type=some_of(PARTS), default=list(PARTS), help=f"some of {','.join(PARTS)}")
    add("--epochs", type=at_least_one, default=3, help="maximum number of passes over the targets")
    add("--every", type=at_least_one, default=3, help="evaluate every n-th target")
    add("--seed", type=int, default=0)
    add("--work", type=Path, default=Path("data/ablation"), help="folder for ranks")
    return options


if __name__ == "__main__":
    main()
