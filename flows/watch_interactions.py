"""Watch the service's log, and emit an event when enough interactions wait to be collected.

``python -m flows.watch_interactions --dataset NAME --root ROOT`` does that until it is
stopped. Needed beside a work pool: deployments that are served watch from their own process.
"""

import argparse
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

from prefect.events import emit_event
from prefect.settings import get_current_settings

from chronotope.contracts.errors import ChronotopeError, ConfigError
from chronotope.feedback.config import FeedbackConfig
from chronotope.feedback.intake import watermark_path
from chronotope.feedback.watermark import read_watermark
from chronotope.lake.interaction_log import InteractionLog
from chronotope.runtime.workspace import Workspace

LOGGED: Final = "interactions.logged"
"""Event that starts the feedback flow."""

POLL_S: Final = 5.0

_LOG = logging.getLogger(__name__)


def dataset_resource(dataset: str) -> str:
    """Resource id of a dataset in Prefect's events."""
    return f"chronotope.dataset.{dataset}"


def emit_logged(dataset: str, n_new: int) -> None:
    """Emit the event ``interactions.logged``.

    Args:
        dataset: Name of the dataset.
        n_new: Events behind the watermark.
    """
    resource = {"prefect.resource.id": dataset_resource(dataset), "prefect.resource.name": dataset}
    emit_event(LOGGED, resource, payload={"n_new": n_new})


def n_waiting(dataset: str, root: Path) -> int:
    """Number of logged events that were not collected yet; impressions do not count.

    Args:
        dataset: Name of the dataset.
        root: Project root.
    """
    workspace = Workspace(root)
    log_path = workspace.interactions(dataset)
    if not log_path.exists():
        return 0
    with closing(InteractionLog(log_path)) as log:
        watermark = read_watermark(watermark_path(workspace, dataset)).over(log.identity)
        return log.count(watermark.seq, kind="event")


class InteractionWatcher:
    """Emits once when ``min_rows`` events wait, and again only after a collection."""

    def __init__(
        self,
        dataset: str,
        root: Path,
        *,
        min_rows: int = FeedbackConfig().min_rows,
        emit: Callable[[str, int], None] = emit_logged,
    ) -> None:
        """Start without an emitted event.

        Args:
            dataset: Name of the dataset.
            root: Project root.
            min_rows: Number of waiting events that is worth an event.
            emit: Emits it.
        """
        self.dataset, self.root, self.min_rows, self.emit = dataset, root, min_rows, emit
        self.emitted_at_seq: int | None = None

    def look(self) -> None:
        """Emit if enough events wait and the watermark moved since the last emission."""
        seq = read_watermark(watermark_path(Workspace(self.root), self.dataset)).seq
        if seq == self.emitted_at_seq:
            return
        n_events = n_waiting(self.dataset, self.root)
        if n_events >= self.min_rows:
            self.emit(self.dataset, n_events)
            self.emitted_at_seq = seq


@contextmanager
def watch_in_thread(dataset: str, root: Path, *, poll_s: float = POLL_S) -> Iterator[None]:
    """Watch from a thread of this process.

    Args:
        dataset: Name of the dataset.
        root: Project root.
        poll_s: Seconds between two looks.
    """
    stop_event = threading.Event()
    thread = threading.Thread(
        target=_watch_until_stopped,
        args=(InteractionWatcher(dataset, root), stop_event, poll_s),
        name="watch-interactions",
        daemon=True,
    )
    thread.start()
    try:
        yield
    finally:
        stop_event.set()
        thread.join()


def _watch_until_stopped(
    watcher: InteractionWatcher, stop_event: threading.Event, poll_s: float
) -> None:
    while not stop_event.wait(poll_s):
        try:
            watcher.look()
        except ChronotopeError as error:
            _LOG.warning("The log of %s cannot be watched: %s", watcher.dataset, error)


def main(arguments: list[str] | None = None) -> None:
    """Watch a dataset's log until SIGINT or SIGTERM.

    Args:
        arguments: Command line; by default the process's own.

    Raises:
        ConfigError: No Prefect server is configured.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True, help="Name of the dataset")
    parser.add_argument("--root", type=Path, default=Path(), help="Root of the service")
    parser.add_argument("--poll", type=float, default=POLL_S, help="Seconds between two looks")
    options = parser.parse_args(arguments)
    if not get_current_settings().api.url:
        raise ConfigError(
            "There is no Prefect server to send events of new interactions to",
            way_out="Set PREFECT_API_URL, such as http://127.0.0.1:4200/api",
        )
    stop_event = threading.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, lambda *_: stop_event.set())
    _watch_until_stopped(
        InteractionWatcher(options.dataset, options.root.resolve()), stop_event, options.poll
    )


if __name__ == "__main__":
    main()
