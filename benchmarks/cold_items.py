"""Items without events: ranked by their content alone, on MovieLens-100K.

    python -m benchmarks.cold_items --data DIR --dataset movielens_100k --json cold_items.json

Protocol ``items_60_20_20``: the items are split at random, 60 % for training, 20 % to choose
penalties, 20 % for the test; events of held-back items are not in training, and every rating
counts as 1. For each user with an event on a test item, all test items are ranked. NDCG@10 and
HR@10 are means over users and ten splits; the interval resamples users with all their splits.
``by_time`` is explained in ``benchmarks.cold_by_time``, ``posted`` in ``benchmarks.cold_posted``.
``gain`` is the paired difference from the model that the row names, with its interval.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq
from rich import box
from rich.console import Console
from rich.table import Table
from scipy.sparse import csr_array

from benchmarks import cold_by_time, cold_posted
from benchmarks.cold_item_model.kernels import ContentView, FittedKernel, Matrix, weighted_sum
from benchmarks.cold_item_model.model import ColdItemConfig, ColdItemModel
from benchmarks.cold_item_model.tuning import tune_cold_items
from benchmarks.cold_item_views import item_views
from benchmarks.data_sets import add_data_option, data_set_dir
from benchmarks.rows import Row, at_least_one, write_rows
from chronotope.metrics import bootstrap_interval, paired_difference

PROTOCOL: Final = "items_60_20_20"
CUTOFF: Final = 10
OTHERS: Final = {
    cold_by_time.PROTOCOL: cold_by_time.run,
    cold_posted.PROTOCOL: cold_posted.run,
}
"""Protocols of other modules."""
N_NEIGHBOURS: Final = 50
LINEAR_RIDGES: Final = (1.0, 10.0, 30.0, 100.0)
HEADERS: Final = ("model", "NDCG@10", "95 % interval", "HR@10", "gain")

Integers = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ColdItemData:
    """Interactions and content of all items.

    Attributes:
        interactions: 1 where a user rated an item, shape (n_items, n_users).
        views: Content of the items, by name.
    """

    interactions: csr_array
    views: dict[str, ContentView]


@dataclass(frozen=True, slots=True)
class ItemSplit:
    """Positions of the items of one split, and its number."""

    train: Integers
    validation: Integers
    test: Integers
    seed: int


Scorer = Callable[[ColdItemData, ItemSplit], Matrix]
"""Scores of the test items, shape (n_users, n_test)."""


def split_items(n_items: int, seed: int) -> ItemSplit:
    """Random split of the items, 60/20/20.

    Args:
        n_items: Number of items.
        seed: Seed of the split.
    """
    order = np.random.default_rng(seed).permutation(n_items)
    first_cut, second_cut = int(0.6 * n_items), int(0.8 * n_items)
    return ItemSplit(order[:first_cut], order[first_cut:second_cut], order[second_cut:], seed)


def list_metrics(scores: Matrix, is_relevant: Matrix) -> tuple[Matrix, Matrix, Integers]:
    """NDCG@10 and HR@10 of each user with a relevant item, and these users.

    Args:
        scores: Shape (n_users, n_items), more than ten items; without ties.
        is_relevant: 1 for relevant items, the same shape.
    """
    users = np.flatnonzero(is_relevant.sum(1))
    user_scores = scores[users]
    best_items = np.argpartition(-user_scores, CUTOFF, axis=1)[:, :CUTOFF]
    order = np.argsort(-np.take_along_axis(user_scores, best_items, axis=1), axis=1)
    top_items = np.take_along_axis(best_items, order, axis=1)
    gains = np.take_along_axis(is_relevant[users], top_items, axis=1)
    discounts = 1 / np.log2(np.arange(2, 2 + gains.shape[1]))
    ideal_gains = np.concatenate([[0.0], np.cumsum(discounts)])
    n_relevant = np.minimum(is_relevant[users].sum(1), gains.shape[1]).astype(np.int64)
    ndcg = gains @ discounts / ideal_gains[n_relevant]
    return ndcg, (gains.sum(1) > 0).astype(np.float64), users


def mean_ndcg(scores: Matrix, is_relevant: Matrix) -> float:
    """Mean NDCG@10 over users.

    Args:
        scores: Shape (n_users, n_items).
        is_relevant: 1 for relevant items, the same shape.
    """
    return float(list_metrics(scores, is_relevant)[0].mean())


def relevance(data: ColdItemData, item_idx: Integers) -> Matrix:
    """1 where a user rated an item, shape (n_users, n).

    Args:
        data: Interactions.
        item_idx: Positions of the items.
    """
    return np.asarray(data.interactions[item_idx].toarray().T, dtype=np.float64)


def random_scores(data: ColdItemData, split: ItemSplit) -> Matrix:
    """Scores drawn at random."""
    shape = (data.interactions.shape[1], len(split.test))
    return np.random.default_rng(1_000 + split.seed).random(shape)


def category_popularity(data: ColdItemData, split: ItemSplit) -> Matrix:
    """Mean popularity of the training items of a film's genres."""
    genres = data.views["genres"].features
    counts = data.interactions[split.train].sum(axis=1)
    n_items = genres[split.train].sum(0)
    popularity = genres[split.train].T @ counts / np.maximum(n_items, 1)
    of_item = genres[split.test] @ popularity / np.maximum(genres[split.test].sum(1), 1)
    return _same_for_all(of_item, data, split)


def item_knn(data: ColdItemData, split: ItemSplit) -> Matrix:
    """Training items most alike in all views, of those that the user had."""
    views = list(data.views.values())
    similarity = weighted_sum(
        [
            FittedKernel.fit(view.rows(split.train)).similarity(view.features[split.test])
            for view in views
        ],
        [1.0] * len(views),
    )  # (n_test, n_train)
    weakest = -np.sort(-similarity, axis=1)[:, N_NEIGHBOURS - 1 : N_NEIGHBOURS]
    neighbours = np.where(similarity >= weakest, np.maximum(similarity, 0), 0)
    return np.asarray((neighbours @ data.interactions[split.train]).T)


def linear_ridge(*names: str) -> Scorer:
    """Ridge regression from features to users, the penalty chosen on validation items."""

    def score(data: ColdItemData, split: ItemSplit) -> Matrix:
        features = np.hstack([_linear_features(data.views[name]) for name in names])

        def predict(ridge: float, item_idx: Integers) -> Matrix:
            centred = features[split.train] - features[split.train].mean(0)
            targets = data.interactions[split.train].toarray()
            gram = centred.T @ centred + ridge * np.eye(features.shape[1])
            slopes = np.linalg.solve(gram, centred.T @ (targets - targets.mean(0)))
            shift = features[item_idx] - features[split.train].mean(0)
            return np.asarray((shift @ slopes + targets.mean(0)).T)

        is_relevant = relevance(data, split.validation)
        best = max(
            LINEAR_RIDGES,
            key=lambda ridge: mean_ndcg(predict(ridge, split.validation), is_relevant),
        )
        return predict(best, split.test)

    return score


def content_model(*names: str) -> Scorer:
    """``ColdItemModel`` over some views, its penalties chosen on validation items."""

    def score(data: ColdItemData, split: ItemSplit) -> Matrix:
        model, test_views = _fit_content_model(data, split, names)
        return model.scores(test_views)

    return score


def predicted_popularity(*names: str) -> Scorer:
    """The same model's mean over all users: popularity predicted from content."""

    def score(data: ColdItemData, split: ItemSplit) -> Matrix:
        model, test_views = _fit_content_model(data, split, names)
        return _same_for_all(model.scores(test_views).mean(axis=0), data, split)

    return score


def models(view_names: Sequence[str]) -> dict[str, tuple[Scorer, str]]:
    """Models by name, and the model that each is compared with.

    Every text encoder is tried on its own; ``all`` has both, and runtime and language.

    Args:
        view_names: Names of the views at hand; pretrained ones may be missing.
    """
    chosen: dict[str, tuple[Scorer, str]] = {
        "random": (random_scores, ""),
        "category popularity": (category_popularity, "random"),
        "ItemKNN over content": (item_knn, "category popularity"),
        "linear ridge: genres": (linear_ridge("genres"), ""),
        "linear ridge: genres, year": (linear_ridge("genres", "year"), "linear ridge: genres"),
    }
    names: list[str] = []
    previous = ""
    for name in [
        name for name in ("genres", "year", "tfidf", "minilm", "posters") if name in view_names
    ]:
        names = [*(other for other in names if other != "tfidf"), name]
        label = f"content: {', '.join(names)}"
        chosen[label] = (content_model(*names), previous)
        previous = label
    everything = "content: all"
    chosen[everything] = (content_model(*view_names), previous)
    chosen["popularity from content: all"] = (predicted_popularity(*view_names), everything)
    for name in view_names:
        others = [other for other in view_names if other != name]
        chosen[f"content: all but {name}"] = (content_model(*others), everything)
    return chosen


def run(data: ColdItemData, dataset: str, n_splits: int) -> list[Row]:
    """Rows of all models.

    Args:
        data: Interactions and content.
        dataset: Name of the data set.
        n_splits: Number of random splits.
    """
    splits = [split_items(data.interactions.shape[0], seed) for seed in range(n_splits)]
    ndcg_by_model: dict[str, Matrix] = {}
    rows: list[Row] = []
    for name, (scorer, compared_with) in models(list(data.views)).items():
        started_s = time.process_time()
        results = [
            list_metrics(scorer(data, split), relevance(data, split.test)) for split in splits
        ]
        ndcg, hits, users = (np.concatenate(column) for column in zip(*results, strict=True))
        ndcg_by_model[name] = ndcg
        interval = bootstrap_interval(ndcg, users)
        row: Row = {"dataset": dataset, "protocol": PROTOCOL, "model": name}
        row |= {"ndcg_10": interval.estimate, "low": interval.low, "high": interval.high}
        row |= {"hr_10": float(hits.mean()), "n_splits": n_splits}
        row |= {"sd_of_splits": float(np.std([result[0].mean() for result in results]))}
        if compared_with:
            gain = paired_difference(ndcg, ndcg_by_model[compared_with], users)
            row |= {"compared_with": compared_with, "gain": gain.estimate}
            row |= {"gain_low": gain.low, "gain_high": gain.high}
        rows.append(row | {"seconds": round(time.process_time() - started_s, 1)})
    return rows


def read_data(data_dir: Path) -> ColdItemData:
    """MovieLens-100K with every view whose encoder is installed.

    Args:
        data_dir: Folder with ``items.parquet``, ``ratings.parquet`` and ``posters``.
    """
    items = pq.read_table(data_dir / "items.parquet").sort_by("movie_id")
    ratings = pq.read_table(data_dir / "ratings.parquet", columns=["user_id", "item_id"])
    return ColdItemData(_interactions(items, ratings), item_views(items, data_dir))


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every model, print a table, write the rows."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.cold_items", description="Items without events."
    )
    add_data_option(parser)
    parser.add_argument("--dataset", choices=["movielens_100k"], default="movielens_100k")
    parser.add_argument("--protocol", choices=[PROTOCOL, *OTHERS], default=PROTOCOL)
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--splits", type=at_least_one, default=10, help="random splits")
    options = parser.parse_args(arguments)
    data_dir = data_set_dir(options.dataset, options.data)
    rows = (
        run(read_data(data_dir), options.dataset, options.splits)
        if options.protocol == PROTOCOL
        else OTHERS[options.protocol](data_dir, options.dataset)
    )
    Console().print(_table(rows))
    if options.json:
        write_rows(rows, options.json)


def _fit_content_model(
    data: ColdItemData, split: ItemSplit, names: Sequence[str]
) -> tuple[ColdItemModel, list[ContentView]]:
    views = [data.views[name] for name in names]
    is_relevant = relevance(data, split.validation)
    config: ColdItemConfig = tune_cold_items(
        views,
        data.interactions,
        split.train,
        split.validation,
        lambda scores: mean_ndcg(scores, is_relevant),
    )
    model = ColdItemModel.fit(
        [view.rows(split.train) for view in views], data.interactions[split.train], config
    )
    return model, [view.rows(split.test) for view in views]


def _same_for_all(of_item: Matrix, data: ColdItemData, split: ItemSplit) -> Matrix:
    """The same scores for every user; ties are broken at random."""
    noise = np.random.default_rng(split.seed).random(len(of_item)) * 1e-9
    return np.tile(of_item + noise, (data.interactions.shape[1], 1))


def _linear_features(view: ContentView) -> Matrix:
    """Features as they are; a number as its distance from the mean."""
    features = view.features
    if features.shape[1] > 1:
        return np.nan_to_num(features)
    return np.asarray(np.nan_to_num((features - np.nanmean(features)) / np.nanstd(features)))


def _interactions(items: pa.Table, ratings: pa.Table) -> csr_array:
    item_ids, user_ids = (
        items.column("movie_id").to_numpy(),
        np.unique(ratings.column("user_id").to_numpy()),
    )
    item_idx = np.searchsorted(item_ids, ratings.column("item_id").to_numpy())
    user_idx = np.searchsorted(user_ids, ratings.column("user_id").to_numpy())
    ones = np.ones(len(ratings))
    counts = csr_array((ones, (item_idx, user_idx)), shape=(len(item_ids), len(user_ids)))
    counts.data[:] = 1.0
    return counts


def _table(rows: Sequence[Row]) -> Table:
    title = f"{rows[0]['dataset']}, {rows[0]['protocol']}"
    table = Table(title=title, box=box.SIMPLE_HEAD)
    for header in HEADERS:
        is_name = header == "model"
        table.add_column(header, justify="left" if is_name else "right", no_wrap=not is_name)
    for row in rows:
        gain = f"{row['gain']:+.3f}" if "gain" in row else ""
        table.add_row(
            row["model"],
            f"{row['ndcg_10']:.3f}",
            f"{row['low']:.3f} to {row['high']:.3f}",
            f"{row['hr_10']:.3f}",
            gain,
        )
    return table


if __name__ == "__main__":
    main()
