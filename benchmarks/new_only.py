"""Discovery: the rank of a target among the items that its user never had.

    python -m benchmarks.new_only --dataset complete_journey --json new_only.json

Targets are events whose item is new to the user; candidates are all items that the user never had.
All models are measured on the same targets in one run, the whole catalogue ranked, ties in
expectation. Live popularities count the events before the target's moment; all else is fitted on
the events before the split. Chronotope's live counts are those at the first of 64 targets; where
the rules say so, its other counts follow as well, EASE excepted.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console

from benchmarks.data_sets import add_data_option, data_root
from benchmarks.peers.data import cut, read_dataset
from benchmarks.rows import Row, read_rows, rows_table, some_of, write_rows
from chronotope.contracts.event_log import Catalog, EventLog, Float32, Int64
from chronotope.contracts.queries import Queries, queries_at
from chronotope.features.snapshot import load_features
from chronotope.metrics import (
    bootstrap_interval,
    distinct_items,
    expected_rank,
    hit_rate,
    ndcg,
    new_only_rank,
    reciprocal_rank,
)
from chronotope.models.baselines import Ease, GfCf
from chronotope.models.config import ModelConfig
from chronotope.models.discovery_counts import activity_counter
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender

DAY_S: Final = 86_400
BATCH_SIZE: Final = 64
"""Targets scored together: memory is about 20 x BATCH_SIZE x n_items x 4 bytes."""


NamedScores = tuple[str, npt.NDArray[np.floating]]
"""Name of a model and its scores, shape (B, n_items)."""


class Scorer(Protocol):
    """One or more models that score the same queries."""

    def scores(self, queries: Queries) -> Iterator[NamedScores]:
        """Name and scores of each model."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Split and training of a dataset.

    Attributes:
        quantile: Quantile of time that separates training and targets; None: each user's last
            event is its target, and the baskets of the targets are left out of the training.
        max_targets: Most targets; more are sampled with the seed.
        training: Hyper-parameters of our training.
        kernel_len: Latest events that our kernels read.
        recount_days: Days after which all our counts but EASE are counted anew; None: the live
            counts alone follow the targets.
    """

    quantile: float | None
    max_targets: int
    training: TrainingConfig
    kernel_len: int = 256
    recount_days: int | None = None


RULES: Final = {
    "complete_journey": Rules(
        0.85,
        8_000,
        TrainingConfig(max_epochs=2, n_rounds=4, max_targets=10_000, discovery_targets=12_000),
        kernel_len=64,
    ),
    "foursquare_nyc": Rules(
        0.8, 8_000, TrainingConfig(max_epochs=3, max_targets=30_000), recount_days=7
    ),
    "movielens_100k": Rules(None, 8_000, TrainingConfig(max_epochs=3, max_targets=30_000)),
}

POPULARITY: Final = {
    "popularity": None,
    "popularity_7d_live": 7,
    "popularity_28d_live": 28,
}
"""Live windows in days; None counts all events before the target."""

SIMPLE: Final = (*POPULARITY, "popularity_of_place", "ease", "gfcf", "ease_x_popularity_7d")
OURS: Final = "chronotope"
WITHOUT_HEAD: Final = "chronotope_without_head"
"""The same trained network, its discovery head left out."""

MODELS: Final = (*SIMPLE, WITHOUT_HEAD, OURS)
HEADERS: Final = ("model", "n_targets", "acc_10", "low", "high", "acc_50", "ndcg_10", "mrr")


@dataclass(frozen=True, slots=True)
class NewOnlyTask:
    """Log, training part and targets of a run.

    Attributes:
        log: All events.
        catalog: Ids and attributes.
        train: Events that models are fitted on.
        targets: Positions in ``log`` by increasing time, shape (n_targets,).
        starts: Start of each event's user and basket, shape (n_events,) each.
    """

    log: EventLog
    catalog: Catalog
    train: EventLog
    targets: Int64
    starts: tuple[Int64, Int64]


class LiveCounts:
    """Events of each item up to the moments of a batch, in windows of days."""

    def __init__(self, log: EventLog, n_items: int) -> None:
        """Order the events by time."""
        order = np.argsort(log.occurred_s, kind="stable")
        self.n_items = n_items
        self._second, self._item = log.occurred_s[order], log.item_idx[order].astype(np.int64)
        self._place = log.place_idx[order]

    def counts(self, request_s: Int64, days: int | None) -> Float32:
        """Events in the window before each moment, shape (B, n_items).

        The first row is counted, each later one changes it by the events that enter and leave.

        Args:
            request_s: UTC seconds, increasing, shape (B,).
            days: Length of the window; None has no start.
        """
        last = np.searchsorted(self._second, request_s)
        first = np.zeros_like(last)
        if days is not None:
            first = np.searchsorted(self._second, request_s - days * DAY_S)
        changes = np.zeros((len(request_s), self.n_items), np.float32)
        changes[0] = np.bincount(self._item[first[0] : last[0]], minlength=self.n_items)
        for bounds, sign in ((last, 1.0), (first, -1.0)):
            event_idx = np.arange(bounds[0], bounds[-1])
            row = np.searchsorted(bounds, event_idx, side="right")
            np.add.at(changes, (row, self._item[event_idx]), np.float32(sign))
        return np.cumsum(changes, axis=0, dtype=np.float32)

    def place_counts(self, request_s: Int64, place_idx: npt.NDArray[np.integer]) -> Float32:
        """Events of each item at a place before each moment, shape (B, n_items)."""
        counts = np.zeros((len(request_s), self.n_items), np.float32)
        for row, (moment, place) in enumerate(zip(request_s, place_idx, strict=True)):
            before = np.searchsorted(self._second, moment)
            is_here = self._place[:before] == place
            counts[row] = np.bincount(self._item[:before][is_here], minlength=self.n_items)
        return counts


def read_task(name: str, data: Path, work: Path, seed: int) -> NewOnlyTask:
    """Read a dataset and choose the targets.

    Args:
        name: One of ``RULES``.
        data: Folder that holds a folder for each dataset of files.
        work: Folder of the feature snapshot.
        seed: Seed of the sample of targets.

    Raises:
        SourceError: The data are missing.
    """
    log, catalog = load_features(read_dataset(name, data, work / name, min_item_events=1))
    rules = RULES[name]
    if rules.quantile is None:
        split = cut(log, "leave_one_out")
        train, is_later = split.train, np.isin(np.arange(len(log)), split.targets)
    else:
        cut_s = int(np.quantile(log.occurred_s, rules.quantile, method="higher"))
        train, is_later = log.before(cut_s), log.occurred_s >= cut_s
    targets = np.flatnonzero(is_later & is_discovery(log, catalog.n_items))
    if len(targets) > rules.max_targets:
        targets = np.random.default_rng(seed).choice(targets, rules.max_targets, replace=False)
    targets = targets[np.argsort(log.occurred_s[targets], kind="stable")]
    starts = (log.user_start(), log.basket_start())
    return NewOnlyTask(log, catalog, train, targets, starts)


def is_discovery(log: EventLog, n_items: int) -> npt.NDArray[np.bool_]:
    """Whether each event has a history, and an item that is not in it, shape (n_events,)."""
    pair = log.user_idx.astype(np.int64) * n_items + log.item_idx
    pair_idx, first = (
        np.unique(pair, return_inverse=True)[1],
        np.unique(pair, return_index=True)[1],
    )
    basket = log.basket_start()
    return np.asarray((first[pair_idx] >= basket) & (basket > log.user_start()), np.bool_)


class SimpleModels:
    """The rivals: live popularities, EASE, GF-CF, and EASE times the popularity of a week."""

    def __init__(self, task: NewOnlyTask, names: Sequence[str]) -> None:
        """Fit those that are named on the training events."""
        self.names = names
        self.live = LiveCounts(task.log, task.catalog.n_items)
        is_named = {name: any(name in other for other in names) for name in ("ease", "gfcf")}
        self.ease = Ease().fit(task.train, task.catalog) if is_named["ease"] else None
        self.gfcf = GfCf().fit(task.train, task.catalog) if is_named["gfcf"] else None

    def scores(self, queries: Queries) -> Iterator[NamedScores]:
        """Name and scores of each model, shape (B, n_items) each."""
        week: npt.NDArray[np.floating] = np.empty(0)
        for name, days in POPULARITY.items():
            if name in self.names or days == 7:
                counts = self.live.counts(queries.request_s, days)
                week = counts if days == 7 else week
                if name in self.names:
                    yield name, counts
        if "popularity_of_place" in self.names:
            last_place = queries.place_idx[:, -1]
            yield "popularity_of_place", self.live.place_counts(queries.request_s, last_place)
        if self.ease is not None:
            ease_scores = self.ease.scores(queries)
            yield "ease", ease_scores
            yield "ease_x_popularity_7d", np.maximum(ease_scores, 0.0) * week
        if self.gfcf is not None:
            yield "gfcf", self.gfcf.scores(queries).astype(np.float32)


class OwnModel:
    """Our model with and without its discovery head."""

    def __init__(self, task: NewOnlyTask, rules: Rules, seed: int) -> None:
        """Train on the training events."""
        training = rules.training.model_copy(update={"seed": seed})
        self.model = ChronotopeRecommender(ModelConfig(kernel_len=rules.kernel_len), training)
        self.model.fit(task.train, task.catalog)
        self.log, self.recount_days = task.log, rules.recount_days
        self.counted_s = int(task.train.occurred_s.max())
        self.counter = None
        if rules.quantile is not None:  # else the log holds events after the targets
            self.counter = activity_counter(task.log, task.catalog)

    def scores(self, queries: Queries) -> Iterator[NamedScores]:
        """Name and scores of both, shape (B, n_items) each."""
        moment_s = int(queries.request_s[0])
        if self.recount_days and moment_s > self.counted_s + self.recount_days * DAY_S:
            self.model.recount(self.log.before(moment_s))
            self.counted_s = moment_s
        if self.counter is not None:
            self.model.set_activity(torch.from_numpy(self.counter.at(moment_s)))
        item_scores = self.model.scores(queries)
        yield OURS, item_scores
        head = self.model.net.discovery_head
        if head is None or not head.active:
            yield WITHOUT_HEAD, item_scores
            return
        with head.paused():
            yield WITHOUT_HEAD, self.model.scores(queries)


def batch_ranks(
    task: NewOnlyTask, positions: Int64, item_scores: npt.NDArray[np.floating]
) -> npt.NDArray[np.float64]:
    """Rank of each target among the items that its user never had, shape (B,)."""
    target_idx = task.log.item_idx[positions]
    first, end = (start[positions] for start in task.starts)
    owned = distinct_items(task.log, first, end, n_items=task.catalog.n_items)
    return new_only_rank(item_scores, target_idx, expected_rank(item_scores, target_idx), owned)


def measure(
    task: NewOnlyTask, names: Sequence[str], rules: Rules, seed: int
) -> dict[str, npt.NDArray[np.float64]]:
    """Rank of every target by model, shape (n_targets,) each."""
    scorers: list[Scorer] = [SimpleModels(task, names)]
    if OURS in names or WITHOUT_HEAD in names:
        scorers.append(OwnModel(task, rules, seed))
    ranks: dict[str, list[npt.NDArray[np.float64]]] = {name: [] for name in names}
    for positions in np.array_split(task.targets, max(1, len(task.targets) // BATCH_SIZE)):
        queries = queries_at(
            task.log, positions, history_len=None, time_given=True, start_positions=task.starts
        )
        for name, item_scores in chain.from_iterable(each.scores(queries) for each in scorers):
            if name in ranks:
                ranks[name].append(batch_ranks(task, positions, item_scores))
    return {name: np.concatenate(parts) for name, parts in ranks.items()}


def row_of(dataset: str, model: str, ranks: npt.NDArray[np.float64], users: Int64) -> Row:
    """Metrics of one model, with the interval of Acc@10 over users."""
    interval = bootstrap_interval(hit_rate(ranks, 10), users, n_resamples=500)
    return {
        "dataset": dataset,
        "model": model,
        "n_targets": len(ranks),
        "acc_10": float(hit_rate(ranks, 10).mean()),
        "acc_50": float(hit_rate(ranks, 50).mean()),
        "ndcg_10": float(ndcg(ranks, 10).mean()),
        "mrr": float(reciprocal_rank(ranks).mean()),
        "low": interval.low,
        "high": interval.high,
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the chosen models, print a table and keep the rows."""
    options = parser().parse_args(arguments)
    task = read_task(options.dataset, data_root(options.data), options.work, options.seed)
    rules = RULES[options.dataset]
    users = task.log.user_idx[task.targets].astype(np.int64)
    ranks = measure(task, options.models, rules, options.seed)
    rows = [row_of(options.dataset, name, ranks[name], users) for name in options.models]
    title = f"{options.dataset}: new items only"
    Console(width=100).print(rows_table(title, HEADERS, rows))
    if options.json:
        measured = {(row["dataset"], row["model"]) for row in rows}
        others = [
            row for row in read_rows(options.json) if (row["dataset"], row["model"]) not in measured
        ]
        write_rows([*others, *rows], options.json)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.new_only", description=__doc__)
    add = options.add_argument
    add_data_option(options)
    add("--dataset", choices=list(RULES), default="complete_journey")
    add("--seed", type=int, default=0, help="seed of the sample and of our training")
    add("--json", type=Path, help="store the rows in this file, beside those already there")
    add("--models", type=some_of(MODELS), default=list(MODELS), help=f"some of {','.join(MODELS)}")
    add("--work", type=Path, default=Path("data/new_only"), help="folder of the snapshots")
    return options


if __name__ == "__main__":
    main()
