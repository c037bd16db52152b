"""Watcher of the service's log, which emits an event when enough interactions are waiting.

``python -m flows.watch_interactions --dataset NAME --root ROOT`` runs it until it is stopped. It
is needed with a work pool; a process that serves deployments runs a watcher of its own.
"""

import argparse
import logging
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
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
from chronotope.runtime.state import state_exists
from chronotope.runtime.workspace import Workspace
from flows.anomalies.watch_anomalies import AnomalyWatcher

LOGGED: Final = "interactions.logged"
"""Name of the event that starts the feedback flow when interactions are waiting."""

POLL_S: Final = 5.0

_LOG = logging.getLogger(__name__)


def dataset_resource(dataset: str) -> str:
    """Resource id of a dataset in Prefect's events."""
    return f"chronotope.dataset.{dataset}"


def emit_logged(dataset: str, n_new: int) -> None:
    """Emit the event ``interactions.logged``.

    Args:
        dataset: Name of the dataset.
        n_new: Number of events after the watermark.
    """
    emit_dataset_event(LOGGED, dataset, {"n_new": n_new})


def emit_dataset_event(event_name: str, dataset: str, payload: dict[str, object]) -> None:
    """Emit an event for the resource of a dataset.

    Args:
        event_name: Name of the event.
        dataset: Name of the dataset.
        payload: Content of the event.
    """
    event_resource = {
        "prefect.resource.id": dataset_resource(dataset),
        "prefect.resource.name": dataset,
    }
    emit_event(event_name, event_resource, payload=payload)


def n_waiting(dataset: str, root: Path) -> int:
    """Number of logged events that were not collected yet, without impressions.

    Args:
        dataset: Name of the dataset.
        root: Project root.
    """
    root_workspace = Workspace(root)
    log_path = root_workspace.interactions(dataset)
    if not state_exists(log_path):
        return 0
    with closing(InteractionLog(log_path)) as interaction_log:
        feedback_watermark = read_watermark(watermark_path(root_workspace, dataset)).for_log(
            interaction_log.identity
        )
        return interaction_log.count(feedback_watermark.seq, kind="event")


class InteractionWatcher:
    """Watcher that emits once when ``min_rows`` events wait, and again only after a collection.

    Attributes:
        dataset: Name of the dataset.
        root: Project root.
        min_rows: Minimum number of waiting events.
        emit: Emits the event; called with the dataset and the number of waiting events.
        emitted_at_seq: Watermark at the last emission; None before the first.
    """

    def __init__(
        self,
        dataset: str,
        root: Path,
        *,
        min_rows: int = FeedbackConfig().min_rows,
        emit_event: Callable[[str, int], None] = emit_logged,
    ) -> None:
        """Create a watcher.

        Args:
            dataset: Name of the dataset.
            root: Project root.
            min_rows: Minimum number of waiting events.
            emit_event: Called with the dataset and the number of waiting events.
        """
        self.dataset, self.root, self.min_rows, self.emit = dataset, root, min_rows, emit_event
        self.emitted_at_seq: int | None = None

    def poll(self) -> None:
        """Emit if enough events wait and the watermark has moved since the last emission."""
        last_seq = read_watermark(watermark_path(Workspace(self.root), self.dataset)).seq
        if last_seq == self.emitted_at_seq:
            return
        n_events = n_waiting(self.dataset, self.root)
        if n_events >= self.min_rows:
            self.emit(self.dataset, n_events)
            self.emitted_at_seq = last_seq


@contextmanager
def watch_in_thread(dataset: str, root: Path, *, poll_s: float = POLL_S) -> Iterator[None]:
    """Run a watcher in a thread of this process until the end of the block.

    Args:
        dataset: Name of the dataset.
        root: Project root.
        poll_s: Seconds between two polls.
    """
    stop_event = threading.Event()
    watch_thread = threading.Thread(
        target=_watch_until_stopped,
        args=(dataset_watchers(dataset, root), stop_event, poll_s),
        name="watch-interactions",
        daemon=True,
    )
    watch_thread.start()
    try:
        yield
    finally:
        stop_event.set()
        watch_thread.join()


def dataset_watchers(dataset: str, root: Path) -> tuple[InteractionWatcher, AnomalyWatcher]:
    """Watchers of a dataset's logs: waiting interactions, and alerts of the service.

    Args:
        dataset: Name of the dataset.
        root: Project root.
    """
    return InteractionWatcher(dataset, root), AnomalyWatcher(dataset, root)


def _watch_until_stopped(
    watchers: Sequence[InteractionWatcher | AnomalyWatcher],
    stop_event: threading.Event,
    poll_s: float,
) -> None:
    while not stop_event.wait(poll_s):
        for watcher in watchers:
            try:
                watcher.poll()
            except ChronotopeError as error:
                _LOG.warning("The logs of %s cannot be watched: %s", watcher.dataset, error)


def main(arguments: list[str] | None = None) -> None:
    """Watch a dataset's log until SIGINT or SIGTERM.

    Args:
        arguments: Command-line arguments; by default those of this process.

    Raises:
        ConfigError: No Prefect server is configured.
    """
    argument_parser = argparse.ArgumentParser(description=__doc__)
    argument_parser.add_argument("--dataset", required=True, help="Name of the dataset")
    argument_parser.add_argument("--root", type=Path, default=Path(), help="Project root")
    argument_parser.add_argument(
        "--poll", type=float, default=POLL_S, help="Seconds between two polls"
    )
    parsed_options = argument_parser.parse_args(arguments)
    if not get_current_settings().api.url:
        raise ConfigError(
            "No Prefect server is configured to receive events of new interactions",
            way_out="Set PREFECT_API_URL, for example to http://127.0.0.1:4200/api",
        )
    stop_event = threading.Event()
    for signal_number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signal_number, lambda *_: stop_event.set())
    _watch_until_stopped(
        dataset_watchers(parsed_options.dataset, parsed_options.root.resolve()),
        stop_event,
        parsed_options.poll,
    )


if __name__ == "__main__":
    main()
