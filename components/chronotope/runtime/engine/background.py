"""A task on a core that is idle meanwhile, in a process of its own."""

import multiprocessing
import os
from collections.abc import Callable

from chronotope.runtime.engine.process_engine import n_cores, prepare_worker

_NICENESS = 5
"""Lower priority: the task must not delay what this process does."""


def start_in_background(task: Callable[[], None]) -> None:
    """Start a task and return; it ends with this process at the latest, ``kill -9`` included.

    Nothing is started on a machine with one core.

    Args:
        task: Function without arguments that another process can import.
    """
    if n_cores() == 1:
        return
    spawn_context = multiprocessing.get_context("spawn")  # this process may have threads
    spawn_context.Process(target=_run, args=(task,), daemon=True).start()


def _run(task: Callable[[], None]) -> None:
    prepare_worker(1)
    os.nice(_NICENESS)
    task()
