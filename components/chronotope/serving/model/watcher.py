"""Champion watcher: thread that polls for a new champion or new data and swaps them in."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Final

from chronotope.contracts.data_version import EVENTS, DataVersion
from chronotope.contracts.errors import ChronotopeError, StoreError
from chronotope.inference.new_items import NewItemReader
from chronotope.lake import Lake
from chronotope.lake.posted import PostedItemContext
from chronotope.lake.version_poller import VersionPoller
from chronotope.registry.champion import Champion, journal_champion_version, load_champion
from chronotope.runtime.workspace import Workspace
from chronotope.serving.model.bundle_check import BundleCheck
from chronotope.serving.model.loaded import LoadedChampion, read_data_version
from chronotope.serving.settings import ServeSettings
from chronotope.serving.state.event_store import EventStore
from chronotope.serving.telemetry import Telemetry

_LOG = logging.getLogger(__name__)

NEW_ITEMS_S: Final = 0.5
"""Seconds between looks for items that another worker received."""


class ChampionWatcher:
    """Holder of the loaded champion; replaces it as a whole, or not at all after an error."""

    def __init__(
        self,
        settings: ServeSettings,
        telemetry: Telemetry,
        *,
        load: Callable[[Path, str], Champion] = load_champion,
        champion_version: Callable[[Path, str], str | None] = journal_champion_version,
        before_poll: Callable[[], None] = lambda: None,
        after_poll: Callable[[LoadedChampion | None], None] = lambda _: None,
        after_attempt: Callable[[], None] = lambda: None,
        new_items: NewItemReader | None = None,
        excluded_ids: Callable[[], frozenset[str]] = frozenset,
        posted_context: PostedItemContext | None = None,
    ) -> None:
        """Start without a champion; ``poll`` or ``start`` loads it.

        Args:
            settings: Settings of the service.
            telemetry: Metrics.
            load: Loader of the champion.
            champion_version: Version of the current champion, None without one.
            before_poll: Called before every poll of the thread.
            after_poll: Called with the champion after every poll.
            after_attempt: Called after every poll of the thread, also after one that failed.
            new_items: Reader of the items that the champion does not know; None adds none.
            excluded_ids: Ids of events that are nobody's history, by their labels.
            posted_context: Open log of the posted item context, which all champions share.
        """
        self._excluded_ids = excluded_ids
        self._settings, self._telemetry = settings, telemetry
        self._load_champion, self._champion_version = load, champion_version
        self._before_poll, self._after_poll = before_poll, after_poll
        self._after_attempt, self._new_items = after_attempt, new_items
        self._posted_context = posted_context
        self._version_poller = VersionPoller(Lake(Workspace(settings.root).lake(settings.dataset)))
        self._loaded: LoadedChampion | None = None
        self._failed_attempt: tuple[tuple[str, str], float] | None = None
        self._swap_problem: str | None = None
        self._prepared_version: str | None = None
        self._file_problem: str | None = None
        self._bundle_check = BundleCheck()
        self._stop_event, self._wake_event, self._poll_lock = Event(), Event(), Lock()
        self._thread = Thread(target=self._run, name="watcher", daemon=True)

    @property
    def loaded_or_none(self) -> LoadedChampion | None:
        """The loaded champion, None before the first one."""
        return self._loaded

    @property
    def problem(self) -> str | None:
        """Error that keeps a newer champion or newer data out, or damage of the files.

        Without paths, which are in the log: health checks need no API key.
        """
        return self._swap_problem or self._file_problem

    @property
    def loaded_champion(self) -> LoadedChampion:
        """The loaded champion.

        Raises:
            StoreError: There is none yet.
        """
        loaded_champion = self._loaded
        if loaded_champion is None:
            raise StoreError(
                f"Dataset {self._settings.dataset!r} has no loaded champion yet",
                received=self.problem,
                way_out="Train a model, or read the service's log",
            )
        return loaded_champion

    def poll(self) -> bool:
        """Check once for a new champion or new data.

        Returns:
            Whether one was loaded.
        """
        with self._poll_lock:
            is_swapped = self._load_if_new()
            if self._loaded is not None:
                self._check_files(self._loaded.champion)
            self._after_poll(self._loaded)
            return is_swapped

    def try_poll(self) -> None:
        """Poll once; an error is logged, and the next poll tries again."""
        try:
            self._before_poll()
            self.poll()
        except Exception as error:  # the thread must survive any error
            _LOG.warning("Polling for a champion failed: %s", error)
            self._swap_problem = f"Polling for a champion failed: {_short_message(error)}"
        self._after_attempt()

    def start(self) -> None:
        """Start the polling thread."""
        self._thread.start()

    def wake(self) -> None:
        """Poll soon, since items were posted."""
        self._wake_event.set()

    def stop(self) -> None:
        """Stop the polling thread."""
        self._stop_event.set()
        self._wake_event.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        next_poll_s = time.monotonic() + self._settings.poll_s
        while not self._stop_event.is_set():
            self._prepare_new_items()
            self._wake_event.wait(min(self._settings.poll_s, NEW_ITEMS_S))
            self._wake_event.clear()
            is_due = time.monotonic() >= next_poll_s
            if not self._stop_event.is_set() and (is_due or self._has_new_items()):
                self.try_poll()
                next_poll_s = time.monotonic() + self._settings.poll_s

    def _has_new_items(self) -> bool:
        """Whether items were posted, by this worker or another one, that are not served yet."""
        try:
            return self._new_items is not None and self._new_items.is_behind()
        except ChronotopeError as error:
            _LOG.warning("Posted items cannot be read: %s", error)
            return False

    def _check_files(self, champion: Champion) -> None:
        error, problem_text = self._bundle_check.file_problem(champion), None
        if error is not None:
            problem_text = (
                f"Version {champion.version} is served from memory: {_short_message(error)}"
            )
            if problem_text != self._file_problem:
                _LOG.warning("Version %s is served from memory: %s", champion.version, error)
        self._file_problem = problem_text

    def _load_if_new(self) -> bool:
        root, dataset = self._settings.root, self._settings.dataset
        version = self._champion_version(root, dataset)
        data_version = read_data_version(self._version_poller)
        if version is None:
            self._swap_problem = None
            return False
        target = (version, str(data_version))
        if self._loaded and self._is_current(self._loaded, target):
            self._swap_problem = None
            return False
        if self._is_backing_off(target):
            return False
        try:
            loaded_champion = self._load(version, data_version, self._version_poller.lake)
        except Exception as error:
            self._record_failure(target, error)
            return False
        self._swap(loaded_champion)
        return True

    def _is_current(self, loaded_champion: LoadedChampion, target: tuple[str, str]) -> bool:
        has_same_labels = loaded_champion.event_store.excluded_ids == self._excluded_ids()
        return loaded_champion.target == target and has_same_labels and not self._has_new_items()

    def _prepare_new_items(self) -> None:
        """Open the encoders of a champion that was loaded, in the thread, after the swap."""
        if self._new_items is not None and self._loaded is not None:
            version = self._loaded.champion.version
            if self._settings.content is not None and version != self._prepared_version:
                self._prepared_version = version
                self._new_items.prepare(self._loaded.grown.trained)

    def _is_backing_off(self, target: tuple[str, str]) -> bool:
        if self._failed_attempt is None:
            return False
        failed_target, retry_at = self._failed_attempt
        return failed_target == target and time.monotonic() < retry_at

    def _record_failure(self, target: tuple[str, str], error: Exception) -> None:
        message = f"Version {target[0]} cannot be loaded"
        _LOG.warning("%s: %s", message, error)
        self._swap_problem = f"{message}: {_short_message(error)}"
        self._telemetry.swaps.labels("failed").inc()
        self._failed_attempt = (target, time.monotonic() + self._settings.retry_s)

    def _swap(self, loaded_champion: LoadedChampion) -> None:
        if self._loaded is not None:
            self._telemetry.champion_version.labels(self._loaded.champion.version).set(0)
        self._loaded, self._failed_attempt, self._swap_problem = loaded_champion, None, None
        self._telemetry.swaps.labels("done").inc()
        self._telemetry.champion_version.labels(loaded_champion.champion.version).set(1)
        _LOG.info("Version %s is the served champion, over %s", *loaded_champion.cache_key)

    def _load(self, version: str, data_version: DataVersion, lake: Lake) -> LoadedChampion:
        current, root = self._loaded, self._settings.root
        champion = (
            current.grown.trained
            if current is not None and current.champion.version == version
            else self._load_champion(root, self._settings.dataset)
        )
        excluded_ids, event_store = self._excluded_ids(), None
        if current is not None and current.event_store.excluded_ids == excluded_ids:
            event_store = current.event_store
        if event_store is None or event_store.version != lake.table_version(EVENTS):
            event_store = EventStore.read(lake, excluded_ids)
        return LoadedChampion.load(
            champion, root, event_store, data_version, self._new_items, self._posted_context
        )


def _short_message(error: Exception) -> str:
    return error.problem if isinstance(error, ChronotopeError) else type(error).__name__
