"""Detection of card fraud: detectors of this project beside those of the field, in one run.

    python -m benchmarks.anomalies --data DIR --dataset card_payments --json anomalies.json

Protocol of the literature (Le Borgne et al., handbook on fraud detection): train a week, skip a
week for the delay of the labels, test a week; cards known as compromised are removed from the
test. The numbers are means over the tests that begin on 1, 8, 15 and 22 August 2018. Tests of
June and July (``--weeks development``) were used to choose features and settings.

``labels`` says what a detector was fitted with. ``features`` says what it reads: ``behaviour``
holds no label at all; ``delayed_risk`` adds the shares of frauds of terminal and card among labels
that are a week old, as the unsupervised results of the literature do; ``handbook`` are the features
of the handbook. A scenario's rows hold its frauds and all genuine payments: 1 amounts above 220,
2 compromised terminals (payments there do not differ in any other way), 3 stolen card numbers
(five times the amount).
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.anomalies.rivals import RIVALS, handbook_trees, is_installed
from benchmarks.data_sets import add_data_option, data_set_dir
from benchmarks.rows import Row, read_rows, some_of, write_rows
from chronotope.anomalies import (
    EnsembleDetector,
    EventLabels,
    FeatureTable,
    behaviour_features,
    risk_features,
)
from chronotope.anomalies.behaviour_log import BehaviourLog, read_behaviour_log
from chronotope.anomalies.config import DetectorConfig
from chronotope.anomalies.fit_detectors import make_detector
from chronotope.contracts.event_log import Float64, Int64
from chronotope.datasets.loading import load_spec
from chronotope.datasets.normalise import normalise
from chronotope.datasets.readers import read_events
from chronotope.metrics.anomaly_detection import (
    ScoredEvents,
    auroc,
    average_precision,
    card_precision,
)
from chronotope.splitting.label_delay import DelayedSplit

DATASETS: Final = ("card_payments",)
LABEL_COLUMN: Final = "is_fraud"
SCENARIO_COLUMN: Final = "fraud_scenario"
SCENARIOS: Final = ("all", "1", "2", "3")
CARDS_A_DAY: Final = 100
METRICS: Final = ("auroc", "average_precision", "card_precision_100")
HEADERS: Final = ("model", "labels", "features", "scenario", *METRICS)
KEYS: Final = ("dataset", "model", "labels", "features", "scenario", "weeks")

_APRIL: Final = int(np.datetime64("2018-04-01", "D").astype(np.int64))
TEST_STARTS: Final = {
    "reported": tuple(_APRIL + age for age in (122, 129, 136, 143)),
    "development": tuple(_APRIL + age for age in (59, 73, 87, 101)),
}
"""Days since 1970 on which tests begin."""

HANDBOOK: Final = (
    "amount",
    "weekend",
    "night",
    *(f"{owner}_events_{window}" for owner in ("user", "item") for window in ("1d", "7d", "30d")),
    *(f"user_spend_{window}" for window in ("1d", "7d", "30d")),
    *(f"item_risk_{window}" for window in ("1d", "7d", "30d")),
)
"""Features of the handbook."""

MODELS: Final = ("unsupervised", "supervised", *RIVALS, "handbook_trees")
"""What is measured in one go; ``unsupervised`` is autoencoder, GAN and their ensemble."""


@dataclass(frozen=True, slots=True)
class LabelledLog:
    """A log, its features, and the kind of each fraud.

    Attributes:
        behaviour: The log with outcomes.
        features: Features by the name of the set.
        scenario: Kind of each fraud, 0 for genuine payments, shape (n_events,).
    """

    behaviour: BehaviourLog
    features: dict[str, FeatureTable]
    scenario: Int64


@dataclass(frozen=True, slots=True)
class ScoredTest:
    """Scores of one test.

    Attributes:
        rows: Positions of the test events, shape (n,).
        scores: Scores by name of the detector, shape (n,) each.
    """

    rows: Int64
    scores: dict[str, Float64]


def read_log(dataset: str, data: Path | None) -> LabelledLog:
    """Read a labelled log and compute its features.

    Args:
        dataset: Name of the data set.
        data: Folder that holds a folder for each data set.
    """
    spec = load_spec(dataset, data_dir=data_set_dir(dataset, data))
    events = pa.concat_tables([normalise(spec, raw).rows for raw in read_events(spec)])
    behaviour = read_behaviour_log(events, label_column=LABEL_COLUMN)
    scenario = np.asarray(events[SCENARIO_COLUMN].cast(pa.int64()))[behaviour.row_idx]
    plain = behaviour_features(behaviour.log, behaviour.places)
    risk = risk_features(
        behaviour.log, behaviour.labels, delay_days=DetectorConfig().label_delay_days
    )
    with_risk = plain.joined(risk)
    features = {
        "behaviour": plain,
        "delayed_risk": with_risk,
        "handbook": with_risk.select(HANDBOOK),
    }
    return LabelledLog(behaviour, features, scenario)


def score_test(log: LabelledLog, model: str, feature_set: str, split: DelayedSplit) -> ScoredTest:
    """Fit on the training days and score the test days.

    Args:
        log: The log.
        model: One of ``MODELS``.
        feature_set: Name of the features.
        split: Training and test days.
    """
    events, labels = log.behaviour.log, log.behaviour.labels
    train_rows = split.train_rows(events.occurred_s)
    test_rows = split.test_rows(
        events.occurred_s, events.user_idx.astype(np.int64), labels.is_anomalous
    )
    features = log.features[feature_set]
    train, test = features.take(train_rows), features.take(test_rows)
    train_labels = EventLabels(labels.is_anomalous[train_rows], labels.is_labelled[train_rows])
    if model in RIVALS:
        scores = {model: RIVALS[model](train.values, test.values)}
    elif model == "handbook_trees":
        scores = {model: handbook_trees(train.values, train_labels.is_anomalous, test.values)}
    elif model == "supervised":
        detector = make_detector("supervised", DetectorConfig()).fit(train, train_labels)
        scores = {model: detector.surprise(test)}
    else:
        ensemble = make_detector("ensemble", DetectorConfig()).fit(train)
        members = ensemble.members if isinstance(ensemble, EnsembleDetector) else ()
        scores = {part.name: part.surprise(test) for part in (ensemble, *members)}
    return ScoredTest(test_rows, scores)


def metric_values(log: LabelledLog, rows: Int64, scores: Float64, scenario: str) -> list[float]:
    """Metrics of one test; frauds of other scenarios are left out.

    Args:
        log: The log.
        rows: Positions of the test events.
        scores: Their scores.
        scenario: One of ``SCENARIOS``.
    """
    kinds = log.scenario[rows]
    is_counted = (
        np.ones(len(rows), bool) if scenario == "all" else np.isin(kinds, (0, int(scenario)))
    )
    events = log.behaviour.log
    counted, counted_scores = rows[is_counted], scores[is_counted]
    is_fraud = log.behaviour.labels.is_anomalous[counted] > 0
    scored = ScoredEvents(
        events.user_idx[counted], events.occurred_s[counted] // 86_400, is_fraud, counted_scores
    )
    return [
        auroc(is_fraud, counted_scores),
        average_precision(is_fraud, counted_scores),
        card_precision(scored, CARDS_A_DAY),
    ]


def feature_sets(model: str) -> tuple[str, ...]:
    """Features that a model is measured with."""
    if model == "handbook_trees":
        return ("handbook",)
    if model == "half_space_trees":  # minutes for each
        return ("delayed_risk",)
    return ("behaviour", "delayed_risk", *(("handbook",) if model == "isolation_forest" else ()))


def measure(log: LabelledLog, dataset: str, model: str, weeks: str) -> list[Row]:
    """Rows of one model: each set of features, all frauds and each scenario.

    Args:
        log: The log.
        dataset: Its name.
        model: One of ``MODELS``.
        weeks: One of ``TEST_STARTS``.
    """
    rows: list[Row] = []
    for feature_set in feature_sets(model):
        start_s = time.process_time()
        tests = [
            score_test(log, model, feature_set, DelayedSplit(start_day - 14))
            for start_day in TEST_STARTS[weeks]
        ]
        run = {
            "dataset": dataset,
            "labels": "delayed" if model in ("supervised", "handbook_trees") else "none",
            "features": feature_set,
            "weeks": weeks,
            "n_tests": len(tests),
            "seed": 0,
            "processor_seconds": round(time.process_time() - start_s, 1),
        }
        for name, scenario in product(tests[0].scores, SCENARIOS):
            values = np.array(
                [metric_values(log, test.rows, test.scores[name], scenario) for test in tests]
            )
            rows.append(
                run
                | {"model": name, "scenario": scenario}
                | dict(zip(METRICS, values.mean(axis=0).round(4).tolist(), strict=True))
                | {"std": values.std(axis=0, ddof=1).round(4).tolist()}
            )
    return rows


def show(rows: Sequence[Row], console: Console) -> None:
    """Print rows as a table."""
    table = Table(*HEADERS, box=box.SIMPLE)
    for row in rows:
        cells = [row[header] for header in HEADERS]
        table.add_row(*(f"{cell:.3f}" if isinstance(cell, float) else cell for cell in cells))
    console.print(table)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write rows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    add_data_option(parser)
    parser.add_argument("--dataset", choices=DATASETS, default=DATASETS[0])
    parser.add_argument("--models", type=some_of(MODELS), default=list(MODELS))
    parser.add_argument("--weeks", choices=tuple(TEST_STARTS), default="reported")
    parser.add_argument("--json", type=Path, help="file of rows; replaced where measured again")
    options = parser.parse_args(arguments)
    console = Console()
    log = read_log(options.dataset, options.data)
    for model in options.models:
        if not is_installed(model):
            console.print(
                f"{model} is left out: benchmarks/anomalies/rivals.py says how to install"
            )
            continue
        rows = measure(log, options.dataset, model, options.weeks)
        show(rows, console)
        if options.json is not None:
            new_keys = {tuple(row[key] for key in KEYS) for row in rows}
            earlier = read_rows(options.json)
            other = [row for row in earlier if tuple(row[key] for key in KEYS) not in new_keys]
            write_rows([*other, *rows], options.json)


if __name__ == "__main__":
    main()
