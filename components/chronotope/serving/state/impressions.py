"""Logs what was shown, behind the answer's back: an answer never waits for the disk."""

import logging
from collections import deque
from collections.abc import Callable
from threading import Event, Thread

from chronotope.contracts.errors import ChronotopeError
from chronotope.lake import Interaction, InteractionLog

_LOG = logging.getLogger(__name__)
_BATCH = 500
_GATHER_S = 0.05  # between two writes: a thread that woke at each answer would cost it time


class ImpressionWriter:
    """A thread that appends answers in batches; those it cannot keep are counted."""

    def __init__(
        self, log: InteractionLog, lost: Callable[[int], None], *, waiting: int = 10_000
    ) -> None:
        """Hold nothing; ``start`` begins.

        Args:
            log: Where to.
            lost: Called with how many could not be logged.
            waiting: Answers that may wait.
        """
        self._log, self._lost, self._most = log, lost, waiting
        self._waiting: deque[Interaction] = deque()
        self._some, self._ended = Event(), Event()
        self._thread = Thread(target=self._run, name="impressions", daemon=True)

    def put(self, impression: Interaction) -> None:
        """Log an answer soon."""
        if len(self._waiting) >= self._most:
            self._lost(1)
            return
        self._waiting.append(impression)
        if not self._some.is_set():
            self._some.set()

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is waiting, and end."""
        self._ended.set()
        self._some.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._ended.is_set():
            self._some.wait()
            self._ended.wait(_GATHER_S)
            self._some.clear()  # before taking: what comes now sets it again
            self._write_all()
        self._write_all()  # what came just before the end

    def _write_all(self) -> None:
        while self._waiting:
            n = min(_BATCH, len(self._waiting))
            self._write([self._waiting.popleft() for _ in range(n)])

    def _write(self, batch: list[Interaction]) -> None:
        try:
            self._log.append(batch)
        except ChronotopeError as error:
            _LOG.warning("%d answers could not be logged: %s", len(batch), error)
            self._lost(len(batch))
