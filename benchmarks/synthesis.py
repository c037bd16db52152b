"""Fidelity and privacy of synthetic logs of both generators, on several real logs.

Run ``python -m benchmarks.synthesis [--data DIR] [--datasets foursquare_nyc,...]
[--generators markov_renewal,gan] [--seed 0] [--json FILE]``.

A fifth of the users and the latest tenth of the events are hidden from the generator. It
generates as many users as it was fitted on. The model is trained once on what the generator saw
and once on what it generated, and is tested on the hidden latest events, with the histories of
their users; the membership attack compares the users of the fit with the hidden ones
(``chronotope.synthesis``). In a log of patients or students all events of a day are one basket,
so there are fewer targets.
"""

import argparse
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.data_sets import add_data_option, data_root
from benchmarks.peers.data import read_dataset
from benchmarks.rows import Row, read_rows, some_of, write_rows
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.features.snapshot import load_features
from chronotope.synthesis import SynthesisFigures, SynthesisSettings, synthesise
from chronotope.training.generators import GENERATORS, GeneratorKind

DATASETS: Final = ("foursquare_nyc", "movielens_100k", "oulad_slice", "hospital", "simulated_city")

MIN_ITEM_EVENTS: Final = 1

HEADERS: Final = (
    "dataset",
    "generator",
    "real",
    "synthetic",
    "ratio",
    "popularity",
    "attack_auc",
    "attack_low",
    "attack_high",
    "nearer",
)


def read_plain_log(name: str, data: Path, work: Path) -> tuple[EventLog, Catalog]:
    """Log and catalogue of a data set, without content and attributes.

    Args:
        name: Name of the data set.
        data: Folder that holds a folder for each.
        work: Folder of the feature snapshots.
    """
    path = read_dataset(name, data, work / name, min_item_events=MIN_ITEM_EVENTS)
    log, catalog = load_features(path)
    return replace(log, context={}), catalog


def measure(name: str, log: EventLog, catalog: Catalog, generator: GeneratorKind, seed: int) -> Row:
    """Figures of one generator on one log, and the processor time of all of it."""
    n_users = int(0.8 * len(np.unique(log.user_idx)))
    started_s = time.process_time()
    settings = SynthesisSettings(n_users=n_users, generator=generator, seed=seed)
    figures = synthesise(name, log, catalog, settings).figures
    return row_of(figures) | {"processor_s": round(time.process_time() - started_s)}


def row_of(figures: SynthesisFigures) -> Row:
    """Row of the table and of the JSON file."""
    utilities = [utility.ndcg_10 for utility in figures.utilities]
    worst = figures.worst_attack
    return {
        "dataset": figures.dataset,
        "generator": figures.generator,
        "seed": figures.seed,
        "n_users": figures.n_users,
        "n_events": figures.n_events,
        "n_fitted_events": figures.n_fitted_events,
        "n_targets": figures.n_test_targets,
        "real": utilities[0],
        "synthetic": utilities[1],
        "popularity": utilities[2],
        "ratio": figures.utility_ratio,
        "attack": worst.name,
        "attack_auc": worst.auc,
        "attack_low": worst.low,
        "attack_high": worst.high,
        "nearer": figures.nearness.share_nearer_to_fitted,
        "n_copies": figures.nearness.n_copies,
        "distances": {
            row.name: [round(row.synthetic, 4), round(row.real, 4)] for row in figures.distances
        },
        "attacks": {attack.name: round(attack.auc, 4) for attack in figures.attacks},
    }


def table(rows: Sequence[Row]) -> Table:
    """Table of the rows: NDCG@10 of training on real and synthetic events, and the attack."""
    shown = Table(*HEADERS, title="Trained on real or synthetic events, tested on later real ones")
    for row in rows:
        cells = (row[name] for name in HEADERS)
        shown.add_row(*(f"{cell:.3f}" if isinstance(cell, float) else str(cell) for cell in cells))
    return shown


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print a table and keep the rows."""
    options = parser().parse_args(arguments)
    rows: list[Row] = []
    for name in options.datasets:
        log, catalog = read_plain_log(name, data_root(options.data), options.work)
        for generator in options.generators:
            rows.append(measure(name, log, catalog, generator, options.seed))
            Console(width=140).print(table(rows[-1:]))
            if options.json:
                key = (name, generator, options.seed)
                others = [
                    row
                    for row in read_rows(options.json)
                    if (row["dataset"], row["generator"], row["seed"]) != key
                ]
                write_rows([*others, rows[-1]], options.json)
    Console(width=140).print(table(rows))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.synthesis", description=__doc__)
    add_data_option(options)
    options.add_argument("--datasets", type=some_of(DATASETS), default=list(DATASETS))
    options.add_argument("--generators", type=some_of(GENERATORS), default=list(GENERATORS))
    options.add_argument("--seed", type=int, default=0, help="seed of fit, users and training")
    options.add_argument("--json", type=Path, help="keep the rows in this file")
    options.add_argument("--work", type=Path, default=Path("data/synthesis"))
    return options


if __name__ == "__main__":
    main()
