"""The champion that answers now, and the thread that looks for a better one."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Lock, Thread

from chronotope.contracts.errors import StoreError
from chronotope.contracts.workspace import Workspace
from chronotope.lake import Lake
from chronotope.lake.following import Following
from chronotope.serving.histories import Histories
from chronotope.serving.opened import Opened, data_version
from chronotope.serving.settings import ServeSettings
from chronotope.serving.telemetry import Telemetry
from chronotope.steps.champion import Champion, load_champion, reigning_version

_LOG = logging.getLogger(__name__)


class Watcher:
    """Holds the open champion; replaces it whole, or keeps it when anything fails."""

    def __init__(
        self,
        settings: ServeSettings,
        telemetry: Telemetry,
        *,
        load: Callable[[Path, str], Champion] = load_champion,
        reigning: Callable[[Path, str], str | None] = reigning_version,
        every_poll: Callable[[], None] = lambda: None,
        after_look: Callable[[Opened | None], None] = lambda _: None,
    ) -> None:
        """Hold nothing yet; ``look`` or ``start`` opens the champion.

        Args:
            settings: Of the service.
            telemetry: Counts swaps.
            load: Opens the champion.
            reigning: Version of the champion.
            every_poll: Called at every look, for others that have to keep up.
            after_look: Called with the champion after every look, for others that follow it.
        """
        self._settings, self._telemetry = settings, telemetry
        self._load, self._reigning, self._every_poll = load, reigning, every_poll
        self._after_look = after_look
        self._tables = Following(Lake(Workspace(settings.root).lake(settings.dataset)))
        self._opened: Opened | None = None
        self._failed: tuple[tuple[str | None, str], float] | None = None
        self._stop, self._looking = Event(), Lock()
        self._thread = Thread(target=self._run, name="watcher", daemon=True)

    @property
    def opened_or_none(self) -> Opened | None:
        """The champion that answers now, if there is one."""
        return self._opened

    @property
    def opened(self) -> Opened:
        """The champion that answers now.

        Raises:
            StoreError: There is none yet.
        """
        opened = self._opened
        if opened is None:
            raise StoreError(
                f"Dataset {self._settings.dataset!r} has no champion that answers yet",
                way_out="Train a model, or look for the reason in the service's log",
            )
        return opened

    def look(self) -> bool:
        """Look once for a new champion or new data; whether something was taken over."""
        with self._looking:
            taken = self._look()
            self._after_look(self._opened)
            return taken

    def try_to_look(self) -> None:
        """Look once; what fails is logged, and tried again at the next look."""
        try:
            self._every_poll()
            self.look()
        except Exception as error:  # a watcher that dies watches no more
            _LOG.warning("Looking for a champion failed: %s", error)

    def start(self) -> None:
        """Look again and again, in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._settings.poll_s):
            self.try_to_look()

    def _look(self) -> bool:
        root, dataset = self._settings.root, self._settings.dataset
        wanted = (self._reigning(root, dataset), data_version(self._tables))
        if wanted[0] is None or (self._opened and self._opened.key == wanted):
            return False
        if self._failed and self._failed[0] == wanted and time.monotonic() < self._failed[1]:
            return False
        try:
            opened = self._open(wanted[0], wanted[1], self._tables.lake)
        except Exception as error:
            _LOG.warning("Version %s cannot answer and is not taken over: %s", wanted[0], error)
            self._telemetry.swaps.labels("failed").inc()
            self._failed = (wanted, time.monotonic() + self._settings.retry_s)
            return False
        if self._opened is not None:
            self._telemetry.version.labels(self._opened.champion.version).set(0)
        self._opened, self._failed = opened, None
        self._telemetry.swaps.labels("done").inc()
        self._telemetry.version.labels(opened.champion.version).set(1)
        _LOG.info("Version %s answers, over %s", *opened.key)
        return True

    def _open(self, version: str, data: str, lake: Lake) -> Opened:
        now, root = self._opened, self._settings.root
        same = now is not None and now.champion.version == version
        champion = now.champion if now and same else self._load(root, self._settings.dataset)
        fresh = now is not None and now.histories.version == lake.version("events")
        histories = now.histories if now and fresh else Histories.read(lake)
        return Opened.over(champion, root, histories, data)
