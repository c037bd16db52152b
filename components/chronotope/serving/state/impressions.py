"""Impression writer: thread that logs shown lists in batches, so no response waits for the disk."""

import logging
from collections import deque
from collections.abc import Callable
from threading import Event, Thread

from chronotope.contracts.errors import ChronotopeError
from chronotope.lake import Interaction, InteractionLog

_LOG = logging.getLogger(__name__)
_MAX_BATCH = 500
_BATCH_INTERVAL_S = 0.05  # a thread that woke at each response would slow responses down


class ImpressionWriter:
    """Bounded queue and thread; impressions that cannot be logged are counted."""

    def __init__(
        self,
        interaction_log: InteractionLog,
        count_lost: Callable[[int], None],
        *,
        resolution_min: Callable[[], int | None] = lambda: None,
        max_queue: int = 10_000,
    ) -> None:
        """Create an empty queue; ``start`` starts the thread.

        Args:
            interaction_log: Log that impressions are appended to.
            count_lost: Called with the number of lost impressions.
            resolution_min: Minutes to which times of arrival are rounded down; None stores them.
            max_queue: Maximum number of queued impressions.
        """
        self._interaction_log, self._count_lost = interaction_log, count_lost
        self._resolution_min, self._max_queue = resolution_min, max_queue
        self._queue: deque[Interaction] = deque()
        self._has_work, self._is_stopping = Event(), Event()
        self._thread = Thread(target=self._run, name="impressions", daemon=True)

    def put(self, impression: Interaction) -> None:
        """Queue an impression, or count it as lost if the queue is full."""
        if len(self._queue) >= self._max_queue:
            self._count_lost(1)
            return
        self._queue.append(impression)
        if not self._has_work.is_set():
            self._has_work.set()

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Write queued impressions and stop the thread."""
        self._is_stopping.set()
        self._has_work.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._is_stopping.is_set():
            self._has_work.wait()
            self._is_stopping.wait(_BATCH_INTERVAL_S)
            self._has_work.clear()  # before the write: later impressions set it again
            self._write_queue()
        self._write_queue()  # impressions queued just before the stop

    def _write_queue(self) -> None:
        while self._queue:
            batch_size = min(_MAX_BATCH, len(self._queue))
            self._write_batch([self._queue.popleft() for _ in range(batch_size)])

    def _write_batch(self, impressions: list[Interaction]) -> None:
        try:
            self._interaction_log.append(impressions, resolution_min=self._resolution_min())
        except ChronotopeError as error:
            _LOG.warning("%d impressions could not be logged: %s", len(impressions), error)
            self._count_lost(len(impressions))
