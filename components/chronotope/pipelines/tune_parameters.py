"""Search hyper-parameters over frozen folds of later time, tracked by MLflow."""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from chronotope.contracts.protocols import Tracker
from chronotope.pipelines.run_dir import lineage
from chronotope.pipelines.search import search_parameters
from chronotope.pipelines.settings import TrainSettings
from chronotope.registry.mlflow_store import RunTracker, open_store


def tune_parameters(features: Path, settings: TrainSettings, run: Path) -> dict[str, Any]:
    """Search, every trial and fold an MLflow run nested in the study's.

    Args:
        features: Feature snapshot.
        settings: Budget and configs.
        run: Folder of this training; holds the frozen folds.

    Returns:
        ``params`` and ``value`` of the best trial, JSON-able.
    """
    store, dataset = open_store(settings.workspace.mlruns), run.parent.name
    tags = {"dataset": dataset, **lineage(features, settings, run)}

    def opened(run_name: str, parent: Tracker | None) -> AbstractContextManager[RunTracker]:
        if parent is None:
            return store.run(dataset, f"search {run_name}", tags=tags)
        return store.run(dataset, run_name, parent=parent)

    return search_parameters(features, settings, run, opened)
