"""Links between MLflow runs and the flow runs that created them."""

from typing import Final

from chronotope.registry.mlflow_store import open_store
from chronotope.runtime.workspace import Workspace

MADE_BY: Final = "made_by"
"""Tag of an MLflow run with the URL of the flow run that created it."""


def link_run(workspace: Workspace, run_id: str, flow_run_url: str) -> str:
    """Tag an MLflow run with the URL of its flow run; returns the run's path in MLflow's UI.

    Args:
        workspace: Folders of the installation.
        run_id: Id of the MLflow run.
        flow_run_url: URL of the flow run; "" sets no tag.

    Returns:
        Path of the run's page in the MLflow UI, without the host.
    """
    mlflow_client = open_store(workspace.mlruns).client
    if flow_run_url:
        mlflow_client.set_tag(run_id, MADE_BY, flow_run_url)
    return f"#/experiments/{mlflow_client.get_run(run_id).info.experiment_id}/runs/{run_id}"
