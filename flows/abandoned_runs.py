"""Clean-up of flow runs whose process died: they are marked as crashed.

A killed runner cannot report the end of its runs: they stay RUNNING and occupy the concurrency
slot of their deployment, so that later runs wait for ever. Prefect's server does not end them.
"""

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterTags,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import StateType
from prefect.states import Crashed

_UNFINISHED = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]


def end_abandoned_runs(dataset: str) -> int:
    """Mark the unfinished runs of a dataset's deployments as crashed.

    Call it before this process serves the deployments, and only if no other runner does.

    Args:
        dataset: Name of the dataset.

    Returns:
        Number of runs that were marked.
    """
    unfinished_state = FlowRunFilterState(type=FlowRunFilterStateType(any_=_UNFINISHED))
    with get_client(sync_client=True) as api_client:
        abandoned_runs = api_client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=unfinished_state),
            deployment_filter=DeploymentFilter(
                tags=DeploymentFilterTags(all_=["chronotope", dataset])
            ),
        )
        for flow_run in abandoned_runs:
            crash_message = "The process of this run died; start the run again"
            api_client.set_flow_run_state(flow_run.id, Crashed(message=crash_message))
    return len(abandoned_runs)
