"""Shadow worker: thread that computes the lists of shadow arms after the response was sent."""

import logging
from collections.abc import Callable
from queue import Full, Queue
from threading import Thread
from typing import NamedTuple

from chronotope.serving.api.requests import RecommendRequest
from chronotope.serving.model.arms import ArmAssignment
from chronotope.serving.telemetry import Telemetry

_LOG = logging.getLogger(__name__)


class ShadowTask(NamedTuple):
    """Request to a shadow arm.

    Attributes:
        recommend_request: The request, with its request time.
        shadow: The shadow arm.
        answer_id: Id of the list that the user got.
    """

    recommend_request: RecommendRequest
    shadow: ArmAssignment
    answer_id: str


class ShadowWorker:
    """Bounded queue and thread; tasks past the bound are counted and dropped."""

    def __init__(
        self,
        run_shadow: Callable[[ShadowTask], None],
        telemetry: Telemetry,
        *,
        max_queue: int = 1000,
    ) -> None:
        """Create an empty queue; ``start`` starts the thread.

        Args:
            run_shadow: Computes and logs a list.
            telemetry: Metrics of tasks done, failed and dropped.
            max_queue: Tasks that may wait.
        """
        self._run_shadow, self._task_counter = run_shadow, telemetry.shadow_answers
        self._queue: Queue[ShadowTask | None] = Queue(max_queue)
        self._thread = Thread(target=self._run, name="shadows", daemon=True)

    def put(self, task: ShadowTask) -> None:
        """Queue a task, or drop it if the queue is full."""
        try:
            self._queue.put_nowait(task)
        except Full:
            self._count(task, "dropped")

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Finish queued tasks and stop the thread."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (task := self._queue.get()) is not None:
            try:
                self._run_shadow(task)
            except Exception as error:  # one failed task must not stop the thread
                _LOG.warning("A shadow arm failed: %s", type(error).__name__)
                self._count(task, "failed")
            else:
                self._count(task, "done")

    def _count(self, task: ShadowTask, result: str) -> None:
        if task.shadow.arm is not None:
            self._task_counter.labels(task.shadow.arm.name, result).inc()
