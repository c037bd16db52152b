"""Ceiling on purchases: boosted trees over candidates, beside TIFU-KNN and our network.

    python -m benchmarks.ceiling --json ceiling.json
    python -m benchmarks.ceiling --window holdout --json ceiling.json

Complete Journey, with the settings of ``conf/training/demo.yaml``. Candidates are the first items
of our network and of TIFU-KNN (300 neighbours). The trees (scikit-learn's, binary: is the item
in the basket) are trained on baskets of an earlier window than that of the targets, with the
scores of models that were fitted before that window. Histories are live; so are the counts of
the group ``live``, which neither the network nor TIFU-KNN has. ``--without`` leaves groups of
features out, each in turn. Columns: NDCG@10, its ratio to TIFU-KNN's, and the paired difference
to the network with its 95 % interval over users.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from sklearn.ensemble import HistGradientBoostingClassifier

from benchmarks.ceiling.candidates import GROUPS, CandidateTable, candidate_table
from benchmarks.ceiling.windows import BasketTargets, window_targets
from benchmarks.data_sets import add_data_option, data_root
from benchmarks.peers.data import read_dataset
from benchmarks.rows import Row, at_least_one, read_rows, rows_table, some_of, write_rows
from chronotope.contracts.event_log import Catalog, EventLog, Float64
from chronotope.features.snapshot import load_features
from chronotope.metrics import ndcg, paired_difference
from chronotope.models.baselines.tifu_knn import TifuKnn, TifuKnnConfig
from chronotope.pipelines.settings import TrainSettings, read_train_settings
from chronotope.training.recommender import ChronotopeRecommender

CONFIG: Final = Path("conf/training/demo.yaml")
EARLIER: Final = {"development": "earlier", "holdout": "development"}
"""Window whose baskets train the trees that rank those of another."""

N_TREES: Final = 130
"""Chosen by early stopping on a fifth of the users of the window ``earlier``."""

N_NEIGHBOURS: Final = 300
SCORES: Final = ("tifu_knn", "chronotope")
HEADERS: Final = ("model", "ndcg_10", "tifu_ratio", "difference")


def main(arguments: Sequence[str] | None = None) -> None:
    """Train the models and the trees, print a table and store the rows."""
    options = parser().parse_args(arguments)
    features = read_dataset(
        "complete_journey", data_root(options.data), options.work, min_item_events=1
    )
    log, catalog = load_features(features)
    settings = read_train_settings(CONFIG, Path.cwd())
    tables = {
        window: window_table(log, catalog, settings, window, options.baskets, options.seed)
        for window in (EARLIER[options.window], options.window)
    }
    (_, training_table), (targets, table) = tables.values()
    rows = measure(training_table, table, targets, options.without, options.seed)
    about = {"window": options.window, "seed": options.seed, "baskets": options.baskets}
    rows = [about | row for row in rows]
    Console(width=100).print(rows_table(f"{options.window} targets", HEADERS, rows))
    if options.json:
        write_rows([*read_rows(options.json), *rows], options.json)


def window_table(
    log: EventLog,
    catalog: Catalog,
    settings: TrainSettings,
    window: str,
    max_baskets: int,
    seed: int,
) -> tuple[BasketTargets, CandidateTable]:
    """Targets of a window, and their candidates by models fitted on the events before it."""
    targets = window_targets(log, window, max_baskets, seed)
    past = log.before(targets.train_end_s)
    training = settings.training.model_copy(update={"seed": seed})
    network = ChronotopeRecommender(settings.model, training).fit(past, catalog)
    tifu_knn = TifuKnn(TifuKnnConfig(n_neighbours=N_NEIGHBOURS)).fit(past, catalog)
    return targets, candidate_table(log, catalog, targets, [tifu_knn, network])


def measure(
    training_table: CandidateTable,
    table: CandidateTable,
    targets: BasketTargets,
    without: Sequence[str],
    seed: int,
) -> list[Row]:
    """Rows of both models, of the trees, and of the trees without each group.

    Args:
        training_table: Candidates that train the trees.
        table: Candidates of the targets.
        targets: The targets.
        without: Groups of features that are left out, each in turn.
        seed: Seed of the trees.
    """
    variants: dict[str, tuple[str, ...]] = {"trees": (), "trees without scores": SCORES}
    variants |= {f"trees without {group}": (group,) for group in without}
    scores = {name: table.column(f"{name}.score").astype(np.float64) for name in SCORES}
    for name, groups in variants.items():
        trees = fit_trees(training_table, groups, seed)
        scores[name] = trees.predict_proba(table.without(groups))[:, 1]
    values = {name: ndcg(target_ranks(table, each, targets), 10) for name, each in scores.items()}
    return [_row(name, values, targets) for name in scores]


def _row(name: str, values: dict[str, Float64], targets: BasketTargets) -> Row:
    gain = paired_difference(values[name], values["chronotope"], targets.target_user_idx)
    return {
        "model": name,
        "n_targets": len(values[name]),
        "ndcg_10": float(values[name].mean()),
        "tifu_ratio": float(values[name].mean() / values["tifu_knn"].mean()),
        "difference": f"{gain.estimate:+.4f} [{gain.low:+.4f}, {gain.high:+.4f}]",
    }


def fit_trees(
    table: CandidateTable, without: Sequence[str], seed: int
) -> HistGradientBoostingClassifier:
    """Boosted trees for the probability that a candidate is in the basket.

    Args:
        table: Candidates that train them.
        without: Groups of features that are left out.
        seed: Seed of the features that each split chooses from.
    """
    trees = HistGradientBoostingClassifier(
        max_iter=N_TREES,
        learning_rate=0.1,
        min_samples_leaf=200,
        l2_regularization=20.0,
        max_features=0.4,
        max_bins=63,
        early_stopping=False,
        random_state=seed,
    )
    return trees.fit(table.without(without), table.is_bought)


def target_ranks(table: CandidateTable, scores: Float64, targets: BasketTargets) -> Float64:
    """Rank of each target among the candidates of its basket; infinite if it is none of them.

    Ties are broken by the order of the items, which no score depends on.

    Args:
        table: Candidates of the targets' baskets.
        scores: Score of each candidate, shape (n_rows,).
        targets: The targets.
    """
    order = np.lexsort((-scores, table.basket))
    basket_start = np.searchsorted(table.basket, table.basket)
    rank = np.empty(len(order))
    rank[order] = np.arange(len(order)) - basket_start[order] + 1.0
    n_items = int(max(table.item_idx.max(), targets.target_item_idx.max())) + 1
    row_keys = table.basket * n_items + table.item_idx  # increasing: items are, in a basket
    target_keys = targets.target_basket * n_items + targets.target_item_idx
    row = np.minimum(np.searchsorted(row_keys, target_keys), len(row_keys) - 1)
    return np.where(row_keys[row] == target_keys, rank[row], np.inf)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.ceiling", description=__doc__)
    add = options.add_argument
    add_data_option(options)
    add("--window", choices=list(EARLIER), default="development", help="where the targets lie")
    add("--baskets", type=at_least_one, default=6_000, help="most baskets of a window")
    add("--without", type=some_of(GROUPS), default=[], help=f"some of {','.join(GROUPS)}")
    add("--seed", type=int, default=0, help="seed of the sample, our training and the trees")
    add("--json", type=Path, help="add the rows to this file")
    add("--work", type=Path, default=Path("data/ceiling"), help="folder of the snapshot")
    return options


if __name__ == "__main__":
    main()
