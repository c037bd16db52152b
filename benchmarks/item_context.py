"""Item context: the same training with and without it, on the same later targets.

    python -m benchmarks.item_context --data DIR --json item_context.json

Both models have the settings of the demo and differ in ``model.item_context`` alone. NDCG@10 is
that of the demo's holdout; Acc@10 among new items is that of discoveries of the same weeks, ranked
among the items that their user never had. ``low`` and ``high`` bound the paired difference of
NDCG@10, ``new_only_low`` and ``new_only_high`` that of Acc@10 (95 %, users resampled).
``--fold`` takes the last fold before the holdout, on which the model was developed.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from rich.console import Console

from benchmarks.data_sets import add_data_option, data_root, load_data_set
from benchmarks.new_only import is_discovery
from benchmarks.rows import Row, read_rows, rows_table, write_rows
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int64
from chronotope.features.snapshot import load_features
from chronotope.metrics import bootstrap_interval, evaluate, hit_rate, ndcg
from chronotope.pipelines.holdout import SELECTION_SHARE
from chronotope.pipelines.settings import TrainSettings, read_train_settings
from chronotope.splitting.folds import rolling_origin
from chronotope.splitting.targets import targets_between
from chronotope.training.recommender import ChronotopeRecommender

DATASET: Final = "complete_journey"
SPEC: Final = "complete_journey_promotions"
"""The same purchases, with the displays and mailers of the stores."""

CONFIG: Final = Path("conf/training/demo.yaml")
N_DISCOVERIES: Final = 8_000
HEADERS: Final = ("model", "context", "ndcg_10", "low", "high", "new_only_acc_10", "new_only_low")


@dataclass(frozen=True, slots=True)
class ContextTask:
    """Log and targets of a run.

    Attributes:
        log: All events, with the item context.
        catalog: Ids and attributes.
        train_end_s: End of the training events, UTC seconds.
        targets: Positions of the targets of NDCG@10, shape (n_targets,).
        discoveries: Positions of the targets among new items, shape (n_discoveries,).
    """

    log: EventLog
    catalog: Catalog
    train_end_s: int
    targets: Int64
    discoveries: Int64


def read_task(data: Path | None, work: Path, settings: TrainSettings, *, fold: bool) -> ContextTask:
    """Ingest the dataset with its item context and choose the targets.

    Args:
        data: Folder that holds a folder for each dataset of files.
        work: Root of the lake and the snapshot.
        settings: Folds, and number of targets.
        fold: Take the last fold instead of the holdout.
    """
    from flows.ingest_events import IngestSettings, build_snapshot, write_events, write_tables

    spec = load_data_set(SPEC, data_root(data))
    ingest_settings = IngestSettings(root=work, data_docs=False)
    write_tables.fn(spec.name, ingest_settings)
    write_events.fn(spec.name, ingest_settings)
    log, catalog = load_features(build_snapshot(spec.name, ingest_settings, work / "features").path)
    if not catalog.item_context:
        raise ConfigError(
            "The snapshot has no item context, so both models would be the same",
            received=f"{spec.name} below {work}",
            way_out="Keep item_context in the dataset's YAML, and name an empty folder with --work",
        )
    folds = rolling_origin(log, settings.folds)
    window = folds.folds[-1] if fold else folds.holdout
    # the first part of the holdout selects among compressed candidates
    n_selection_s = 0 if fold else SELECTION_SHARE * (window.test_end_s - window.test_start_s)
    start_s = int(window.test_start_s + n_selection_s)
    targets = targets_between(
        log, start_s, window.test_end_s, max_targets=settings.max_holdout_targets
    )
    is_inside = (log.occurred_s >= start_s) & (log.occurred_s < window.test_end_s)
    discoveries = np.flatnonzero(is_inside & is_discovery(log, catalog.n_items))
    if len(discoveries) > N_DISCOVERIES:
        discoveries = np.random.default_rng(0).choice(discoveries, N_DISCOVERIES, replace=False)
    return ContextTask(log, catalog, window.train_end_s, targets, np.sort(discoveries))


def measure(
    task: ContextTask, settings: TrainSettings, columns: tuple[str, ...], seed: int
) -> tuple[Float64, Float64]:
    """NDCG@10 of each target, and whether each discovery is among the first ten new items.

    Args:
        task: Log and targets.
        settings: Model and training.
        columns: Columns of the item context that the model reads.
        seed: Seed of the training.
    """
    model_config = settings.model.model_copy(update={"item_context": columns})
    training = settings.training.model_copy(update={"seed": seed})
    model = ChronotopeRecommender(model_config, training)
    model.fit(task.log.before(task.train_end_s), task.catalog)
    for worth in model.item_context_worth:
        print(worth, flush=True)
    head = model.net.item_context_head
    if head is not None:
        for column in task.catalog.item_context:
            weights = head.level_weights[column.first :][: len(column.levels)].tolist()
            rounded = [tuple(round(weight, 2) for weight in pair) for pair in weights]
            print(column.name, dict(zip(column.levels, rounded, strict=True)))
    log = task.log if columns else replace(task.log, item_context=None)
    n_items = task.catalog.n_items
    result = evaluate(model, log, task.targets, n_items=n_items, time_given=True)
    among_new = evaluate(model, log, task.discoveries, n_items=n_items, time_given=True)
    return ndcg(result.rank, 10), hit_rate(among_new.new_only_rank, 10)


def rows_of(task: ContextTask, settings: TrainSettings, seed: int) -> list[Row]:
    """Row of each variant; that with context has the intervals of the paired differences."""
    names = tuple(column.name for column in task.catalog.item_context)
    without, with_context = (measure(task, settings, columns, seed) for columns in ((), names))
    users = [task.log.user_idx[positions] for positions in (task.targets, task.discoveries)]
    ndcg_interval, hit_interval = (
        bootstrap_interval(b - a, user_idx)
        for a, b, user_idx in zip(without, with_context, users, strict=True)
    )
    rows: list[Row] = []
    for context, (ndcg_values, hits) in (("without", without), ("with", with_context)):
        is_with = context == "with"
        rows.append(
            {
                "dataset": DATASET,
                "model": "chronotope",
                "context": context,
                "n_targets": len(ndcg_values),
                "n_discoveries": len(hits),
                "ndcg_10": float(ndcg_values.mean()),
                "new_only_acc_10": float(hits.mean()),
                "low": ndcg_interval.low if is_with else None,
                "high": ndcg_interval.high if is_with else None,
                "new_only_low": hit_interval.low if is_with else None,
                "new_only_high": hit_interval.high if is_with else None,
            }
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure both variants, print a table and keep the rows."""
    options = parser().parse_args(arguments)
    settings = read_train_settings(CONFIG, options.work)
    task = read_task(options.data, options.work, settings, fold=options.fold)
    rows = rows_of(task, settings, options.seed)
    Console(width=100).print(rows_table(f"{DATASET}: item context", HEADERS, rows))
    if options.json:
        others = [row for row in read_rows(options.json) if row["dataset"] != DATASET]
        write_rows([*others, *rows], options.json)


def parser() -> argparse.ArgumentParser:
    """The command line."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.item_context", description=__doc__)
    add_data_option(options)
    options.add_argument("--json", type=Path, help="store the rows in this file")
    options.add_argument("--seed", type=int, default=0, help="seed of the trainings")
    options.add_argument("--fold", action="store_true", help="last fold instead of the holdout")
    options.add_argument(
        "--work", type=Path, default=Path("data/item_context"), help="root of lake and snapshot"
    )
    return options


if __name__ == "__main__":
    main()
