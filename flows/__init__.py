"""Prefect flows: wiring of the steps, deployments, schedules and triggers.

Prefect takes a second to import, so the functions of this module import it: a private server
(``flows.private_server``) starts before that.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from chronotope.runtime.dataset_lock import dataset_lock
from chronotope.runtime.workspace import Workspace


@contextmanager
def without_heartbeat() -> Iterator[None]:
    """Run flows without heartbeats, whose thread costs a second per run.

    Deployed flows send heartbeats so that Prefect notices a killed run; flows that are started
    from the command line do not need them.
    """
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield


@contextmanager
def dataset_lock_in_flow(workspace: Workspace, dataset: str) -> Iterator[None]:
    """Hold a dataset's lock inside a flow; waiting for the lock is logged.

    Args:
        workspace: Folders of the project.
        dataset: Name of the dataset.
    """
    from prefect import get_run_logger

    def log_waiting() -> None:
        get_run_logger().info("Waiting for another run on %s", dataset)

    with dataset_lock(workspace, dataset, on_wait=log_waiting):
        yield
