"""From a run in Prefect to its run in MLflow, and back."""

import os
from pathlib import Path
from typing import Any, Final

from prefect import task
from prefect.artifacts import create_link_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from chronotope.registry.run_links import link_run
from chronotope.runtime.workspace import Workspace

MLFLOW_UI: Final = "CHRONOTOPE_MLFLOW_UI"
"""Environment variable with the address of the MLflow UI; ``chronotope up`` sets it."""

DEFAULT_UI: Final = "http://127.0.0.1:5000"


@task(cache_policy=NO_CACHE, result_serializer="json")
def link_runs(root: Path, promoted: dict[str, Any]) -> str:
    """Link both runs; returns the address in MLflow.

    Args:
        root: Project root.
        promoted: What ``promote_bundle`` returned.
    """
    shown = link_run(Workspace(root), promoted["run_id"], str(flow_run.ui_url or ""))
    address = f"{os.environ.get(MLFLOW_UI, DEFAULT_UI)}/{shown}"
    key = f"train-{promoted['name'].replace('_', '-')}-mlflow"
    about = f"Version {promoted['version']} in MLflow: metrics, parameters, report"
    create_link_artifact(address, link_text="MLflow run", key=key, description=about)
    return address
