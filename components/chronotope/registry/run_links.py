"""Tie a run of the store to the run that made it, wherever that is shown."""

from typing import Final

from chronotope.registry.mlflow_store import open_store
from chronotope.runtime.workspace import Workspace

MADE_BY: Final = "made_by"
"""Tag of an MLflow run with the address of the run that made it."""


def link_run(workspace: Workspace, run_id: str, flow_run_url: str) -> str:
    """Tag a run with the address of its maker; returns where the store's UI shows the run.

    Args:
        workspace: Where the store lies.
        run_id: The run in the store.
        flow_run_url: Where its maker is shown; "" leaves the tag out.

    Returns:
        The part of the address behind the host, as the UI of MLflow spells it.
    """
    mlflow_client = open_store(workspace.mlruns).client
    if flow_run_url:
        mlflow_client.set_tag(run_id, MADE_BY, flow_run_url)
    return f"#/experiments/{mlflow_client.get_run(run_id).info.experiment_id}/runs/{run_id}"
