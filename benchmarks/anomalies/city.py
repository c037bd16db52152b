"""Detection of labelled anomalies in a simulated city, beside the best reachable recall.

    python -m benchmarks.anomalies.city --json city_anomalies.json

The city of docs/synthetic-logs.md: 100,000 regular events of 1,000 users; takeovers, bots, floods
and teleports, half a percent each. A recommender counts the first quarter of the time, detectors
are fitted on the second, with its labels where they are read, and tested on the second half. Recall
is measured at the score beyond which 1 % of the regular test events lie. Seed 7 is reported;
features, and what is summed up, were chosen on seed 8.
"""

import argparse
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.rows import Row, write_rows
from chronotope.anomalies import EventLabels, FeatureTable, ItemPlaces, behaviour_features
from chronotope.anomalies.behaviour_log import BehaviourLog, read_behaviour_log
from chronotope.anomalies.config import DetectorConfig, DetectorName
from chronotope.anomalies.count_recommender import count_recommender
from chronotope.anomalies.fit_detectors import make_detector
from chronotope.anomalies.recommender_surprise import (
    behaviour_catalog,
    open_recommender,
    recommender_features,
    with_places,
)
from chronotope.contracts.event_log import Float64, Int64
from chronotope.datasets.city import ANOMALY_KIND, CityConfig
from chronotope.datasets.city_anomalies.best_detection import best_detection
from chronotope.datasets.city_anomalies.rates import AnomalyKind
from chronotope.datasets.simulation import simulate_events

KINDS: Final = (AnomalyKind.TAKEOVER, AnomalyKind.BOT, AnomalyKind.FLOOD, AnomalyKind.TELEPORT)
DETECTORS: Final[tuple[DetectorName, ...]] = (
    "autoencoder",
    "gan",
    "surprise",
    "ensemble",
    "supervised",
)
FALSE_ALARMS: Final = 0.01
RATE: Final = 0.005


def city(seed: int, n_events: int, n_users: int) -> CityConfig:
    """A city with anomalies of all kinds."""
    planted = {kind.label: RATE for kind in KINDS}
    return CityConfig.model_validate(
        {"seed": seed, "n_events": n_events, "n_users": n_users, "planted": planted}
    )


def recall(scores: Float64, kinds: Int64, kind: AnomalyKind) -> float | None:
    """Share of a kind beyond the score that leaves 1 % false alarms; None without such events."""
    if not (kinds == kind).any():
        return None
    threshold = np.quantile(scores[kinds == AnomalyKind.REGULAR], 1 - FALSE_ALARMS)
    return round(float((scores[kinds == kind] > threshold).mean()), 3)


def recommender_columns(behaviour: BehaviourLog, until_s: int) -> FeatureTable:
    """How unlikely each event is to a recommender of the events before a moment; 0 for these."""
    with tempfile.TemporaryDirectory() as folder:
        bundle_dir = count_recommender(
            behaviour, until_s, Path(folder), dataset="simulated_city", data_version="0"
        )
        recommender = open_recommender(bundle_dir, behaviour_catalog(behaviour))
        rows = np.flatnonzero(behaviour.log.occurred_s >= until_s)
        surprise = recommender_features(recommender, with_places(behaviour), rows)
    values = np.zeros((len(behaviour.log), len(surprise.names)), dtype=np.float32)
    values[rows] = surprise.values
    return FeatureTable(surprise.names, values)


def measure(config: CityConfig) -> list[Row]:
    """Rows of all detectors, and of the best detection.

    Args:
        config: The city.
    """
    events = pa.concat_tables(list(simulate_events(config)))
    events = events.append_column("event_id", pa.array(map(str, range(len(events)))))
    behaviour = read_behaviour_log(events)
    kind_of_label = {kind.label: int(kind) for kind in AnomalyKind}
    kinds = np.array([kind_of_label[label] for label in events[ANOMALY_KIND].to_pylist()])
    kinds = kinds[behaviour.row_idx]
    times_s = behaviour.log.occurred_s
    quarter_s, half_s = np.quantile(times_s, (0.25, 0.5)).astype(int).tolist()
    is_fit, is_test = (times_s >= quarter_s) & (times_s < half_s), times_s >= half_s
    labels = EventLabels((kinds[is_fit] > 0).astype(float), np.ones(is_fit.sum(), bool))
    features = behaviour_features(behaviour.log, behaviour.places or ItemPlaces(*np.zeros((2, 0))))
    with_recommender = features.joined(recommender_columns(behaviour, quarter_s))
    rows: list[Row] = []
    for read, columns in (("behaviour", features), ("behaviour, recommender", with_recommender)):
        for name in DETECTORS:
            if name == "surprise" and read == "behaviour":
                continue  # it reads the recommender alone
            fitted = make_detector(name, DetectorConfig()).fit(columns.take(is_fit), labels)
            scores = fitted.surprise(columns.take(is_test))
            found = {kind.label: recall(scores, kinds[is_test], kind) for kind in KINDS}
            about = {"dataset": "simulated_city", "model": name, "features": read}
            rows.append({**about, "seed": config.seed, **found})
    best = {one.kind.label: one for one in best_detection(config)}
    for bound in ("recall", "recall_without_tables"):
        values = {
            kind.label: round(float(getattr(best[kind.label], bound)), 3)
            for kind in KINDS
            if kind.label in best and hasattr(best[kind.label], bound)
        }
        rows.append(
            {"dataset": "simulated_city", "model": f"best: {bound}", "seed": config.seed, **values}
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write rows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--users", type=int, default=1_000)
    parser.add_argument("--json", type=Path, help="file of rows")
    options = parser.parse_args(arguments)
    rows = measure(city(options.seed, options.events, options.users))
    labels = [kind.label for kind in KINDS]
    table = Table("model", "features", *labels, box=box.SIMPLE)
    for row in rows:
        table.add_row(
            row["model"], row.get("features", ""), *(str(row.get(label, "")) for label in labels)
        )
    Console().print(table)
    if options.json is not None:
        write_rows(rows, options.json)


if __name__ == "__main__":
    main()
