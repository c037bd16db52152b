"""Search hyper-parameters over frozen folds of later time, tracked by MLflow."""

from pathlib import Path
from typing import Any

from chronotope.registry.store import open_store
from chronotope.steps.search import search
from chronotope.steps.settings import TrainSettings


def tune_parameters(features: Path, settings: TrainSettings, run: Path) -> dict[str, Any]:
    """Search, every trial and fold an MLflow run nested in the study's.

    Args:
        features: Feature snapshot.
        settings: Budget and configs.
        run: Folder of this training; holds the frozen folds.

    Returns:
        ``params`` and ``value`` of the best trial, JSON-able.
    """
    store = open_store(settings.workspace.mlruns)
    return search(
        features,
        settings,
        run,
        lambda name, parent: store.run("tuning", name, parent=parent),
    )
