"""What runs, in which order and when: Prefect and nothing else."""

from collections.abc import Iterator
from contextlib import contextmanager

from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings


@contextmanager
def without_heartbeat() -> Iterator[None]:
    """Run flows by hand: nobody waits for their heartbeats, whose thread costs a second each.

    Deployed flows keep theirs, so that a killed one is found.
    """
    with temporary_settings({PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}):
        yield
