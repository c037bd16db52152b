"""Logs what was shown, behind the answer's back: an answer never waits for the disk."""

import logging
from collections.abc import Callable
from queue import Empty, Full, Queue
from threading import Thread

from chronotope.contracts.errors import ChronotopeError
from chronotope.lake import Interaction, InteractionLog

_LOG = logging.getLogger(__name__)
_BATCH = 500


class ImpressionWriter:
    """A thread that appends answers in batches; those it cannot keep are counted."""

    def __init__(
        self, log: InteractionLog, lost: Callable[[int], None], *, waiting: int = 10_000
    ) -> None:
        """Hold an empty queue; ``start`` begins.

        Args:
            log: Where to.
            lost: Called with how many could not be logged.
            waiting: Answers that may wait.
        """
        self._log, self._lost = log, lost
        self._queue: Queue[Interaction | None] = Queue(waiting)
        self._thread = Thread(target=self._run, name="impressions", daemon=True)

    def put(self, impression: Interaction) -> None:
        """Log an answer soon."""
        try:
            self._queue.put_nowait(impression)
        except Full:
            self._lost(1)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is waiting, and end."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch, ended = self._batch(first)
            try:
                self._log.append(batch)
            except ChronotopeError as error:
                _LOG.warning("%d answers could not be logged: %s", len(batch), error)
                self._lost(len(batch))
            if ended:
                return

    def _batch(self, first: Interaction) -> tuple[list[Interaction], bool]:
        batch = [first]
        while len(batch) < _BATCH:
            try:
                found = self._queue.get(timeout=0.05)
            except Empty:
                break
            if found is None:
                return batch, True
            batch.append(found)
        return batch, False
