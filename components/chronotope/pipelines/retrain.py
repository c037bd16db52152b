"""Learn on from a champion: warm, or from scratch with its parameters; then judged as ever.

The holdout begins after the last event that the champion was trained on, so that both are
judged on targets later than either training.
"""

from pathlib import Path
from typing import Any, Final

import numpy as np

from chronotope.contracts.errors import ArtifactError, NotEnoughData, SourceError
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.ids import IdMap
from chronotope.features.snapshot import load_features
from chronotope.pipelines.holdout import frozen_folds
from chronotope.pipelines.run_dir import write_settings
from chronotope.pipelines.search import starting_point
from chronotope.pipelines.settings import TrainSettings
from chronotope.runtime.step_cache import step_result
from chronotope.splitting.folds import Folds, FoldsConfig, rolling_origin, save_folds
from chronotope.training.recommender import ChronotopeRecommender

PARAMETERS: Final = ("tune_parameters", "take_parameters")
"""Steps whose results hold a training's parameters: a search, or a retraining."""

MOST_NEW: Final = 0.1
"""Share of the items, or of the categories, that may be new to a network that learns on."""

LATEST: Final = 0.99
"""Share of the events beyond which too few are left to judge on."""


def freeze_later_folds(features: Path, settings: TrainSettings, run: Path, after_s: int) -> str:
    """Store the cut of ``later_folds`` and the settings in a run's folder; returns the digest.

    Args:
        features: Feature snapshot.
        settings: How time is cut otherwise.
        run: Folder of this retraining.
        after_s: Last event that the champion was trained on, UTC seconds.

    Raises:
        NotEnoughData: Hardly anything happened since.
    """
    log, _ = load_features(features)
    folds = later_folds(log, settings, after_s)
    write_settings(run, settings)
    return save_folds(folds, run / "frozen_folds.json")


def later_folds(log: EventLog, settings: TrainSettings, after_s: int) -> Folds:
    """Cut a log so that the holdout is later than an instant.

    Args:
        log: All events.
        settings: How time is cut otherwise.
        after_s: Last event that the champion was trained on, UTC seconds.

    Raises:
        NotEnoughData: Hardly anything happened since.
    """
    known = float(np.count_nonzero(log.occurred_s <= after_s) / max(1, len(log) - 1))
    if known > LATEST:
        raise NotEnoughData(
            "Too little happened since the champion's training to judge a challenger on",
            received=f"{100 * known:.1f} % of the events are not later",
            way_out="Wait for more events",
        )
    start = max(settings.folds.holdout_quantile, known)
    told = settings.folds.model_dump() | {"k": 1, "holdout_quantile": start}
    return rolling_origin(log, FoldsConfig.model_validate(told | {"min_train_share": start / 2}))


def n_new_training_events(log: EventLog, folds: Folds, after_s: int) -> int:
    """Events that a retraining would train on and the champion was not.

    They are later than the champion's training and earlier than the holdout; the newest
    ones judge, and teach the next retraining.

    Args:
        log: All events.
        folds: What ``later_folds`` gave.
        after_s: Last event that the champion was trained on, UTC seconds.
    """
    teaches = (log.occurred_s > after_s) & (log.occurred_s < folds.holdout.train_end_s)
    return int(np.count_nonzero(teaches))


def trained_parameters(run: Path, settings: TrainSettings) -> dict[str, Any]:
    """The parameters that a training chose; the settings' own if it left none.

    Args:
        run: Folder of the champion's training.
        settings: Where its search started.
    """
    for step in PARAMETERS:
        found = step_result(run, step)
        if found is not None:
            columns = step_result(run, "select_columns") or {}
            kept = {"context": columns["kept"]} if columns else {}
            return {**found["params"], **kept}
    return starting_point(settings)


def cold_start_reason(now: Catalog, earlier: Path, trained: Path) -> str:
    """Why a network should not learn on over a newer catalogue; "" if it can.

    What it learned of an item or a category goes along by id. New ones start as the mean
    of the others, which is no start where they are many.

    Args:
        now: The newer catalogue.
        earlier: The snapshot that it was trained on.
        trained: File of the trained model.
    """
    if not trained.is_file() or not earlier.is_dir():
        return "its trained network or its data are not kept here any more"
    try:
        _, then = load_features(earlier)
    except SourceError as error:
        return f"the data that it was trained on are damaged: {error.what}"
    many = [_many(getattr(now, name), getattr(then, name), name) for name in _LEARNED]
    return ", ".join(filter(None, many)) or _unreadable(trained, then)


def warm_start(features: Path, run: Path, trained: Path, earlier: Path) -> str:
    """One warm pass over what came since, up to the holdout; keeps the model.

    Args:
        features: Feature snapshot; its catalogue may have grown.
        run: Folder of this retraining, with its folds.
        trained: The champion's network.
        earlier: The snapshot that it was trained on.

    Returns:
        Path of the file that ``ChronotopeRecommender.load`` reads.

    Raises:
        ArtifactError: The network is missing, damaged or of another catalogue.
    """
    log, catalog = load_features(features)
    if not trained.is_file():
        raise ArtifactError("The champion's network is missing", received=trained)
    model = ChronotopeRecommender.load(trained, load_features(earlier)[1])
    model.adopt(log, catalog)
    model.update(log.before(frozen_folds(run).holdout.train_end_s))
    path = run / "model.pt"
    model.save(path)
    return str(path)


_LEARNED: Final = ("items", "categories")
"""Ids that a network may have learned a row each of."""


def _unreadable(trained: Path, then: Catalog) -> str:
    """What keeps a network from being read; "" if nothing does."""
    try:
        ChronotopeRecommender.load(trained, then)
    except ArtifactError:
        return "its trained network is damaged, or has a shape that this version does not build"
    return ""


def _many(now: IdMap, then: IdMap, name: str) -> str:
    """How many ids are new, if they are more than may join a network; else ""."""
    n_new, n_all = int((then.index(now.ids) == 0).sum()), len(now.ids)
    return f"{n_new:,} of {n_all:,} {name} are new" if n_new > MOST_NEW * n_all else ""
