"""What runs, in which order and when: Prefect and nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager

from prefect import get_run_logger
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from chronotope.runtime.dataset_lock import dataset_lock
from chronotope.runtime.workspace import Workspace


@contextmanager
def without_heartbeat() -> Iterator[None]:
    """Run flows by hand: nobody waits for their heartbeats, whose thread costs a second each.

    Deployed flows keep theirs, so that a killed one is found.
    """
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


@contextmanager
def dataset_lock_in_flow(workspace: Workspace, dataset: str) -> Iterator[None]:
    """Hold a dataset's lock inside a flow; a run that has to wait says so in its log.

    Args:
        workspace: Where the dataset's files lie.
        dataset: Its name.
    """

    def waits() -> None:
        get_run_logger().info("Waiting for another run on %s", dataset)

    with dataset_lock(workspace, dataset, on_wait=waits):
        yield
