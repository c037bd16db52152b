"""Flow runs whose process died: marked as crashed, so that they hold no concurrency slot.

A runner that is killed cannot say so: its runs stay RUNNING, and a deployment that runs one flow
at a time would wait for them. Prefect's server does not end them by itself.
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

    Call it only where no other runner executes these deployments, before the own one serves.

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
            crash_message = "Its process died before it could report a state; run it again"
            api_client.set_flow_run_state(flow_run.id, Crashed(message=crash_message))
    return len(abandoned_runs)
