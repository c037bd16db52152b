"""Selection of context columns and kinds of content by permutation importance on later folds.

The importance of a column is the reciprocal rank that is lost when its values are shuffled
among the targets of a fold,

    importance = mean over targets of  1 / rank - 1 / rank with the column shuffled

with an interval that resamples users. Of strongly correlated columns, shuffling one loses
little, so both look unimportant (Strobl et al. 2008, https://doi.org/10.1186/1471-2105-9-307).

Of a kind of content the vectors are shuffled among the items that have it. A second importance is
that of items without events: a random part of the items is treated so, and their targets count.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from chronotope.content.modality_worth import ModalityWorth, WorthInterval
from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int32, Int64
from chronotope.contracts.item_content import ItemContent
from chronotope.contracts.protocols import Recommender
from chronotope.features.snapshot import load_features
from chronotope.metrics import bootstrap_interval, evaluate
from chronotope.models.content_head import selected_content
from chronotope.pipelines.holdout import frozen_folds
from chronotope.pipelines.results import ColumnImportance, ColumnSelection
from chronotope.pipelines.search import configs_from_params, context_columns
from chronotope.pipelines.settings import TrainSettings
from chronotope.splitting.targets import targets_between
from chronotope.training.recommender import ChronotopeRecommender

N_SHUFFLES: Final = 3
"""Shuffles of a column, whose losses are averaged."""

HIDDEN_SHARE: Final = 0.2
"""Share of the items that is treated as items without events, to measure the content."""

N_FOLDS: Final = 2
"""Number of latest folds that are used; each costs a training."""


def select_context_columns(
    features: Path, settings: TrainSettings, run_dir: Path, params: dict[str, Any]
) -> ColumnSelection:
    """Measure every context column and kind of content; without any nothing is trained.

    Args:
        features: Feature snapshot.
        settings: All settings of the training.
        run_dir: Folder of this training, with the frozen folds.
        params: Parameters of the search.

    Returns:
        The columns and kinds of content that help, and the importance of all of them.
    """
    log, item_catalog = load_features(features)
    column_names = context_columns(log, settings)
    model_config, _ = configs_from_params(params, settings)
    content = selected_content(item_catalog, model_config)
    if not column_names and content is None:
        return ColumnSelection()
    modality_losses: list[_ModalityLosses] = []
    fold_losses: list[dict[str, Float64]] = []
    fold_users = []
    for model, targets in _trained_models(log, item_catalog, settings, run_dir, params):
        fold_losses.append(_shuffle_losses(model, log, item_catalog, targets, column_names))
        fold_users.append(log.user_idx[targets])
        modality_losses.append(_modality_losses(model, log, item_catalog, targets))
    user_idx = np.concatenate(fold_users)
    columns = tuple(
        _importance(name, np.concatenate([losses[name] for losses in fold_losses]), user_idx)
        for name in column_names
    )
    selected = tuple(column.name for column in columns if column.low > 0)
    modality_names = () if content is None else content.axes.modalities
    modalities = tuple(_modality_worth(name, modality_losses) for name in modality_names)
    return ColumnSelection(selected=selected, columns=columns, modalities=modalities)


def _trained_models(
    log: EventLog, catalog: Catalog, settings: TrainSettings, run_dir: Path, params: dict[str, Any]
) -> Iterator[tuple[ChronotopeRecommender, Int64]]:
    """A model that uses all columns and content, and its later targets, for the latest folds."""
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
        evaluation_result = evaluate(
            model, events, targets, n_items=catalog.n_items, time_given=True
        )
        return 1 / evaluation_result.rank

    unshuffled_ranks, random_generator = reciprocal_ranks(log), np.random.default_rng(0)
    losses = {}
    for name in column_names:
        column = log.context.get(name, np.full(len(log), np.nan, np.float32))
        shuffled_ranks = []
        for _ in range(N_SHUFFLES):
            shuffled = column.copy()
            shuffled[targets] = random_generator.permutation(column[targets])
            shuffled_log = replace(log, context=log.context | {name: shuffled})
            shuffled_ranks.append(reciprocal_ranks(shuffled_log))
        losses[name] = unshuffled_ranks - np.mean(shuffled_ranks, axis=0)
    return losses


@dataclass(frozen=True, slots=True)
class _ModalityLosses:
    """Reciprocal ranks lost on a fold when a kind of content is shuffled, by its name.

    Attributes:
        all_items: At every target, shape (n_targets,) each.
        user_idx: Users of these targets.
        cold_items: At the targets among hidden items, shape (n_hidden,) each.
        cold_user_idx: Users of these targets.
    """

    all_items: dict[str, Float64]
    user_idx: Int32
    cold_items: dict[str, Float64]
    cold_user_idx: Int32


def _modality_losses(
    model: ChronotopeRecommender, log: EventLog, catalog: Catalog, targets: Int64
) -> _ModalityLosses:
    """Losses of every kind of content of a trained model; none without content."""
    random_generator = np.random.default_rng(0)
    is_hidden = random_generator.random(catalog.n_items) < HIDDEN_SHARE
    cold_targets = targets[is_hidden[log.item_idx[targets]]]

    def reciprocal_ranks(content: ItemContent, *, cold: bool) -> Float64:
        target_positions = cold_targets if cold else targets
        if not len(target_positions):
            return np.zeros(0)
        variant_model = model.with_content(content, is_hidden if cold else None)
        evaluation_result = evaluate(
            variant_model, log, target_positions, n_items=catalog.n_items, time_given=True
        )
        return 1 / evaluation_result.rank

    losses: dict[bool, dict[str, Float64]] = {False: {}, True: {}}
    content = model.content
    if content is not None:
        for cold, by_name in losses.items():
            unshuffled_ranks = reciprocal_ranks(content, cold=cold)
            for name in content.axes.modalities:
                shuffled_ranks = [
                    reciprocal_ranks(_shuffled(content, name, random_generator), cold=cold)
                    for _ in range(N_SHUFFLES)
                ]
                by_name[name] = unshuffled_ranks - np.mean(shuffled_ranks, axis=0)
    return _ModalityLosses(
        losses[False], log.user_idx[targets], losses[True], log.user_idx[cold_targets]
    )


def _shuffled(content: ItemContent, modality: str, rng: np.random.Generator) -> ItemContent:
    """Content in which the items that have a modality exchange their vectors of it."""
    is_column = np.repeat(
        [name == modality for name in content.axes.modalities], content.axes.n_axes
    )
    row_vectors = content.vectors.copy()
    vector_block = row_vectors[:, is_column]
    present_idx = np.flatnonzero(vector_block.any(axis=1))
    vector_block[present_idx] = vector_block[rng.permutation(present_idx)]
    row_vectors[:, is_column] = vector_block
    return replace(content, vectors=row_vectors)


def _modality_worth(name: str, folds: list[_ModalityLosses]) -> ModalityWorth:
    cold_losses = np.concatenate([fold.cold_items[name] for fold in folds])
    return ModalityWorth(
        modality=name,
        all_items=_interval(
            np.concatenate([fold.all_items[name] for fold in folds]),
            np.concatenate([fold.user_idx for fold in folds]),
        ),
        cold_items=_interval(cold_losses, np.concatenate([fold.cold_user_idx for fold in folds]))
        if len(cold_losses)
        else None,
    )


def _interval(losses: Float64, user_idx: Int32) -> WorthInterval:
    interval = bootstrap_interval(losses, user_idx)
    return WorthInterval(value=interval.estimate, low=interval.low, high=interval.high)


def _importance(name: str, losses: Float64, user_idx: Any) -> ColumnImportance:
    interval = bootstrap_interval(losses, user_idx)
    return ColumnImportance(
        name=name, importance=interval.estimate, low=interval.low, high=interval.high
    )
