"""Retraining of a champion: a warm start, or from scratch with its parameters.

The holdout begins after the last event of the champion's training, so that champion and
challenger are evaluated on targets later than either training.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np

from chronotope.contracts.errors import ArtifactError, NotEnoughData, SourceError
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.ids import IdMap
from chronotope.features.snapshot import load_features
from chronotope.pipelines.holdout import FOLDS_FILE, frozen_folds
from chronotope.pipelines.results import (
    ColumnSelection,
    InheritedParameters,
    RetrainingInputs,
    SearchResult,
)
from chronotope.pipelines.run_dir import write_settings
from chronotope.pipelines.search import starting_point
from chronotope.pipelines.settings import TrainSettings
from chronotope.pipelines.train import MODEL_FILE, train_privately
from chronotope.pipelines.trust.held_out_users import training_log
from chronotope.runtime.step_cache import step_result
from chronotope.splitting.folds import Folds, FoldsConfig, rolling_origin, save_folds
from chronotope.training.recommender import ChronotopeRecommender

MAX_NEW_SHARE: Final = 0.1
"""Share of the items, or of the categories, that may be new to a network in a warm start."""

MAX_KNOWN_SHARE: Final = 0.99
"""Share of known events beyond which too few later ones are left to evaluate on."""


def freeze_later_folds(
    features: Path, settings: TrainSettings, run_dir: Path, trained_until_s: int
) -> str:
    """Store the folds of ``later_folds`` and the settings in a run's folder.

    Args:
        features: Feature snapshot.
        settings: Other settings of the split.
        run_dir: Folder of this retraining.
        trained_until_s: Last event of the champion's training, UTC seconds.

    Returns:
        Digest of the folds.

    Raises:
        NotEnoughData: Too few events are later.
    """
    log, _ = load_features(features)
    folds = later_folds(log, settings, trained_until_s)
    write_settings(run_dir, settings)
    return save_folds(folds, run_dir / FOLDS_FILE)


def later_folds(log: EventLog, settings: TrainSettings, trained_until_s: int) -> Folds:
    """Split a log so that the holdout is later than an instant.

    Args:
        log: All events.
        settings: Other settings of the split.
        trained_until_s: Last event of the champion's training, UTC seconds.

    Raises:
        NotEnoughData: Too few events are later.
    """
    n_known = np.count_nonzero(log.occurred_s <= trained_until_s)
    known_share = float(n_known / max(1, len(log) - 1))
    if known_share > MAX_KNOWN_SHARE:
        raise NotEnoughData(
            "Too few events are later than the champion's training to evaluate a challenger",
            received=f"{100 * known_share:.1f} % of the events are not later",
            way_out="Wait for more events",
        )
    quantile = max(settings.folds.holdout_quantile, known_share)
    fields = {"k": 1, "holdout_quantile": quantile, "min_train_share": quantile / 2}
    return rolling_origin(log, FoldsConfig.model_validate(settings.folds.model_dump() | fields))


def n_new_training_events(log: EventLog, folds: Folds, trained_until_s: int) -> int:
    """Number of events that a retraining trains on and the champion was not trained on.

    They are later than the champion's training and earlier than the holdout. The events of
    the holdout are training events of the next retraining.

    Args:
        log: All events.
        folds: Result of ``later_folds``.
        trained_until_s: Last event of the champion's training, UTC seconds.
    """
    is_new = (log.occurred_s > trained_until_s) & (log.occurred_s < folds.holdout.train_end_s)
    return int(np.count_nonzero(is_new))


def inherit_parameters(inputs: RetrainingInputs, settings: TrainSettings) -> InheritedParameters:
    """Parameters and context columns of the champion, for its retraining.

    Args:
        inputs: Folders of the retraining.
        settings: Settings of the champion.
    """
    params = trained_parameters(inputs.champion_run_dir, settings)
    columns = ColumnSelection(selected=tuple(params.get("context", ())))
    return InheritedParameters(params=params, columns=columns)


def trained_parameters(run_dir: Path, settings: TrainSettings) -> dict[str, Any]:
    """Parameters that a training used, with its context columns.

    Args:
        run_dir: Folder of the training.
        settings: Start of its search; its values are taken if the run stored no parameters.
    """
    parameters = stored_parameters(run_dir)
    if parameters is None:
        return starting_point(settings)
    selection = step_result(run_dir, "select_context_columns", ColumnSelection)
    selected = {} if selection is None else selection.model_params()
    return {**parameters.params, **selected}


def stored_parameters(run_dir: Path) -> InheritedParameters | None:
    """Parameters that a search or a retraining stored in a run; None without either."""
    search = step_result(run_dir, "search_parameters", SearchResult)
    if search is not None:
        return InheritedParameters(params=search.params, fold_ndcg=search.fold_ndcg)
    return step_result(run_dir, "inherit_parameters", InheritedParameters)


def cold_start_reason(catalog: Catalog, champion_features: Path, model_path: Path) -> str:
    """Reason against a warm start of a network on a newer catalogue; "" if there is none.

    Embeddings of items and categories are transferred by id. New ids start as the mean of
    the others, which is a poor start where many are new.

    Args:
        catalog: The newer catalogue.
        champion_features: Snapshot of the network's training.
        model_path: File of the trained model.
    """
    if not model_path.is_file() or not champion_features.is_dir():
        return "its trained network or its data are not stored here any more"
    try:
        _, champion_catalog = load_features(champion_features)
    except SourceError as error:
        return f"the data that it was trained on are damaged: {error.problem}"
    new_id_reasons = [
        _new_ids_reason(getattr(catalog, field), getattr(champion_catalog, field), field)
        for field in _EMBEDDED_IDS
    ]
    return ", ".join(filter(None, new_id_reasons)) or _load_failure(model_path, champion_catalog)


def warm_start(
    features: Path,
    run_dir: Path,
    champion_model: Path,
    champion_features: Path,
    settings: TrainSettings | None = None,
) -> Path:
    """Train the champion's network for one pass over the new events before the holdout.

    Args:
        features: Feature snapshot; its catalogue may have grown.
        run_dir: Folder of this retraining, with its folds.
        champion_model: File of the champion's trained model.
        champion_features: Snapshot of the champion's training.
        settings: Users held out of the training; None holds none out.

    Returns:
        File that ``ChronotopeRecommender.load`` reads.

    Raises:
        ArtifactError: The network is missing, damaged or of another catalogue.
    """
    log, item_catalog = load_features(features)
    if not champion_model.is_file():
        raise ArtifactError("The champion's network is missing", received=champion_model)
    settings = settings or TrainSettings()
    if settings.privacy.epsilon is not None:  # another release; nothing is learned from the old one
        return train_privately(log, item_catalog, settings, run_dir)
    model = ChronotopeRecommender.load(champion_model, load_features(champion_features)[1])
    model.transfer_to(log, item_catalog)
    train_end_s = frozen_folds(run_dir).holdout.train_end_s
    model.update(training_log(log, item_catalog, settings, train_end_s))
    model_path = run_dir / MODEL_FILE
    model.save(model_path)
    return model_path


_EMBEDDED_IDS: Final = ("items", "categories")
"""Fields of a catalogue whose ids may have an embedding each."""


def _load_failure(model_path: Path, champion_catalog: Catalog) -> str:
    """Reason why a network cannot be loaded; "" if it can."""
    try:
        ChronotopeRecommender.load(model_path, champion_catalog)
    except ArtifactError:
        return "its trained network is damaged, or has a shape that this version does not build"
    return ""


def _new_ids_reason(ids: IdMap, champion_ids: IdMap, field: str) -> str:
    """Number of new ids if they are too many for a warm start; else ""."""
    n_new, n_ids = int((champion_ids.index(ids.ids) == 0).sum()), len(ids.ids)
    return f"{n_new:,} of {n_ids:,} {field} are new" if n_new > MAX_NEW_SHARE * n_ids else ""
