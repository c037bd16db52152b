"""Task engine with worker processes on this machine."""

import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from chronotope.contracts.errors import EngineError
from chronotope.runtime.engine.config import EngineConfig

_LEAVE_S: Final = 2.0
"""Time for workers to end by themselves."""

Item = TypeVar("Item")
Result = TypeVar("Result")


class ProcessEngine:
    """Parallel task engine with a fixed number of worker processes.

    Workers are spawned, not forked, because this process may have threads. They start with the
    first task, import what it needs once, and end when this process ends, ``kill -9`` included.
    """

    in_process = False

    def __init__(self, n_workers: int, max_retries: int) -> None:
        """Set the sizes; no process is started yet.

        Args:
            n_workers: Number of worker processes.
            max_retries: Retries of tasks that were lost with a worker.
        """
        self._n_workers, self._max_retries = n_workers, max_retries
        self._pool: ProcessPoolExecutor | None = None

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Results in the order of the items; a bounded number of tasks is submitted ahead."""
        pending_tasks: deque[_PendingTask] = deque()
        try:
            for item in items:
                pending_tasks.append(_PendingTask(function, item, self._submit(function, item)))
                if len(pending_tasks) >= 2 * self._n_workers:
                    yield self._next_result(pending_tasks)
            while pending_tasks:
                yield self._next_result(pending_tasks)
        finally:  # after an error, or if the caller stops early
            for pending_task in pending_tasks:
                pending_task.future.cancel()

    def close(self) -> None:
        """Stop the workers; tasks that still run after ``_LEAVE_S`` are ended."""
        if self._pool is None:
            return
        worker_processes = list((self._pool._processes or {}).values())  # no public way
        self._pool.shutdown(wait=False, cancel_futures=True)
        deadline = time.monotonic() + _LEAVE_S
        for worker_process in worker_processes:
            # An idle worker ends by itself, and gives back the semaphores of its libraries.
            worker_process.join(max(0.0, deadline - time.monotonic()))
            worker_process.kill()
            worker_process.join()
        self._pool = None

    def _submit(self, function: Callable[[Any], Any], item: Any) -> "Future[Any]":
        if self._pool is None:
            self._pool = ProcessPoolExecutor(
                self._n_workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=prepare_worker,
                initargs=(max(1, n_cores() // self._n_workers),),
            )
        try:
            return self._pool.submit(function, item)
        except BrokenProcessPool as error:  # a worker died since the last submission
            lost_future: Future[Any] = Future()
            lost_future.set_exception(error)
            return lost_future

    def _next_result(self, pending_tasks: "deque[_PendingTask]") -> Any:
        """Result of the first task; after the loss of a worker, lost tasks are submitted again."""
        for n_losses in range(self._max_retries + 1):
            try:
                result = pending_tasks[0].future.result()
            except BrokenProcessPool as error:
                self.close()
                if n_losses == self._max_retries:
                    raise EngineError(
                        "A task was lost more often than max_retries allows",
                        received=error,
                        way_out="Free memory, or set the engine to local",
                    ) from error
                for pending_task in pending_tasks:
                    if not pending_task.is_done:
                        pending_task.future = self._submit(pending_task.function, pending_task.item)
            else:
                pending_tasks.popleft()
                return result
        raise AssertionError  # the last round returns or raises


@dataclass(slots=True)
class _PendingTask:
    """A submitted task, with what it takes to submit it again."""

    function: Callable[[Any], Any]
    item: Any
    future: "Future[Any]"

    @property
    def is_done(self) -> bool:
        """Whether there is a result or an error of the task itself."""
        return (
            self.future.done()
            and not self.future.cancelled()
            and not isinstance(self.future.exception(), BrokenProcessPool)
        )


@contextmanager
def process_workers(config: EngineConfig) -> Iterator[ProcessEngine]:
    """Context manager of an engine; its workers are stopped after the block.

    Args:
        config: Settings of the engine; ``n_workers`` 0 stands for one worker per core.
    """
    engine = ProcessEngine(config.n_workers or n_cores(), config.max_retries)
    try:
        yield engine
    finally:
        engine.close()


def n_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def prepare_worker(n_threads: int) -> None:
    """Limit the threads of libraries that are imported later, and watch the parent process."""
    for variable_name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(variable_name, str(n_threads))
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the parent has died, since a killed process cannot end its workers."""
    parent_process = multiprocessing.parent_process()
    if parent_process is not None:
        parent_process.join()
        os._exit(1)
