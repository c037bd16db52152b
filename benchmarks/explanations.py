"""Faithfulness of explanations: what happens to a score when the named events are removed or kept.

    python -m benchmarks.explanations --data DIR --json explanations.json

The model is trained on the events before the .8 quantile of time (``--fold development``: .6) and
exported; each query is a random later event of a user (``MIN_EVENTS`` earlier ones at least, the
latest ``MAX_EVENTS`` kept), the explained item is the model's first. Explanations order the events.
With p the probability of the item,

    deletion  = mean over k = 1 .. 10 of p(history without the first k) / p(history)    low is good
    insertion = mean over k = 1 .. 10 of p(the first k alone) / p(history)              high is good

``effects`` is what the service shows. Rivals: ``random`` orders, ``recency`` (the latest first),
``own_item`` (events of the item first, then the latest), ``lime`` (weighted ridge regression on
random removals, with as many runs of the model as ``effects``), and the two halves of ``effects``:
``removal`` (leave one out) and ``alone``. Intervals are bootstraps over users.
"""

import argparse
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

import numpy as np
import numpy.typing as npt
from rich.console import Console

from benchmarks.data_sets import add_data_option, data_root
from benchmarks.peers.data import read_dataset
from benchmarks.rows import Row, at_least_one, read_rows, rows_table, some_of, write_rows
from chronotope.artifact.bundle import MODEL, write_bundle
from chronotope.artifact.onnx_recommender import OnnxRecommender
from chronotope.compression.export import export_onnx
from chronotope.contracts.event_log import Catalog, EventLog, Float32, Float64, Int64
from chronotope.contracts.queries import Queries, queries_at
from chronotope.explanations import HistoryOcclusion, event_effects
from chronotope.features.snapshot import load_features
from chronotope.models.config import ModelConfig
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender

DATASETS: Final = ("movielens_100k", "foursquare_nyc")
FOLDS: Final = {"development": (0.6, 0.8), "test": (0.8, 1.0)}
"""Quantiles of time between which the queries lie; training ends at the first."""

MIN_EVENTS: Final = 20
MAX_EVENTS: Final = 100
N_STEPS: Final = 10
N_RANDOM: Final = 5
"""Random orders, whose curves are averaged."""

LIME_WIDTH: Final = 0.25
"""Width of LIME's kernel over the cosine distance of a removal."""

OURS: Final = "effects"
METHODS: Final = (OURS, "removal", "alone", "random", "recency", "own_item", "lime")
SHIFT_S: Final = 300
"""Seconds by which the request is moved for the stability of the first five events."""

Score = Callable[[Queries], Float32]


@dataclass(frozen=True, slots=True)
class Curves:
    """Areas of one query by method, and how stable its first events are."""

    deletion: dict[str, float]
    insertion: dict[str, float]
    stability: dict[str, float]


def explained_item(score: Score, query: Queries) -> Int64:
    """The model's first item, shape (1,)."""
    logits = score(query)[0].copy()
    logits[0] = -np.inf
    return np.array([int(logits.argmax())])


def orders(occlusion: HistoryOcclusion, generator: np.random.Generator) -> dict[str, list[Int64]]:
    """Positions of the events by method, those first that explain most; random has several."""
    events = np.flatnonzero(occlusion.query.item_idx[0] > 0)
    effects = event_effects(occlusion, MAX_EVENTS)
    from_whole = effects.log_probability[0] - effects.log_probability_without[:, 0]
    from_empty = 2 * effects.effect[:, 0] - from_whole
    is_own = occlusion.query.item_idx[0, events] == occlusion.item_idx[0]
    importance: dict[str, list[npt.NDArray[np.floating]]] = {
        OURS: [effects.effect[:, 0]],
        "removal": [from_whole],
        "alone": [from_empty],
        "random": [generator.random(len(events)) for _ in range(N_RANDOM)],
        "recency": [np.arange(len(events), dtype=np.float64)],
        "own_item": [is_own * float(len(events)) + np.arange(len(events))],
        "lime": [lime_weights(occlusion, events, 2 * len(events) + 2, generator)],
    }
    return {
        method: [events[np.lexsort((-events, -values))] for values in repeats]
        for method, repeats in importance.items()
    }


def lime_weights(
    occlusion: HistoryOcclusion, events: Int64, n_runs: int, generator: np.random.Generator
) -> Float64:
    """Coefficient of each event in a ridge regression of the log-probability, shape (n,).

    Source:
        Ribeiro et al. (2016), "Why Should I Trust You?": Explaining the Predictions of Any
        Classifier.
    """
    n_removed = generator.integers(1, len(events) + 1, n_runs)
    is_kept = generator.random((n_runs, len(events))).argsort(axis=1) >= n_removed[:, None]
    removed = np.zeros((n_runs, occlusion.n_events), np.bool_)
    removed[:, events] = ~is_kept
    target = occlusion.run(removed).log_probability[:, 0]
    distance = 1.0 - np.sqrt(is_kept.mean(axis=1))
    root = np.sqrt(np.exp(-np.square(distance) / LIME_WIDTH**2))[:, None]
    design = np.concatenate([is_kept, np.ones((n_runs, 1))], axis=1) * root
    penalty = np.eye(design.shape[1])
    penalty[-1, -1] = 0.0
    weights = np.linalg.solve(design.T @ design + penalty, design.T @ (target * root[:, 0]))
    return np.asarray(weights[:-1])


def curve_areas(occlusion: HistoryOcclusion, order: Int64) -> tuple[float, float]:
    """Areas of the deletion and insertion curves of one order of the events."""
    steps = range(1, N_STEPS + 1)
    chosen = np.zeros((N_STEPS, occlusion.n_events), np.bool_)
    for row, k in enumerate(steps):
        chosen[row, order[:k]] = True
    nothing = np.zeros((1, occlusion.n_events), np.bool_)
    scores = occlusion.run(np.concatenate([nothing, chosen, ~chosen])).log_probability[:, 0]
    relative = np.exp(scores - scores[0])
    return float(relative[1 : 1 + N_STEPS].mean()), float(relative[1 + N_STEPS :].mean())


def curves_of(score: Score, query: Queries, generator: np.random.Generator) -> Curves:
    """Areas of all methods for the first item of a query."""
    item_idx = explained_item(score, query)
    occlusion = HistoryOcclusion(score, query, item_idx)
    ordered = orders(occlusion, generator)
    areas = {
        method: np.mean([curve_areas(occlusion, order) for order in repeats], axis=0)
        for method, repeats in ordered.items()
    }
    moved = query.take(slice(0, 1))
    moved.request_s[:] += SHIFT_S
    later = orders(HistoryOcclusion(score, moved, item_idx), generator)
    return Curves(
        {method: float(area[0]) for method, area in areas.items()},
        {method: float(area[1]) for method, area in areas.items()},
        {method: _overlap(ordered[method][0], later[method][0]) for method in (OURS, "lime")},
    )


def _overlap(first: Int64, second: Int64, n_first: int = 5) -> float:
    return len(set(first[:n_first].tolist()) & set(second[:n_first].tolist())) / n_first


def sample_positions(log: EventLog, bounds: tuple[float, float], n: int, seed: int) -> Int64:
    """One random event of each of n users with a history between two quantiles of time, (n,)."""
    first_s, end_s = np.quantile(log.occurred_s, bounds, method="higher")
    has_history = log.basket_start() - log.user_start() >= MIN_EVENTS
    is_chosen = has_history & (log.occurred_s >= first_s) & (log.occurred_s <= end_s)
    generator = np.random.default_rng(seed)
    positions = generator.permutation(np.flatnonzero(is_chosen))
    one_a_user = np.unique(log.user_idx[positions], return_index=True)[1]
    return np.sort(generator.permutation(positions[one_a_user])[:n])


def exported_model(log: EventLog, catalog: Catalog, seed: int, folder: Path) -> OnnxRecommender:
    """A model trained on a log, as the graph that a service would answer with."""
    training = TrainingConfig(max_epochs=3, max_targets=30_000, seed=seed)
    model = ChronotopeRecommender(ModelConfig(kernel_len=128), training).fit(log, catalog)
    export_onnx(model.net, model.priors, folder / MODEL)
    write_bundle(
        folder,
        catalog,
        name=model.name,
        dataset="benchmark",
        data_version="1",
        history_len=model.net.config.history_len,
        attributes=model.attributes,
        trained_until_s=int(log.occurred_s.max()),
    )
    return OnnxRecommender.load(folder)


def measure(name: str, options: argparse.Namespace) -> list[Row]:
    """Rows of one data set."""
    features = read_dataset(name, data_root(options.data), options.work / name, min_item_events=1)
    log, catalog = load_features(features)
    bounds = FOLDS[options.fold]
    train = log.before(int(np.quantile(log.occurred_s, bounds[0], method="higher")))
    positions = sample_positions(log, bounds, options.n_queries, options.seed)
    queries = queries_at(log, positions, history_len=MAX_EVENTS, time_given=True)
    generator = np.random.default_rng(options.seed)
    with TemporaryDirectory() as folder:
        model = exported_model(train, catalog, options.seed, Path(folder))

        def score(batch: Queries) -> Float32:
            return model.answer(batch).item_scores

        curves = [
            curves_of(score, queries.take(slice(row, row + 1)), generator)
            for row in range(len(queries))
        ]
    note = f"{len(curves)} users, {options.fold} fold, seed {options.seed}"
    return rows_of(name, curves, note)


def rows_of(name: str, curves: Sequence[Curves], note: str) -> list[Row]:
    """Areas by method, ratios of the areas, and stability, with intervals over users."""
    deletion = {m: np.array([each.deletion[m] for each in curves]) for m in METHODS}
    insertion = {m: np.array([each.insertion[m] for each in curves]) for m in METHODS}
    ones = np.ones(len(curves))
    measures = {f"deletion_{m}": (deletion[m], ones) for m in METHODS}
    measures |= {f"insertion_{m}": (insertion[m], ones) for m in METHODS}
    rivals = [m for m in METHODS if m != OURS]
    measures |= {f"deletion_ratio_{m}": (deletion[m], deletion[OURS]) for m in rivals}
    measures |= {f"insertion_ratio_{m}": (insertion[OURS], insertion[m]) for m in rivals}
    for method, label in ((OURS, "stability"), ("lime", "stability_lime")):
        measures[label] = (np.array([each.stability[method] for each in curves]), ones)
    return [
        {"dataset": name, "measure": label, **_ratio(*parts), "note": note}
        for label, parts in measures.items()
    ]


def _ratio(numerator: Float64, denominator: Float64, n_resamples: int = 1_000) -> dict[str, float]:
    """Ratio of two means over users, with a bootstrap interval of 95 %."""
    users = np.random.default_rng(0).integers(0, len(numerator), (n_resamples, len(numerator)))
    ratios = numerator[users].mean(axis=1) / denominator[users].mean(axis=1)
    low, high = np.quantile(ratios, (0.025, 0.975))
    value = float(numerator.mean() / denominator.mean())
    return {"value": value, "low": float(low), "high": float(high)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the chosen data sets, print a table and keep the rows."""
    options = parser().parse_args(arguments)
    for name in options.datasets:
        rows = measure(name, options)
        headers = ("measure", "value", "low", "high")
        Console(width=100).print(rows_table(f"{name}: {rows[0]['note']}", headers, rows))
        if options.json:
            others = [row for row in read_rows(options.json) if row["dataset"] != name]
            write_rows([*others, *rows], options.json)


def parser() -> argparse.ArgumentParser:
    """Options of the command line."""
    described = argparse.ArgumentParser(prog="python -m benchmarks.explanations")
    add_data_option(described)
    described.add_argument("--datasets", type=some_of(DATASETS), default=list(DATASETS))
    described.add_argument("--fold", choices=list(FOLDS), default="test")
    described.add_argument("--n-queries", type=at_least_one, default=200)
    described.add_argument("--work", type=Path, default=Path("data/benchmarks/explanations"))
    described.add_argument("--seed", type=int, default=0)
    described.add_argument("--json", type=Path, help="file of rows")
    return described


if __name__ == "__main__":
    main()
