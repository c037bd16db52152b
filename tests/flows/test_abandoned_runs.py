"""Runs of a runner that was killed do not hold the place of the next one."""

from pathlib import Path

import pytest
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun
from prefect.states import Completed, Pending, Running

from chronotope.pipelines.settings import TrainSettings
from flows.abandoned_runs import end_abandoned_runs
from flows.deployments import deployments
from flows.ingest_events import IngestSettings

pytestmark = pytest.mark.usefixtures("prefect")


def deploy(dataset: str, root: Path) -> str:
    """Register the first deployment of a dataset; returns its id."""
    settings = {"training": TrainSettings(root=root), "ingestion": IngestSettings(root=root)}
    first = deployments("conf/datasets/cafe.yaml", dataset, **settings)[0]
    return str(first.apply())


def state_of(client: SyncPrefectClient, run: FlowRun) -> str:
    return str(client.read_flow_run(run.id).state_name)


def test_unfinished_runs_of_the_dataset_are_crashed_and_no_others(tmp_path: Path) -> None:
    ours, other = deploy("abandoned_cafe", tmp_path), deploy("busy_cafe", tmp_path)
    with get_client(sync_client=True) as client:
        running, finished, foreign = (
            client.create_flow_run_from_deployment(deployment) for deployment in (ours, ours, other)
        )
        for run in (running, finished, foreign):
            client.set_flow_run_state(run.id, Pending(), force=True)
            client.set_flow_run_state(run.id, Running(), force=True)
        client.set_flow_run_state(finished.id, Completed(), force=True)
        assert end_abandoned_runs("abandoned_cafe") == 1
        assert [state_of(client, run) for run in (running, finished, foreign)] == [
            "Crashed",
            "Completed",
            "Running",
        ]
    assert end_abandoned_runs("abandoned_cafe") == 0
