"""Selection of context columns by permutation importance on later folds.

The importance of a column is the reciprocal rank that is lost when its values are shuffled
among the targets of a fold,

    importance = mean over targets of  1 / rank - 1 / rank with the column shuffled

with an interval that resamples users. Of strongly correlated columns, shuffling one loses
little, so both look unimportant (Strobl et al. 2008, https://doi.org/10.1186/1471-2105-9-307).
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int64
from chronotope.contracts.protocols import Recommender
from chronotope.features.snapshot import load_features
from chronotope.metrics import bootstrap_interval, evaluate
from chronotope.pipelines.holdout import frozen_folds
from chronotope.pipelines.results import ColumnImportance, ColumnSelection
from chronotope.pipelines.search import configs_from_params, context_columns
from chronotope.pipelines.settings import TrainSettings
from chronotope.splitting.targets import targets_between
from chronotope.training.recommender import ChronotopeRecommender

N_SHUFFLES: Final = 3
"""Shuffles of a column, whose losses are averaged."""

N_FOLDS: Final = 2
"""Number of latest folds that are used; each costs a training."""


def select_context_columns(
    features: Path, settings: TrainSettings, run_dir: Path, params: dict[str, Any]
) -> ColumnSelection:
    """Measure every context column of a snapshot; without columns nothing is trained.

    Args:
        features: Feature snapshot.
        settings: All settings of the training.
        run_dir: Folder of this training, with the frozen folds.
        params: Parameters of the search.

    Returns:
        The columns whose interval lies above zero, and the importance of all columns.
    """
    log, catalog = load_features(features)
    column_names = context_columns(log, settings)
    if not column_names:
        return ColumnSelection()
    fold_losses: list[dict[str, Float64]] = []
    fold_users = []
    for model, targets in _trained_models(log, catalog, settings, run_dir, params):
        fold_losses.append(_shuffle_losses(model, log, catalog, targets, column_names))
        fold_users.append(log.user_idx[targets])
    user_idx = np.concatenate(fold_users)
    columns = tuple(
        _importance(name, np.concatenate([losses[name] for losses in fold_losses]), user_idx)
        for name in column_names
    )
    selected = tuple(column.name for column in columns if column.low > 0)
    return ColumnSelection(selected=selected, columns=columns)


def _trained_models(
    log: EventLog, catalog: Catalog, settings: TrainSettings, run_dir: Path, params: dict[str, Any]
) -> Iterator[tuple[Recommender, Int64]]:
    """A model that uses every column, and its later targets, for the latest folds."""
    all_params = {**params, "context": context_columns(log, settings)}
    for fold in frozen_folds(run_dir).folds[-N_FOLDS:]:
        model = ChronotopeRecommender(*configs_from_params(all_params, settings))
        targets = targets_between(
            log, fold.test_start_s, fold.test_end_s, max_targets=settings.max_fold_targets
        )
        yield model.fit(log.before(fold.train_end_s), catalog), targets


def _shuffle_losses(
    model: Recommender,
    log: EventLog,
    catalog: Catalog,
    targets: Int64,
    column_names: tuple[str, ...],
) -> dict[str, Float64]:
    """Reciprocal rank lost at each target when a column is shuffled, shape (n_targets,)."""

    def reciprocal_ranks(events: EventLog) -> Float64:
        evaluation = evaluate(model, events, targets, n_items=catalog.n_items, time_given=True)
        return 1 / evaluation.rank

    unshuffled_ranks, rng = reciprocal_ranks(log), np.random.default_rng(0)
    losses = {}
    for name in column_names:
        column = log.context.get(name, np.full(len(log), np.nan, np.float32))
        shuffled_ranks = []
        for _ in range(N_SHUFFLES):
            shuffled = column.copy()
            shuffled[targets] = rng.permutation(column[targets])
            shuffled_log = replace(log, context=log.context | {name: shuffled})
            shuffled_ranks.append(reciprocal_ranks(shuffled_log))
        losses[name] = unshuffled_ranks - np.mean(shuffled_ranks, axis=0)
    return losses


def _importance(name: str, losses: Float64, user_idx: Any) -> ColumnImportance:
    interval = bootstrap_interval(losses, user_idx)
    return ColumnImportance(
        name=name, importance=interval.estimate, low=interval.low, high=interval.high
    )
