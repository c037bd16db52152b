"""Where studies live: Optuna's database, and the signs of life of trials in it."""

import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event, Thread

import optuna
from optuna.exceptions import ExperimentalWarning, StorageInternalError
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback
from sqlalchemy.exc import SQLAlchemyError

from chronotope.contracts.errors import StoreError
from chronotope.contracts.stores import OPTUNA_URL, hidden, masked


@dataclass(frozen=True, slots=True)
class Database:
    """An opened database.

    Attributes:
        storage: Optuna's access to it.
        heartbeat_s: Seconds between signs of life of a trial.
    """

    storage: RDBStorage
    heartbeat_s: int

    def ask(self, study: optuna.Study) -> optuna.Trial:
        """Draw a trial; ``beating`` gives its signs of life, which ``optimize`` would."""
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Heartbeat of storage", UserWarning)
            return study.ask()

    @contextmanager
    def beating(self, study_name: str, numbers: Sequence[int]) -> Iterator[None]:
        """Record that trials are alive, from a thread, for the length of the block.

        Args:
            study_name: Their study.
            numbers: Their numbers in it.
        """
        storage, ended = self.storage, Event()
        study = storage.get_study_id_from_name(study_name)
        trials = [storage.get_trial_id_from_study_id_trial_number(study, n) for n in numbers]

        def beat() -> None:
            for trial in trials:
                storage.record_heartbeat(trial)

        def go_on() -> None:
            while not ended.wait(self.heartbeat_s):
                beat()

        beat()  # before any work: one that never gave a sign of life is never missed
        thread = Thread(target=go_on, name="heartbeat", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def bury(self, study: optuna.Study) -> None:
        """Fail trials whose process died, and queue their parameters again."""
        with experimental():
            optuna.storages.fail_stale_trials(study)


@contextmanager
def opened_database(url: str, *, heartbeat_s: int, max_retries: int) -> Iterator[Database]:
    """Open a database of studies, creating its tables when new; closed behind the block.

    Args:
        url: SQLAlchemy address.
        heartbeat_s: Seconds between signs of life of a trial.
        max_retries: Retries of a trial whose process died.

    Raises:
        StoreError: It cannot be opened.
    """
    try:
        with experimental():
            storage = RDBStorage(
                url,
                heartbeat_interval=heartbeat_s,
                heartbeat_stale_trial_callback=RetryHeartbeatStaleTrialCallback(max_retries),
            )
    except (SQLAlchemyError, StorageInternalError, RuntimeError) as error:
        raise StoreError(
            "The database of studies cannot be opened",
            received=f"{masked(url)}: {hidden(str(error), url)}",
            way_out=f"Check that it runs and takes this user; {OPTUNA_URL} names it",
        ) from None  # the error below knows the password
    try:
        yield Database(storage, heartbeat_s)
    finally:
        storage.remove_session()
        storage.engine.dispose()


@contextmanager
def experimental() -> Iterator[None]:
    """Heartbeats and the Wilcoxon pruner warn that their interface may change."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        yield
