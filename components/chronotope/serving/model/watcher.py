"""The champion that answers now, and the thread that looks for a better one."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Lock, Thread

from chronotope.contracts.data_version import EVENTS, DataVersion
from chronotope.contracts.errors import ChronotopeError, StoreError
from chronotope.lake import Lake
from chronotope.lake.version_poller import VersionPoller
from chronotope.registry.champion import Champion, journal_champion_version, load_champion
from chronotope.runtime.workspace import Workspace
from chronotope.serving.model.bundle_check import BundleCheck
from chronotope.serving.model.loaded import LoadedChampion, lake_version
from chronotope.serving.settings import ServeSettings
from chronotope.serving.state.event_store import EventStore
from chronotope.serving.telemetry import Telemetry

_LOG = logging.getLogger(__name__)


class ChampionWatcher:
    """Holds the open champion; replaces it whole, or keeps it when anything fails."""

    def __init__(
        self,
        settings: ServeSettings,
        telemetry: Telemetry,
        *,
        load: Callable[[Path, str], Champion] = load_champion,
        reigning: Callable[[Path, str], str | None] = journal_champion_version,
        every_poll: Callable[[], None] = lambda: None,
        after_look: Callable[[LoadedChampion | None], None] = lambda _: None,
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
        self._tables = VersionPoller(Lake(Workspace(settings.root).lake(settings.dataset)))
        self._opened: LoadedChampion | None = None
        self._failed: tuple[tuple[str, str], float] | None = None
        self._swap_problem: str | None = None
        self._file_problem: str | None = None
        self._check = BundleCheck()
        self._stop, self._looking = Event(), Lock()
        self._thread = Thread(target=self._run, name="watcher", daemon=True)

    @property
    def opened_or_none(self) -> LoadedChampion | None:
        """The champion that answers now, if there is one."""
        return self._opened

    @property
    def problem(self) -> str | None:
        """Why a newer champion or newer data are not taken over, or the files are damaged.

        Without paths, which the log tells: states are answered without a key.
        """
        return self._swap_problem or self._file_problem

    @property
    def opened(self) -> LoadedChampion:
        """The champion that answers now.

        Raises:
            StoreError: There is none yet.
        """
        opened = self._opened
        if opened is None:
            raise StoreError(
                f"Dataset {self._settings.dataset!r} has no champion that answers yet",
                received=self.problem,
                way_out="Train a model, or look for the reason in the service's log",
            )
        return opened

    def look(self) -> bool:
        """Look once for a new champion or new data; whether something was taken over."""
        with self._looking:
            taken = self._look()
            if self._opened is not None:
                self._note_damage(self._opened.champion)
            self._after_look(self._opened)
            return taken

    def try_to_look(self) -> None:
        """Look once; what fails is logged, and tried again at the next look."""
        try:
            self._every_poll()
            self.look()
        except Exception as error:  # a watcher that dies watches no more
            _LOG.warning("Looking for a champion failed: %s", error)
            self._swap_problem = f"Looking for a champion failed: {_brief(error)}"

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

    def _note_damage(self, champion: Champion) -> None:
        error, problem = self._check.problem(champion), None
        if error is not None:
            problem = f"Version {champion.version} answers from memory: {_brief(error)}"
            if problem != self._file_problem:
                _LOG.warning("Version %s answers from memory: %s", champion.version, error)
        self._file_problem = problem

    def _look(self) -> bool:
        root, dataset = self._settings.root, self._settings.dataset
        version, data = self._reigning(root, dataset), lake_version(self._tables)
        if version is None:
            self._swap_problem = None
            return False
        wanted = (version, str(data))
        if self._opened and self._opened.key == wanted:
            self._swap_problem = None
            return False
        if self._failed and self._failed[0] == wanted and time.monotonic() < self._failed[1]:
            return False
        try:
            opened = self._open(version, data, self._tables.lake)
        except Exception as error:
            self._refuse(wanted, error)
            return False
        self._take_over(opened)
        return True

    def _refuse(self, wanted: tuple[str, str], error: Exception) -> None:
        refusal = f"Version {wanted[0]} cannot answer and is not taken over"
        _LOG.warning("%s: %s", refusal, error)
        self._swap_problem = f"{refusal}: {_brief(error)}"
        self._telemetry.swaps.labels("failed").inc()
        self._failed = (wanted, time.monotonic() + self._settings.retry_s)

    def _take_over(self, opened: LoadedChampion) -> None:
        if self._opened is not None:
            self._telemetry.version.labels(self._opened.champion.version).set(0)
        self._opened, self._failed, self._swap_problem = opened, None, None
        self._telemetry.swaps.labels("done").inc()
        self._telemetry.version.labels(opened.champion.version).set(1)
        _LOG.info("Version %s answers, over %s", *opened.key)

    def _open(self, version: str, data: DataVersion, lake: Lake) -> LoadedChampion:
        now, root = self._opened, self._settings.root
        same = now is not None and now.champion.version == version
        champion = now.champion if now and same else self._load(root, self._settings.dataset)
        fresh = now is not None and now.histories.version == lake.table_version(EVENTS)
        histories = now.histories if now and fresh else EventStore.read(lake)
        return LoadedChampion.over(champion, root, histories, data)


def _brief(error: Exception) -> str:
    return error.what if isinstance(error, ChronotopeError) else type(error).__name__
