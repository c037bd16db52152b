"""Transfer to a log that the pretraining did not see: one data set is left out at a time.

    python -m benchmarks.transfer --data DIR --json transfer.json

The network is pretrained on all other logs (samples of users), and starts on the log that was left
out: without training (``zero_shot``), after one pass (``one_pass``), and beside a full
training (``scratch``) and the user's own counts (``counter``), popularity and the Markov chain.
The first 80 % of the log's events are the past, ``share`` is the part of its users that counts and
training see; later events with a history are the targets, full catalogue, request time given.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.data_sets import add_data_option
from benchmarks.rows import Row, at_least_one, read_rows, some_of, write_rows
from benchmarks.transfer.logs import CITIES, READERS, read_log
from chronotope.contracts.errors import NotEnoughData
from chronotope.contracts.event_log import EventLog
from chronotope.contracts.protocols import Recommender
from chronotope.metrics import evaluate, summarise_metrics
from chronotope.models.baselines import FirstOrderMarkov, Popularity, UserCounts
from chronotope.models.config import ModelConfig
from chronotope.models.transfer.checkpoint import shipped_path, write_checkpoint
from chronotope.splitting.targets import targets_between
from chronotope.training.config import TrainingConfig
from chronotope.training.pretraining import PretrainingLog, pretrain
from chronotope.training.recommender import ChronotopeRecommender

PAST_SHARE: Final = 0.8
SHARES: Final = (0.01, 0.1, 1.0)
MAX_TARGETS: Final = 2_000
METRICS: Final = ("acc_1", "acc_10", "ndcg_10", "mrr")
KEYS: Final = ("dataset", "start", "share", "seed", "max_events", "pretraining")
CITY_NAMES: Final = tuple(f"city_{number}" for number in range(len(CITIES)))

STARTS: Final[dict[str, Callable[[Path, TrainingConfig], Recommender]]] = {
    "counter": lambda _path, _config: UserCounts(),
    "popularity": lambda _path, _config: Popularity(),
    "markov": lambda _path, _config: FirstOrderMarkov(),
    "zero_shot": lambda path, config: _transferred(path, config, n_passes=0),
    "one_pass": lambda path, config: _transferred(path, config, n_passes=1),
    "two_passes": lambda path, config: _transferred(path, config, n_passes=2),
    "scratch": lambda _path, config: ChronotopeRecommender(ModelConfig(), config),
}
"""Makes the model of each start from the checkpoint of the pretraining and a configuration."""


@dataclass(frozen=True, slots=True)
class TransferTask:
    """A log that was left out of the pretraining, cut in time.

    Attributes:
        name: Name of the data set.
        target_log: Events and catalogue.
        cut_s: End of the past, UTC seconds.
        checkpoint: File of the parameters that were pretrained on the other logs.
    """

    name: str
    target_log: PretrainingLog
    cut_s: int
    checkpoint: Path

    def visible(self, share: float, seed: int) -> EventLog:
        """Past of a share of the users, drawn by a seed."""
        past = self.target_log.log.before(self.cut_s)
        users = np.unique(past.user_idx)
        n_drawn = max(2, round(share * len(users)))
        drawn = np.random.default_rng(seed).permutation(users)[:n_drawn]
        return past.take(np.isin(past.user_idx, drawn))


def measure(task: TransferTask, start: str, share: float, config: TrainingConfig) -> Row:
    """Fit one start on a share of the past and evaluate it on the later events.

    ``train_s`` of the row is processor time, so that other processes do not change it.

    Args:
        task: The log that was left out.
        start: A key of ``STARTS``.
        share: Share of the users whose past is seen.
        config: Training from scratch; seed included.
    """
    log, catalog = task.target_log
    model = STARTS[start](task.checkpoint, config)
    visible = task.visible(share, config.seed)
    started = time.process_time()
    model.fit(visible, catalog)
    train_s = time.process_time() - started
    end_s = int(log.occurred_s.max()) + 1
    targets = targets_between(log, task.cut_s, end_s, max_targets=MAX_TARGETS)
    summary = summarise_metrics(
        evaluate(model, log, targets, n_items=catalog.n_items, time_given=True)
    )
    row: Row = {"dataset": task.name, "start": start, "share": share}
    row |= {name: round(summary[name], 4) for name in METRICS}
    return row | {
        "train_s": round(train_s, 2),
        "n_events": len(visible),
        "n_targets": len(targets),
        "seed": config.seed,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Pretrain without each chosen data set, measure the starts on it, and write the rows."""
    chosen = _parser().parse_args(arguments)
    config = TrainingConfig(seed=chosen.seed, discovery_targets=0, max_epochs=chosen.epochs)
    console, rows = Console(), read_rows(chosen.json) if chosen.json else []
    names = chosen.datasets if chosen.shipped else [*READERS, *CITY_NAMES]
    logs = {name: read_log(name, chosen.data, chosen.max_events, chosen.seed) for name in names}
    common = {
        "max_events": chosen.max_events,
        "pretraining": "shipped" if chosen.shipped else "other logs",
    }
    for name in chosen.datasets:
        task = _transfer_task(name, logs, chosen, config)
        for share, start in product(chosen.shares, chosen.starts):
            try:
                row = measure(task, start, share, config) | common
            except NotEnoughData as error:
                console.print(f"{name}, {start}, {share:.0%} of the users: {error}")
                continue
            rows = [old for old in rows if any(old.get(key) != row[key] for key in KEYS)] + [row]
            if chosen.json:
                write_rows(rows, chosen.json)
    console.print(_table([row for row in rows if row["dataset"] in chosen.datasets]))


def _transfer_task(
    name: str, logs: dict[str, PretrainingLog], chosen: argparse.Namespace, config: TrainingConfig
) -> TransferTask:
    """A log that is left out, and the checkpoint of the others; an earlier one is read again."""
    checkpoint = chosen.work / f"without_{name}_{chosen.max_events}_{chosen.seed}.safetensors"
    if chosen.shipped:
        checkpoint = shipped_path()
    elif not checkpoint.is_file():
        others = {other: log for other, log in logs.items() if other != name}
        pretraining = config.model_copy(update={"max_epochs": chosen.pretraining_epochs})
        write_checkpoint(checkpoint, pretrain(others, ModelConfig(), pretraining))
    cut_s = int(np.quantile(logs[name].log.occurred_s, PAST_SHARE, method="higher"))
    return TransferTask(name, logs[name], cut_s, checkpoint)


def _transferred(path: Path, config: TrainingConfig, *, n_passes: int) -> ChronotopeRecommender:
    """Model that starts from a checkpoint."""
    start = {"init": str(path), "transfer_epochs": n_passes}
    return ChronotopeRecommender(ModelConfig(content=False), config.model_copy(update=start))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.transfer", description="Transfer to a log that was left out."
    )
    add_data_option(parser)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument(
        "--work", type=Path, default=Path("data/transfer"), help="folder of the checkpoints"
    )
    parser.add_argument("--max-events", type=at_least_one, default=8_000, help="of each log")
    parser.add_argument("--epochs", type=at_least_one, default=5, help="passes of full trainings")
    parser.add_argument(
        "--pretraining-epochs", type=at_least_one, default=3, help="passes over the other logs"
    )
    parser.add_argument(
        "--shipped", action="store_true", help="start from the checkpoint of the package instead"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of users and trainings")
    parser.add_argument("--shares", type=_shares, default=list(SHARES), help="comma-separated")
    parser.add_argument(
        "--datasets", type=some_of(READERS), default=list(READERS), help=",".join(READERS)
    )
    parser.add_argument(
        "--starts", type=some_of(STARTS), default=list(STARTS), help=",".join(STARTS)
    )
    return parser


def _shares(text: str) -> list[float]:
    return [float(share) for share in text.split(",")]


def _table(rows: Sequence[Row]) -> Table:
    """Table of the rows."""
    table = Table(title="Transfer to a log that was left out", box=box.SIMPLE_HEAD)
    names = ("dataset", "start", "share", *METRICS, "train_s")
    for name in names:
        table.add_column(name, no_wrap=True)
    for row in rows:
        table.add_row(*(str(row[name]) for name in names))
    return table


if __name__ == "__main__":
    main()
