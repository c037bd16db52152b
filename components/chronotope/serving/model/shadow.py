"""Answers of shadows, behind the answer's back: it never waits for them, nor fails with them."""

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
    """A question that a shadow answers too.

    Attributes:
        question: With its moment.
        shadow: Who answers unseen.
        answer_id: Of the answer that was returned.
    """

    question: RecommendRequest
    shadow: ArmAssignment
    answer_id: str


class ShadowWorker:
    """A thread that lets shadows answer; those for which there is no room are counted."""

    def __init__(
        self, answer: Callable[[ShadowTask], None], telemetry: Telemetry, *, waiting: int = 1000
    ) -> None:
        """Hold an empty queue; ``start`` begins.

        Args:
            answer: Answers and logs.
            telemetry: Counts what was done, failed and dropped.
            waiting: Questions that may wait.
        """
        self._answer, self._counter = answer, telemetry.shadows
        self._queue: Queue[ShadowTask | None] = Queue(waiting)
        self._thread = Thread(target=self._run, name="shadows", daemon=True)

    def put(self, task: ShadowTask) -> None:
        """Let a shadow answer soon."""
        try:
            self._queue.put_nowait(task)
        except Full:
            self._count(task, "dropped")

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def stop(self) -> None:
        """Answer what is waiting, and end."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (task := self._queue.get()) is not None:
            try:
                self._answer(task)
            except Exception as error:  # whatever a shadow does, the next one is asked
                _LOG.warning("A shadow did not answer: %s", type(error).__name__)
                self._count(task, "failed")
            else:
                self._count(task, "done")

    def _count(self, task: ShadowTask, result: str) -> None:
        if task.shadow.arm is not None:
            self._counter.labels(task.shadow.arm.name, result).inc()
