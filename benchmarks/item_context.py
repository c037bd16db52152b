"""Item context: one training with and without it, on the same later targets.

    python -m benchmarks.item_context --data DIR --json item_context.json

Both models are one training with the settings of the demo, scored without and with the item
context, which is fitted to the trained network and changes nothing else. NDCG@10 is that of the
demo's holdout; Acc@10 among new items is that of discoveries of the same weeks, ranked
among the items that their user never had. ``low`` and ``high`` bound the paired difference of
NDCG@10, ``new_only_low`` and ``new_only_high`` that of Acc@10 (95 %, users resampled).
``--fold`` takes the last fold before the holdout, on which the model was developed.
"""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import torch
from rich.console import Console

from benchmarks.data_sets import add_data_option, data_root, load_data_set
from benchmarks.new_only import is_discovery
from benchmarks.rows import Row, read_rows, rows_table, write_rows
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int64
from chronotope.features.snapshot import load_features
from chronotope.metrics import (
    bootstrap_interval,
    distinct_items,
    expected_rank,
    hit_rate,
    ndcg,
    new_only_rank,
)
from chronotope.pipelines.holdout import SELECTION_SHARE
from chronotope.pipelines.settings import TrainSettings, read_train_settings
from chronotope.splitting.folds import rolling_origin
from chronotope.splitting.targets import targets_between
from chronotope.training.item_context.base_scores import base_scores
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


def train(task: ContextTask, settings: TrainSettings, seed: int) -> ChronotopeRecommender:
    """Model with the item context, and what its training says of the columns.

    Args:
        task: Log and targets.
        settings: Model and training.
        seed: Seed of the training.
    """
    names = tuple(column.name for column in task.catalog.item_context)
    model_config = settings.model.model_copy(update={"item_context": names})
    training = settings.training.model_copy(update={"seed": seed})
    model = ChronotopeRecommender(model_config, training)
    model.fit(task.log.before(task.train_end_s), task.catalog)
    for worth in model.item_context_worth:
        print(worth, flush=True)
    head = model.net.item_context_head
    if head is not None:
        print("lift", [round(weight, 2) for weight in head.lift_weights.tolist()])
        for column in task.catalog.item_context:
            weights = head.level_weights[column.first :][: len(column.levels)].tolist()
            rounded = [tuple(round(weight, 2) for weight in pair) for pair in weights]
            print(column.name, dict(zip(column.levels, rounded, strict=True)), flush=True)
    return model


def ranks(
    task: ContextTask, model: ChronotopeRecommender, positions: Int64
) -> dict[str, tuple[Float64, Float64]]:
    """Rank of each target among all items, and among new ones, without and with item context.

    Args:
        task: Log and targets.
        model: The trained model.
        positions: Targets.
    """
    log, head = task.log, model.net.item_context_head
    starts = (log.user_start(), log.basket_start())
    parts: dict[str, list[tuple[Float64, Float64]]] = {"without": [], "with": []}
    for scored in base_scores(model.net, log, positions, model.priors):
        context_scores = torch.zeros(())
        if head is not None:
            with torch.no_grad():
                context_scores = head(scored.batch, model.priors, scored.view, scored.history)
        target_items = log.item_idx[scored.positions]
        user_start, basket_start = (start[scored.positions] for start in starts)
        owned = distinct_items(log, user_start, basket_start, n_items=task.catalog.n_items)
        for context, part in parts.items():
            added_scores = context_scores if context == "with" else 0.0
            item_scores = (scored.item_scores + added_scores).numpy()
            rank = expected_rank(item_scores, target_items)
            part.append((rank, new_only_rank(item_scores, target_items, rank, owned)))
    return {
        context: (np.concatenate([p[0] for p in part]), np.concatenate([p[1] for p in part]))
        for context, part in parts.items()
    }


def rows_of(task: ContextTask, settings: TrainSettings, seed: int) -> list[Row]:
    """Row of each variant; that with context has the intervals of the paired differences."""
    model = train(task, settings, seed)
    of_targets, of_discoveries = (
        ranks(task, model, positions) for positions in (task.targets, task.discoveries)
    )
    gains = {context: ndcg(pair[0], 10) for context, pair in of_targets.items()}
    hits = {context: hit_rate(pair[1], 10) for context, pair in of_discoveries.items()}
    ndcg_interval, hit_interval = (
        bootstrap_interval(values["with"] - values["without"], task.log.user_idx[positions])
        for values, positions in ((gains, task.targets), (hits, task.discoveries))
    )
    rows: list[Row] = []
    for context in ("without", "with"):
        is_with = context == "with"
        rows.append(
            {
                "dataset": DATASET,
                "model": "chronotope",
                "context": context,
                "n_targets": len(task.targets),
                "n_discoveries": len(task.discoveries),
                "ndcg_10": float(gains[context].mean()),
                "new_only_acc_10": float(hits[context].mean()),
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
