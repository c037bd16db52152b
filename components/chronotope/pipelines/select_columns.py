"""Keep the context columns that help on later time: permutation importance over the folds.

A column is worth what is lost when its values are shuffled among the targets of a fold,

    importance = mean over targets of  1 / rank - 1 / rank with the column shuffled

with an interval that resamples users. Of columns that say the same, shuffling one loses
little; both then look worthless (Strobl et al. 2008, https://doi.org/10.1186/1471-2105-9-307).
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int64
from chronotope.contracts.protocols import Recommender
from chronotope.features.snapshot import load_features
from chronotope.metrics.evaluate import evaluate
from chronotope.metrics.summary import bootstrap_interval
from chronotope.pipelines.holdout import frozen_folds
from chronotope.pipelines.search import configs_from_params, context_columns
from chronotope.pipelines.settings import TrainSettings
from chronotope.splitting.targets import targets_between
from chronotope.training.recommender import ChronotopeRecommender

N_SHUFFLES = 3
"""Shuffles of a column, whose losses are averaged."""

N_FOLDS = 2
"""The latest folds are asked; each costs a training."""


def select_columns(
    features: Path, settings: TrainSettings, run: Path, params: dict[str, Any]
) -> dict[str, Any]:
    """Judge every context column of a snapshot; a log without columns costs nothing.

    Args:
        features: Feature snapshot.
        settings: Everything the training was told.
        run: Folder of this training; holds the frozen folds.
        params: What the search chose.

    Returns:
        ``kept``: names of columns whose interval lies above zero; ``columns``: ``name``,
        ``lost`` (reciprocal rank), ``low`` and ``high`` of each. JSON-able.
    """
    log, catalog = load_features(features)
    names = context_columns(log, settings)
    if not names:
        return {"kept": [], "columns": []}
    losses: list[dict[str, Float64]] = []
    users = []
    for model, targets in _fitted(log, catalog, settings, run, params):
        losses.append(_losses(model, log, catalog, targets, names))
        users.append(log.user_idx[targets])
    groups = np.concatenate(users)
    columns = [_row(name, np.concatenate([of[name] for of in losses]), groups) for name in names]
    return {"kept": [row["name"] for row in columns if row["low"] > 0], "columns": columns}


def _fitted(
    log: EventLog, catalog: Catalog, settings: TrainSettings, run: Path, params: dict[str, Any]
) -> Iterator[tuple[Recommender, Int64]]:
    """A model that listens to every column, and later targets, for the latest folds."""
    listening = {**params, "context": context_columns(log, settings)}
    for fold in frozen_folds(run).folds[-N_FOLDS:]:
        model = ChronotopeRecommender(*configs_from_params(listening, settings))
        targets = targets_between(
            log, fold.test_start_s, fold.test_end_s, max_targets=settings.max_fold_targets
        )
        yield model.fit(log.before(fold.train_end_s), catalog), targets


def _losses(
    model: Recommender, log: EventLog, catalog: Catalog, targets: Int64, names: tuple[str, ...]
) -> dict[str, Float64]:
    """Reciprocal rank lost at each target when a column is shuffled among the targets."""

    def reciprocal(asked: EventLog) -> Float64:
        found = evaluate(model, asked, targets, n_items=catalog.n_items, time_given=True)
        return 1 / found.rank

    plain, rng = reciprocal(log), np.random.default_rng(0)
    lost = {}
    for name in names:
        column = log.context.get(name, np.full(len(log), np.nan, np.float32))
        shuffled = []
        for _ in range(N_SHUFFLES):
            mixed = column.copy()
            mixed[targets] = rng.permutation(column[targets])
            shuffled.append(reciprocal(replace(log, context=log.context | {name: mixed})))
        lost[name] = plain - np.mean(shuffled, axis=0)
    return lost


def _row(name: str, lost: Float64, groups: Any) -> dict[str, Any]:
    found = bootstrap_interval(lost, groups)
    return {"name": name, "lost": found.estimate, "low": found.low, "high": found.high}
