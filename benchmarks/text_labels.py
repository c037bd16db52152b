"""Missing labels of items from their texts, against TF-IDF and logistic regression.

    python -m benchmarks.text_labels --data DIR --dataset complete_journey --json text_labels.json

Items are split once, 60/20/20: 60 % to learn, 20 % to choose penalties and the epoch, 20 % for the
test. Every model sees the same texts of the same items. Tasks of a dataset:

- complete_journey, ``items``: the category (``product_category``) of products, from their type,
  brand and package size; the test is of other products, mostly of known types. ``new types``: the
  same with whole types held back. The columns of the category and the department are left out.
- foursquare_nyc, ``names``: the category of 2012 of named venues from name and address;
  ``descriptions``: from the description, which spells out a category of another, later taxonomy.
- movielens_100k, ``plots``: the combination of genres from title and plot.

Macro-F1 is over the labels of the test; its interval resamples items. ``gain`` is the difference
from TF-IDF and logistic regression, resampled with it. ``--development`` tests on a fourth of the
validation and training items instead; hyper-parameters were chosen with it.
"""

import argparse
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.data_sets import add_data_option, data_set_dir, load_data_set
from benchmarks.rows import Row, some_of, write_rows
from chronotope.content.encoders.packaged_weights import MissingWeights
from chronotope.content.encoders.pretrained_text import open_minilm
from chronotope.content.inputs.text_cleaning import clean_text
from chronotope.datasets.locations import local_path
from chronotope.metrics.classification import macro_f1
from chronotope.training.text.config import TextClassifierConfig
from chronotope.training.text.fit_classifier import fit_text_classifier
from chronotope.training.text.labelled_texts import LabelledTexts
from chronotope.training.text.tfidf_baseline import TfidfBaseline, best_logistic_regression

CLEAN_CHARS: Final = 2_000
SAMPLE_ITEMS: Final = 12_000
"""Products of Complete Journey that are drawn of 92,331: a training takes minutes."""
N_RESAMPLES: Final = 1_000
TEST_FROM: Final = 0.8
BASELINE: Final = "TF-IDF words + logistic regression"
HEADERS: Final = ("task", "model", "macro-F1", "95 % interval", "accuracy", "gain")

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class LabelTask:
    """Texts and labels of the items of one task.

    Attributes:
        name: Name of the task.
        texts: Cleaned texts, n of them.
        labels: Label of each.
        groups: Items of one group are in the same part, shape (n,).
    """

    name: str
    texts: Sequence[str]
    labels: Sequence[str]
    groups: npt.NDArray[np.object_]


@dataclass(frozen=True, slots=True)
class LabelSplit:
    """Texts and label indices of the three parts; the test holds labels of the training only."""

    names: tuple[str, ...]
    train: tuple[list[str], Integers]
    validation: tuple[list[str], Integers]
    test: tuple[list[str], Integers]


Predictor = Callable[[LabelSplit], Integers]
"""Labels of the test items, shape (n_test,)."""


def split_task(task: LabelTask, *, development: bool, seed: int = 0) -> LabelSplit:
    """Split of the items by a number that each group draws.

    Args:
        task: Texts and labels.
        development: Whether to test on items that are not of the final test.
        seed: Seed of the numbers.
    """
    group_names, group_idx = np.unique(task.groups, return_inverse=True)
    drawn = np.random.default_rng(seed).random(len(group_names))[group_idx]
    scale = TEST_FROM if development else 1.0
    is_train, is_test = drawn < 0.6 * scale, (drawn >= 0.8 * scale) & (drawn < scale)
    is_validation = (drawn >= 0.6 * scale) & (drawn < 0.8 * scale)
    labels = np.asarray(task.labels, dtype=object)
    names = np.unique(labels[is_train].astype(str))
    is_learnt = np.isin(labels.astype(str), names)

    def part(mask: npt.NDArray[np.bool_]) -> tuple[list[str], Integers]:
        rows = np.flatnonzero(mask & is_learnt)
        texts = [task.texts[row] for row in rows.tolist()]
        label_idx = np.searchsorted(names, labels[rows].astype(str)).astype(np.int64)
        return texts, label_idx

    return LabelSplit(tuple(names.tolist()), part(is_train), part(is_validation), part(is_test))


def tfidf_regression(analyzer: str) -> Predictor:
    """TF-IDF and logistic regression; its penalty has the best macro-F1 of the validation."""

    def predict(split: LabelSplit) -> Integers:
        train, validation = (_unique_rows(part) for part in (split.train, split.validation))
        baseline = TfidfBaseline.fit(
            train, validation, analyzer="word" if analyzer == "word" else "char_wb"
        )
        return baseline.predict(split.test[0])

    return predict


def minilm_regression(split: LabelSplit) -> Integers:
    """Frozen MiniLM and logistic regression; the penalty as above."""
    encoder = open_minilm()
    train, validation = (_unique_rows(part) for part in (split.train, split.validation))
    # Unit vectors of 384 numbers vary little: their logistic regression needs larger steps.
    model, _ = best_logistic_regression(
        (encoder.encode(train[0]), *train[1:]),
        (encoder.encode(validation[0]), *validation[1:]),
        penalties=(3.0, 10.0, 30.0, 100.0, 300.0),
    )
    test_texts, positions = np.unique(split.test[0], return_inverse=True)
    predicted = np.asarray(model.predict(encoder.encode(test_texts.tolist())), dtype=np.int64)
    return np.asarray(predicted[positions], dtype=np.int64)


def classifier(config: TextClassifierConfig) -> Predictor:
    """The classifier of missing labels."""

    def predict(split: LabelSplit) -> Integers:
        fitted = fit_text_classifier(
            LabelledTexts.of(*split.train),
            LabelledTexts.of(*split.validation),
            split.names,
            config,
        )
        return fitted.predict(split.test[0]).label_idx

    return predict


MODELS: Final[Mapping[str, tuple[str, Predictor]]] = {
    "words": (BASELINE, tfidf_regression("word")),
    "characters": ("TF-IDF characters + logistic regression", tfidf_regression("char")),
    "minilm": ("frozen MiniLM + logistic regression", minilm_regression),
    "own": (
        "this classifier, own Transformer",
        classifier(TextClassifierConfig(backbone="own")),
    ),
    "deep": (
        "this classifier, MiniLM, without terms",
        classifier(TextClassifierConfig(backbone="minilm", max_terms=0)),
    ),
    "full": (
        "this classifier, MiniLM",
        classifier(TextClassifierConfig(backbone="minilm")),
    ),
}
"""Label and function of each model by its name on the command line."""

DEFAULT_MODELS: Final = ("words", "characters", "minilm", "own", "full")


def run(
    task: LabelTask, dataset: str, model_names: Sequence[str], *, development: bool
) -> list[Row]:
    """Rows of the models; the baseline is always among them.

    Args:
        task: Texts and labels.
        dataset: Name of the data set.
        model_names: Names of the models.
        development: Whether to test on items that are not of the final test.
    """
    split = split_task(task, development=development)
    true_idx = split.test[1]
    weights = _resampling_weights(len(true_idx))
    baseline_scores: Floats | None = None
    rows: list[Row] = []
    for name in dict.fromkeys(["words", *model_names]):
        label, predictor = MODELS[name]
        started_s = time.process_time()
        try:
            predicted_idx = predictor(split)
        except MissingWeights as error:
            Console(stderr=True).print(f"{label} is left out: {error}")
            continue
        scores = np.array([macro_f1(true_idx, predicted_idx, weights=row) for row in weights])
        baseline_scores = scores if baseline_scores is None else baseline_scores
        row: Row = {"dataset": dataset, "task": task.name, "model": label}
        row |= {"n_train": len(split.train[0]), "n_test": len(true_idx)}
        row |= {"n_classes": len(split.names), "macro_f1": macro_f1(true_idx, predicted_idx)}
        row |= dict(zip(("low", "high"), np.quantile(scores, [0.025, 0.975]).tolist(), strict=True))
        row |= {"accuracy": float(np.mean(true_idx == predicted_idx))}
        if name != "words":
            gains = scores - baseline_scores
            low, high = np.quantile(gains, [0.025, 0.975]).tolist()
            row |= {"gain": row["macro_f1"] - rows[0]["macro_f1"], "gain_low": low}
            row |= {"gain_high": high}
        row |= {"processor_s": round(time.process_time() - started_s, 1)}
        if development:
            row |= {"development": True}
        rows.append(row)
        Console().print(f"{task.name}: {label}: {row['macro_f1']:.3f}")
    return rows


def complete_journey_tasks(data: Path | None) -> list[LabelTask]:
    """Categories of products, from columns that do not hold them."""
    spec = load_data_set("complete_journey", data)
    if spec.items is None:
        return []
    products = pd.read_parquet(local_path(spec.items, spec.data_dir))
    products = products[products.product_category.notna() & products.product_type.notna()]
    products = _frequent(products.sample(SAMPLE_ITEMS, random_state=0), "product_category", 10)
    texts = _joined(products, ["product_type", "brand", "package_size"])
    labels, types = products.product_category.tolist(), products.product_type.to_numpy(object)
    positions = np.arange(len(labels)).astype(object)
    return [
        LabelTask("items", texts, labels, positions),
        LabelTask("new types", texts, labels, types),
    ]


def foursquare_tasks(data: Path | None) -> list[LabelTask]:
    """Categories of named venues."""
    venues = pd.read_parquet(data_set_dir("foursquare_nyc", data) / "pois.parquet")
    venues = _frequent(venues[venues.name.notna()], "category", 10)
    address = venues.description.str.extract(r" located at (.*)\.$")[0]
    names = _joined(venues.assign(address=address), ["name", "address"])
    labels, positions = venues.category.tolist(), np.arange(len(venues)).astype(object)
    return [
        LabelTask("names", names, labels, positions),
        LabelTask("descriptions", _joined(venues, ["description"]), labels, positions),
    ]


def movielens_tasks(data: Path | None) -> list[LabelTask]:
    """Combinations of genres."""
    films = pd.read_parquet(data_set_dir("movielens_100k", data) / "items.parquet")
    films = _frequent(films, "genres", 20)
    positions = np.arange(len(films)).astype(object)
    texts = _joined(films, ["title", "overview"])
    return [LabelTask("plots", texts, films.genres.tolist(), positions)]


TASKS: Final[Mapping[str, Callable[[Path | None], list[LabelTask]]]] = {
    "complete_journey": complete_journey_tasks,
    "foursquare_nyc": foursquare_tasks,
    "movielens_100k": movielens_tasks,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every model on every task of a data set, print a table, write the rows."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.text_labels", description="Missing labels from texts."
    )
    add_data_option(parser)
    parser.add_argument("--dataset", choices=list(TASKS), default="complete_journey")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument(
        "--models",
        type=some_of(MODELS),
        default=list(DEFAULT_MODELS),
        help=f"comma-separated, of {', '.join(MODELS)}; {', '.join(DEFAULT_MODELS)} by default",
    )
    parser.add_argument("--task", help="only this task of the data set; all by default")
    parser.add_argument(
        "--development", action="store_true", help="test on other items than the final test"
    )
    options = parser.parse_args(arguments)
    tasks = {task.name: task for task in TASKS[options.dataset](options.data)}
    if options.task is not None and options.task not in tasks:
        parser.error(f"--task: unknown {options.task!r}; choose from {list(tasks)}")
    rows = [
        row
        for task in ([tasks[options.task]] if options.task else tasks.values())
        for row in run(task, options.dataset, options.models, development=options.development)
    ]
    Console().print(_table(rows))
    if options.json:
        write_rows(rows, options.json)


def _frequent(frame: pd.DataFrame, column: str, min_items: int) -> pd.DataFrame:
    """Rows whose label occurs often enough."""
    counts = frame[column].value_counts()
    return frame[frame[column].isin(counts[counts >= min_items].index)]


def _joined(frame: pd.DataFrame, columns: Sequence[str]) -> list[str]:
    """Cleaned texts, a line for each column."""
    values = frame[list(columns)].astype(object).where(frame[list(columns)].notna(), "")
    return [
        "\n".join(part for part in (clean_text(str(cell), CLEAN_CHARS) for cell in row) if part)
        for row in values.itertuples(index=False)
    ]


def _unique_rows(part: tuple[list[str], Integers]) -> tuple[Sequence[str], Integers, Floats]:
    """Different texts, their labels, and the number of items of each as weights."""
    unique = LabelledTexts.of(*part)
    return unique.texts, unique.label_idx, unique.n_items.astype(np.float64)


def _resampling_weights(n_items: int) -> Floats:
    """How often each item is drawn, shape (n_resamples, n_items)."""
    generator = np.random.default_rng(0)
    shares = np.full(n_items, 1 / n_items)
    return generator.multinomial(n_items, shares, size=N_RESAMPLES).astype(np.float64)


def _table(rows: Sequence[Row]) -> Table:
    first_row = rows[0]
    table = Table(title=f"{first_row['dataset']}: labels from texts", box=box.SIMPLE_HEAD)
    for header in HEADERS:
        is_name = header in ("task", "model")
        table.add_column(header, justify="left" if is_name else "right", no_wrap=not is_name)
    for row in rows:
        gain = (
            f"{row['gain']:+.3f} ({row['gain_low']:+.3f}, {row['gain_high']:+.3f})"
            if "gain" in row
            else ""
        )
        table.add_row(
            row["task"],
            row["model"],
            f"{row['macro_f1']:.3f}",
            f"{row['low']:.3f} to {row['high']:.3f}",
            f"{row['accuracy']:.3f}",
            gain,
        )
    return table


if __name__ == "__main__":
    main()
