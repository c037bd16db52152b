"""Augmentation for sparse users: none, simple, Markov-renewal generator and GAN, on several logs.

Run ``python -m benchmarks.augmentation [--data DIR] [--datasets foursquare_nyc,...] [--seed 0]
[--json FILE]``.

Users are thinned to at most 15 events, drawn at random and kept in order. Models are trained on
the events before a cut; targets are later events of users with 1 to 10 earlier ones (full
catalogue, request time given). Which simple augmentation is used is decided on an earlier fold:
trained on the first 65 % of the events, tested on the next 15 %. The table is of the last 20 %,
trained on the first 80 %. Each row has the paired difference to no augmentation, with an interval
over users.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.data_sets import add_data_option, data_root
from benchmarks.rows import Row, read_rows, some_of, write_rows
from benchmarks.synthesis import DATASETS, read_plain_log
from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int64
from chronotope.metrics import evaluate, ndcg
from chronotope.metrics.significance import paired_difference
from chronotope.models.config import ModelConfig
from chronotope.training.augmentation.config import (
    SPARSE_EVENTS,
    AugmentationConfig,
    AugmentationKind,
)
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender

MOST_EVENTS: Final = 15
SIMPLE: Final[tuple[AugmentationKind, ...]] = ("crop", "window", "mask", "reorder", "substitute")
DEVELOPMENT: Final = (0.65, 0.8)
FINAL: Final = (0.8, 1.0)
MAX_TARGETS: Final = 2_000
TRAINING: Final = TrainingConfig(
    max_epochs=2, max_targets=5_000, discovery_targets=0, new_user_queries=0
)
DEFAULT_DATASETS: Final = ("foursquare_nyc", "movielens_100k", "oulad_slice")
HEADERS: Final = (
    "dataset",
    "augmentation",
    "kind",
    "n_targets",
    "ndcg_10",
    "difference",
    "low",
    "high",
    "p",
)


@dataclass(frozen=True, slots=True)
class Fold:
    """Training events, targets among later ones, and the whole log."""

    train: EventLog
    targets: Int64
    log: EventLog
    catalog: Catalog


def thin(log: EventLog, seed: int) -> EventLog:
    """At most ``MOST_EVENTS`` events of each user, drawn at random, in order of time."""
    order = np.random.default_rng(seed).random(len(log))
    by_user = np.lexsort((order, log.user_idx))
    rank = np.empty(len(log), np.int64)
    rank[by_user] = np.arange(len(log)) - log.user_start()
    return log.take(rank < MOST_EVENTS)


def make_fold(log: EventLog, catalog: Catalog, shares: tuple[float, float]) -> Fold:
    """Events before the first share of time, and sparse users' targets up to the second."""
    start_s, end_s = (int(np.quantile(log.occurred_s, share)) for share in shares)
    n_past = log.basket_start() - log.user_start()
    is_target = (log.occurred_s >= start_s) & (n_past >= 1) & (n_past <= SPARSE_EVENTS)
    is_target &= (log.occurred_s < end_s) | (shares[1] == 1.0)
    targets = np.flatnonzero(is_target)
    if len(targets) > MAX_TARGETS:
        targets = np.sort(np.random.default_rng(0).choice(targets, MAX_TARGETS, replace=False))
    return Fold(log.before(start_s), targets, log, catalog)


def gains(fold: Fold, kind: AugmentationKind, seed: int) -> Float64:
    """NDCG@10 of each target with an augmentation at its default amount, shape (n_targets,)."""
    augmentation = AugmentationConfig(kind=kind)
    training = TRAINING.model_copy(update={"augmentation": augmentation, "seed": seed})
    model = ChronotopeRecommender(ModelConfig(), training).fit(fold.train, fold.catalog)
    result = evaluate(model, fold.log, fold.targets, n_items=fold.catalog.n_items, time_given=True)
    return np.asarray(ndcg(result.rank, 10), dtype=np.float64)


def measure(name: str, log: EventLog, catalog: Catalog, seed: int) -> list[Row]:
    """Rows of a log: no augmentation, the best simple one on the earlier fold, both generators."""
    sparse_log = thin(log, seed=0)
    development = make_fold(sparse_log, catalog, DEVELOPMENT)
    means = {kind: float(gains(development, kind, seed).mean()) for kind in ("none", *SIMPLE)}
    simple = max(SIMPLE, key=lambda kind: means[kind])
    fold = make_fold(sparse_log, catalog, FINAL)
    users = fold.log.user_idx[fold.targets]
    base = gains(fold, "none", seed)
    rows: list[Row] = [_row(name, "none", "none", base, base, users)]
    variants: dict[str, AugmentationKind] = {
        "simple": simple,
        "generator": "generator",
        "gan": "gan",
    }
    for label, kind in variants.items():
        rows.append(_row(name, label, kind, gains(fold, kind, seed), base, users))
    development_means = {kind: round(mean, 4) for kind, mean in means.items()}
    return [row | {"seed": seed, "development": development_means} for row in rows]


def _row(
    name: str,
    label: str,
    kind: AugmentationKind,
    values: Float64,
    base: Float64,
    users: np.ndarray[tuple[int], np.dtype[np.int32]],
) -> Row:
    """Mean of an augmentation and its paired difference to none."""
    difference = paired_difference(values, base, users)
    return {
        "dataset": name,
        "augmentation": label,
        "kind": kind,
        "n_targets": len(values),
        "ndcg_10": float(values.mean()),
        "difference": difference.estimate,
        "low": difference.low,
        "high": difference.high,
        "p": difference.p_value,
    }


def table(rows: Sequence[Row]) -> Table:
    """Table of the rows."""
    shown = Table(*HEADERS, title="Sparse users: at most 10 earlier events, NDCG@10")
    for row in rows:
        cells = (row[name] for name in HEADERS)
        shown.add_row(*(f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in cells))
    return shown


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table and keep the rows."""
    options = parser().parse_args(arguments)
    all_rows: list[Row] = []
    for name in options.datasets:
        log, catalog = read_plain_log(name, data_root(options.data), options.work)
        rows = measure(name, log, catalog, options.seed)
        all_rows += rows
        Console(width=140).print(table(rows), rows[0]["development"])
        if options.json:
            others = [row for row in read_rows(options.json) if row["dataset"] != name]
            write_rows([*others, *rows], options.json)
    Console(width=140).print(table(all_rows))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.augmentation", description=__doc__)
    add_data_option(options)
    options.add_argument("--datasets", type=some_of(DATASETS), default=list(DEFAULT_DATASETS))
    options.add_argument("--seed", type=int, default=0, help="seed of the trainings")
    options.add_argument("--json", type=Path, help="keep the rows in this file")
    options.add_argument("--work", type=Path, default=Path("data/synthesis"))
    return options


if __name__ == "__main__":
    main()
