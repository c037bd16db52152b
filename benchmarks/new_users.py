"""New users: NDCG@10 of the next items by the number of events that are known, 0 to 10.

    python -m benchmarks.new_users --dataset movielens_100k --json new_users.json

The users are divided into five folds; those of a test fold have no event in the training. The
history is a test user's first n events, the targets are the next ten events after them, each ranked
among the whole catalogue, ties in expectation. Nothing of a test user is known but the attributes,
the time and place of the request, and these n events. Live counts are those of the training users
at the start of the day of the request; all else is fitted on the training users' events of all
time, for every model alike. Fold 1 is for development: the numbers are of folds 0, 2, 3 and 4.
"""

import argparse
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import torch
from rich.console import Console

from benchmarks.data_sets import add_data_option, data_root, load_data_set
from benchmarks.peers.data import read_dataset
from benchmarks.rows import Row, read_rows, rows_table, some_of, write_rows
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.queries import Queries
from chronotope.contracts.user_attributes import UserAttributes
from chronotope.datasets.readers import read_users
from chronotope.features.snapshot import load_features
from chronotope.metrics import bootstrap_interval, expected_rank, ndcg
from chronotope.models.config import ModelConfig
from chronotope.models.discovery_counts import activity_counter
from chronotope.splitting.new_users import NewUserQueries, new_user_queries
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender

DAY_S: Final = 86_400
N_FOLDS: Final = 5
DEVELOPMENT_FOLD: Final = 1
N_EVENTS: Final = (0, 1, 2, 5, 10)
BATCH_SIZE: Final = 64

POPULARITY: Final = "popularity"
OF_GROUP: Final = "popularity_of_group"
OF_PLACE: Final = "popularity_of_place"
WITHOUT_HEAD: Final = "chronotope_without_user_head"
WITHOUT_ATTRIBUTES: Final = "chronotope_without_attributes"
WITHOUT_PLACE: Final = "chronotope_without_place"
OURS: Final = "chronotope"
OWN: Final = (WITHOUT_HEAD, WITHOUT_ATTRIBUTES, WITHOUT_PLACE, OURS)
MODELS: Final = (POPULARITY, OF_GROUP, OF_PLACE, *OWN)

GROUP_WEIGHT: Final = 2_000.0
PLACE_WEIGHT: Final = 10_000.0
"""Events of all users that those of a group or a place are mixed with; from fold 1."""

HEADERS: Final = ("n_events", "model", "n_targets", "ndcg_10", "low", "high", "x_popularity")


@dataclass(frozen=True, slots=True)
class Rules:
    """Training of a dataset, and whether items of the history are excluded for all models."""

    training: TrainingConfig
    kernel_len: int = 256
    drops_seen: bool = False


RULES: Final = {
    "complete_journey": Rules(
        TrainingConfig(max_epochs=2, n_rounds=4, max_targets=10_000, discovery_targets=4_000),
        kernel_len=64,
    ),
    "movielens_100k": Rules(TrainingConfig(max_epochs=3, max_targets=30_000), drops_seen=True),
}

NamedScores = tuple[str, npt.NDArray[np.floating]]
"""Name of a model and its scores, shape (B, n_items)."""


@dataclass(frozen=True, slots=True)
class FoldTask:
    """One fold.

    Attributes:
        catalog: Ids, and attributes of the users.
        train: Events of the training users.
        queries: Queries of the test users, by number of events.
    """

    catalog: Catalog
    train: EventLog
    queries: dict[int, NewUserQueries]


def read_log(name: str, data: Path, work: Path) -> tuple[EventLog, Catalog]:
    """Log and catalogue of a dataset, with the attributes of its users.

    Args:
        name: One of ``RULES``.
        data: Folder that holds a folder for each dataset of files.
        work: Folder of the feature snapshot.

    Raises:
        SourceError: The data are missing.
    """
    log, catalog = load_features(read_dataset(name, data, work / name, min_item_events=1))
    attributes = UserAttributes.from_table(read_users(load_data_set(name, data)), catalog.users)
    return log, replace(catalog, user_attributes=attributes)


def fold_of_users(n_users: int) -> npt.NDArray[np.int64]:
    """Fold of each user, shape (n_users,); that of the unknown user is -1."""
    folds = np.full(n_users, -1)
    folds[1:] = np.random.default_rng(0).permutation(n_users - 1) % N_FOLDS
    return folds


def make_fold(log: EventLog, catalog: Catalog, fold: int, n_events: Sequence[int]) -> FoldTask:
    """Training events and queries of a fold.

    Args:
        log: All events.
        catalog: Ids, and attributes of the users.
        fold: Number of the fold.
        n_events: Lengths of the histories.
    """
    is_tested = fold_of_users(catalog.users.size) == fold
    queries = {
        n: new_user_queries(log, is_tested, n, place_given=not catalog.items_are_places)
        for n in n_events
    }
    return FoldTask(catalog, log.take(~is_tested[log.user_idx]), queries)


class SimpleModels:
    """Popularity of all time, of the groups of a user's attributes, and of the request's place."""

    def __init__(self, task: FoldTask) -> None:
        """Count the training events."""
        log, catalog = task.train, task.catalog
        self.n_items = catalog.n_items
        self.popularity = np.bincount(log.item_idx, minlength=self.n_items).astype(np.float64)
        self.share = self.popularity / self.popularity.sum()
        self.log, self.attributes = log, catalog.user_attributes
        self._cached: dict[tuple[str, int], npt.NDArray[np.float64]] = {}

    def scores(self, queries: Queries) -> Iterator[NamedScores]:
        """Name and scores of each model."""
        yield POPULARITY, np.tile(self.popularity, (len(queries), 1))
        yield OF_GROUP, np.stack([self._group_scores(user) for user in queries.user_idx.tolist()])
        places = queries.request_place_idx.tolist()
        yield OF_PLACE, np.stack([self._share("place", place) for place in places])

    def _group_scores(self, user_idx: int) -> npt.NDArray[np.float64]:
        """Mean of the log shares in the user's groups, shape (n_items,)."""
        levels = [] if self.attributes is None else self.attributes.codes[user_idx].tolist()
        shares = [self._share(f"{column}", level) for column, level in enumerate(levels) if level]
        mean: npt.NDArray[np.float64] = np.log(np.array(shares or [self.share]) + 1e-12).mean(0)
        return mean

    def _share(self, column: str, level: int) -> npt.NDArray[np.float64]:
        """Smoothed share of each item among the events of a group, shape (n_items,)."""
        if (column, level) not in self._cached:
            if column == "place":
                is_inside, weight = (self.log.place_idx == level) & (level > 0), PLACE_WEIGHT
            else:
                codes = np.empty(0) if self.attributes is None else self.attributes.codes
                is_inside = codes[self.log.user_idx, int(column)] == level
                weight = GROUP_WEIGHT
            counts = np.bincount(self.log.item_idx[is_inside], minlength=self.n_items)
            share: npt.NDArray[np.float64] = (counts + weight * self.share) / (
                counts.sum() + weight
            )
            self._cached[column, level] = share
        return self._cached[column, level]


class OwnModel:
    """Our model with and without its user head, and what the head reads."""

    def __init__(self, task: FoldTask, rules: Rules, seed: int) -> None:
        """Train on the training users."""
        training = rules.training.model_copy(update={"seed": seed})
        self.model = ChronotopeRecommender(ModelConfig(kernel_len=rules.kernel_len), training)
        self.model.fit(task.train, task.catalog)
        self.attributes = task.catalog.user_attributes
        counter = activity_counter(task.train, task.catalog)
        self.activity = lru_cache(lambda day: torch.from_numpy(counter.at(day * DAY_S)))

    def scores(self, queries: Queries) -> Iterator[NamedScores]:
        """Name and scores of each variant."""
        self.model.set_activity(self.activity(int(queries.request_s.min()) // DAY_S))
        head = self.model.net.user_head
        paused: AbstractContextManager[None] = nullcontext() if head is None else head.paused()
        with paused:
            yield WITHOUT_HEAD, self.model.scores(queries)
        yield WITHOUT_ATTRIBUTES, self.model.scores(queries)
        levels = {} if self.attributes is None else self.attributes.of_users(queries.user_idx)
        no_place = np.zeros_like(queries.request_place_idx)
        known = replace(queries, context=queries.context | levels)
        yield WITHOUT_PLACE, self.model.scores(replace(known, request_place_idx=no_place))
        yield OURS, self.model.scores(known)


def day_batches(queries: Queries) -> Iterator[npt.NDArray[np.int64]]:
    """Rows of queries in batches of one day, shape (B,) each."""
    order = np.argsort(queries.request_s, kind="stable")
    is_new_day = np.diff(queries.request_s[order] // DAY_S) > 0
    for rows in np.split(order, np.flatnonzero(is_new_day) + 1):
        yield from np.array_split(rows, -(-len(rows) // BATCH_SIZE))


Gains = dict[tuple[int, str], tuple[list[float], list[int]]]
"""NDCG@10 and user of every target, by number of events and model."""


def measure_fold(task: FoldTask, names: Sequence[str], rules: Rules, seed: int) -> Gains:
    """Gains of all models on one fold."""
    scorers: list[SimpleModels | OwnModel] = [SimpleModels(task)]
    if set(names) & set(OWN):
        scorers.append(OwnModel(task, rules, seed))
    gains: Gains = defaultdict(lambda: ([], []))
    for n_events, new_users in task.queries.items():
        for rows in day_batches(new_users.queries):
            queries = new_users.queries.take(rows)
            target_rows, targets = _targets_of(new_users, rows)
            for scorer in scorers:
                for name, item_scores in scorer.scores(queries):
                    if name in names:
                        if rules.drops_seen:
                            item_scores = _without_history(item_scores, queries)
                        ranks = expected_rank(item_scores[target_rows], targets)
                        values, users = gains[n_events, name]
                        values += ndcg(ranks, 10).tolist()
                        users += queries.user_idx[target_rows].tolist()
    return gains


def _targets_of(
    new_users: NewUserQueries, rows: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Row within a batch and item of each target of the batch."""
    row_of = np.full(len(new_users.queries), -1)
    row_of[rows] = np.arange(len(rows))
    is_here = row_of[new_users.row] >= 0
    return row_of[new_users.row[is_here]], new_users.item_idx[is_here].astype(np.int64)


def _without_history(
    item_scores: npt.NDArray[np.floating], queries: Queries
) -> npt.NDArray[np.floating]:
    """Scores in which the items of the history come last."""
    item_scores = item_scores.copy()
    np.put_along_axis(item_scores, queries.item_idx.astype(np.int64), -np.inf, axis=1)
    return item_scores


def rows_of(dataset: str, gains: Gains) -> list[Row]:
    """One row a number of events and model, the interval over users."""
    rows: list[Row] = []
    for (n_events, model), (values, users) in gains.items():
        interval = bootstrap_interval(np.array(values), np.array(users), n_resamples=500)
        reference = gains[n_events, POPULARITY][0] if (n_events, POPULARITY) in gains else []
        rows.append(
            {
                "dataset": dataset,
                "model": model,
                "n_events": n_events,
                "n_targets": len(values),
                "ndcg_10": float(np.mean(values)),
                "low": interval.low,
                "high": interval.high,
                "x_popularity": float(np.mean(values) / np.mean(reference)) if reference else None,
            }
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the chosen models on the chosen folds, print a table and keep the rows."""
    options = parser().parse_args(arguments)
    log, catalog = read_log(options.dataset, data_root(options.data), options.work)
    rules = RULES[options.dataset]
    gains: Gains = defaultdict(lambda: ([], []))
    for fold in options.folds:
        task = make_fold(log, catalog, fold, N_EVENTS)
        for key, (values, users) in measure_fold(task, options.models, rules, options.seed).items():
            gains[key][0].extend(values)
            gains[key][1].extend(users)
    rows = rows_of(options.dataset, gains)
    title = f"{options.dataset}: users without events in the training"
    Console(width=100).print(rows_table(title, HEADERS, rows))
    if options.json:
        others = [row for row in read_rows(options.json) if row["dataset"] != options.dataset]
        write_rows([*others, *rows], options.json)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.new_users", description=__doc__)
    add = options.add_argument
    add_data_option(options)
    add("--dataset", choices=list(RULES), default="movielens_100k")
    add("--seed", type=int, default=0, help="seed of our training")
    add("--json", type=Path, help="store the rows in this file, beside those of other datasets")
    add("--models", type=some_of(MODELS), default=list(MODELS), help=f"some of {','.join(MODELS)}")
    final_folds = [fold for fold in range(N_FOLDS) if fold != DEVELOPMENT_FOLD]
    add("--folds", type=int, nargs="+", choices=range(N_FOLDS), default=final_folds)
    add("--work", type=Path, default=Path("data/new_users"), help="folder of the snapshots")
    return options


if __name__ == "__main__":
    main()
