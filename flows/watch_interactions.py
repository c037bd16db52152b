"""Tell Prefect when the service has logged enough that collecting it may be worth while.

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

_log = logging.getLogger(__name__)


def dataset_resource(dataset: str) -> str:
    """Id of a dataset as Prefect's events name it."""
    return f"chronotope.dataset.{dataset}"


def emit_logged(dataset: str, n_new: int) -> None:
    """Emit the event.

    Args:
        dataset: Whose log it is.
        n_new: Events behind the watermark.
    """
    resource = {"prefect.resource.id": dataset_resource(dataset), "prefect.resource.name": dataset}
    emit_event(LOGGED, resource, payload={"n_new": n_new})


def n_waiting(dataset: str, root: Path) -> int:
    """Events that the service has logged since the last collection; impressions are none.

    Args:
        dataset: Whose log it is.
        root: Project root.
    """
    workspace = Workspace(root)
    path = workspace.interactions(dataset)
    if not path.exists():
        return 0
    with closing(InteractionLog(path)) as log:
        after = read_watermark(watermark_path(workspace, dataset)).over(log.identity).seq
        return log.count(after, kind="event")


class InteractionWatcher:
    """Emits when ``min_rows`` events wait, and not again until some were collected."""

    def __init__(
        self,
        dataset: str,
        root: Path,
        *,
        min_rows: int = FeedbackConfig().min_rows,
        emit: Callable[[str, int], None] = emit_logged,
    ) -> None:
        """Start with nothing said.

        Args:
            dataset: Whose log is watched.
            root: Project root.
            min_rows: So many are worth an event.
            emit: Says so.
        """
        self.dataset, self.root, self.min_rows, self.emit = dataset, root, min_rows, emit
        self.said_at: int | None = None

    def look(self) -> None:
        """Emit if enough is waiting and a collection has begun since it was last said."""
        at = read_watermark(watermark_path(Workspace(self.root), self.dataset)).seq
        if at == self.said_at:
            return
        waiting = n_waiting(self.dataset, self.root)
        if waiting >= self.min_rows:
            self.emit(self.dataset, waiting)
            self.said_at = at


@contextmanager
def watch_in_thread(dataset: str, root: Path, *, poll_s: float = POLL_S) -> Iterator[None]:
    """Look every few seconds from a thread of this process.

    Args:
        dataset: Whose log is watched.
        root: Project root.
        poll_s: Seconds between two looks.
    """
    watch, done = InteractionWatcher(dataset, root), threading.Event()
    words = (watch, done, poll_s)
    thread = threading.Thread(target=_look_on, args=words, name="watch-interactions", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _look_on(watch: InteractionWatcher, done: threading.Event, poll_s: float) -> None:
    while not done.wait(poll_s):
        try:
            watch.look()
        except ChronotopeError as error:
            _log.warning("The log of %s cannot be watched: %s", watch.dataset, error)


def main(words: list[str] | None = None) -> None:
    """Watch a dataset's log until SIGINT or SIGTERM.

    Args:
        words: Command line; by default the process's own.

    Raises:
        ConfigError: There is no Prefect server to tell.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", required=True, help="Name of the dataset")
    parser.add_argument("--root", type=Path, default=Path(), help="The service's root")
    parser.add_argument("--poll", type=float, default=POLL_S, help="Seconds between two looks")
    told = parser.parse_args(words)
    if not get_current_settings().api.url:
        raise ConfigError(
            "There is no Prefect server to tell of new interactions",
            way_out="Set PREFECT_API_URL, such as http://127.0.0.1:4200/api",
        )
    done = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: done.set())
    _look_on(InteractionWatcher(told.dataset, told.root.resolve()), done, told.poll)


if __name__ == "__main__":
    main()
