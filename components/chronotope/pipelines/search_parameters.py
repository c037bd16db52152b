"""Hyper-parameter search as a step: trials and folds are nested runs in MLflow."""

from contextlib import AbstractContextManager
from pathlib import Path

from chronotope.contracts.protocols import Tracker
from chronotope.pipelines.results import SearchResult
from chronotope.pipelines.run_dir import lineage
from chronotope.pipelines.search import run_search
from chronotope.pipelines.settings import TrainSettings
from chronotope.registry.mlflow_store import RunTracker, open_store


def search_parameters(features: Path, settings: TrainSettings, run_dir: Path) -> SearchResult:
    """Search; every trial and fold is an MLflow run nested in the study's run.

    Args:
        features: Feature snapshot.
        settings: Budget and configs.
        run_dir: Folder of this training, with the frozen folds.
    """
    store, dataset = open_store(settings.workspace.mlruns), run_dir.parent.name
    tags = {"dataset": dataset, **lineage(features, settings, run_dir)}

    def open_tracker(run_name: str, parent: Tracker | None) -> AbstractContextManager[RunTracker]:
        if parent is None:
            return store.run(dataset, f"search {run_name}", tags=tags)
        return store.run(dataset, run_name, parent=parent)

    return run_search(features, settings, run_dir, open_tracker)
