"""Links between Prefect flow runs and MLflow runs."""

import os
from pathlib import Path
from typing import Final

from prefect import task
from prefect.artifacts import create_link_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from chronotope.pipelines.results import RegisteredVersion
from chronotope.registry.run_links import link_run
from chronotope.runtime.workspace import Workspace

MLFLOW_UI: Final = "CHRONOTOPE_MLFLOW_UI"
"""Environment variable with the address of the MLflow UI; ``chronotope up`` sets it."""

DEFAULT_UI: Final = "http://127.0.0.1:5000"


@task(cache_policy=NO_CACHE, result_serializer="json")
def link_runs(root: Path, registered: RegisteredVersion) -> str:
    """Link this flow run and the MLflow run of a registered version to each other.

    Args:
        root: Project root.
        registered: The registered version.

    Returns:
        URL of the MLflow run.
    """
    run_url = mlflow_run_url(Workspace(root), registered.run_id)
    create_link_artifact(
        run_url,
        link_text="MLflow run",
        key=f"train-{registered.name.replace('_', '-')}-mlflow",
        description=f"Version {registered.version} in MLflow: metrics, parameters, report",
    )
    return run_url


def mlflow_run_url(workspace: Workspace, run_id: str) -> str:
    """Tag an MLflow run with the URL of this flow run; returns the URL of the MLflow run.

    Args:
        workspace: Folders of the project.
        run_id: Id of the MLflow run.
    """
    fragment = link_run(workspace, run_id, str(flow_run.ui_url or ""))
    return f"{os.environ.get(MLFLOW_UI, DEFAULT_UI)}/{fragment}"
