"""MLflow store: runs, their metrics and their artifacts."""

import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from mlflow.exceptions import MlflowException
from mlflow.telemetry import set_telemetry_client
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID, MLFLOW_RUN_NOTE
from sqlalchemy.exc import SQLAlchemyError

from chronotope.contracts.errors import StoreError
from chronotope.contracts.protocols import Tracker
from chronotope.registry.mlflow_database import create_database, require_answer
from chronotope.registry.run_locks import close_dead_runs, hold_run
from chronotope.runtime.private_files import private_folder
from chronotope.runtime.store_urls import artifacts_url, mask_password, mlflow_url, redact_password

HELD_BY: Final = "held_by"
"""Tag of a run with the name of the lock file that its process holds."""

_RUNNING: Final = "running"
"""Folder of the lock files, beside the artifacts."""

_MAX_PARAM_LENGTH = 6000  # MLflow refuses longer values
_MAX_NOTE_LENGTH = 5000

_EXPERIMENT_TAGS: Final[dict[str, Any]] = {
    MLFLOW_RUN_NOTE: "Hyper-parameter searches with nested trials and folds, and trained models.",
}


@dataclass(frozen=True, slots=True)
class RunTracker:
    """Tracker of one MLflow run; satisfies ``contracts.protocols.Tracker``.

    Attributes:
        client: MLflow client of the store.
        run_id: Id of the run.
    """

    client: MlflowClient
    run_id: str

    def metrics(self, values: Mapping[str, float], *, step: int = 0) -> None:
        """Log metrics of one step in one write."""
        now_ms = time.time_ns() // 1_000_000
        metric_batch = [Metric(name, float(value), now_ms, step) for name, value in values.items()]
        self.client.log_batch(self.run_id, metrics=metric_batch)

    def params(self, values: Mapping[str, object]) -> None:
        """Log parameters once; values are cut to 6000 characters."""
        param_batch = [
            Param(name, str(value)[:_MAX_PARAM_LENGTH]) for name, value in values.items()
        ]
        self.client.log_batch(self.run_id, params=param_batch)

    def note(self, markdown: str) -> None:
        """Set the description on the run's page; it is cut to 5000 characters."""
        self.client.set_tag(self.run_id, MLFLOW_RUN_NOTE, markdown[:_MAX_NOTE_LENGTH])

    def artifact(self, path: Path, *, folder: str = "") -> None:
        """Log a file, or all files of a folder, as artifacts."""
        log_artifacts = self.client.log_artifacts if path.is_dir() else self.client.log_artifact
        log_artifacts(self.run_id, str(path), folder or None)


@dataclass(frozen=True, slots=True)
class MlflowStore:
    """Opened MLflow store; does not use MLflow's global state.

    Attributes:
        root: The ``mlruns`` folder.
        client: MLflow client bound to the store's database.
    """

    root: Path
    client: MlflowClient

    @property
    def uri(self) -> str:
        """Address of the database, for ``--backend-store-uri``."""
        return mlflow_url(self.root)

    @contextmanager
    def run(
        self,
        experiment: str,
        run_name: str,
        *,
        parent: Tracker | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> Iterator[RunTracker]:
        """Context manager of a run with final status FINISHED, or FAILED if the block raises.

        If the process dies, the status becomes KILLED when the store is opened the next time.

        Args:
            experiment: Name of the experiment; created if missing.
            run_name: Name shown in the MLflow UI.
            parent: Tracker of the parent run; ignored if it is not a ``RunTracker``.
            tags: Tags such as the data version.

        Yields:
            Tracker of the run.
        """
        parent_tags = (
            {MLFLOW_PARENT_RUN_ID: parent.run_id} if isinstance(parent, RunTracker) else {}
        )
        experiment_id = self._experiment_id(experiment)
        with hold_run(self.root / _RUNNING, experiment_id) as lock_token:
            run = self.client.create_run(
                experiment_id,
                run_name=run_name,
                tags={**(tags or {}), **parent_tags, HELD_BY: lock_token},
            )
            run_status = "FAILED"
            try:
                yield RunTracker(self.client, run.info.run_id)
                run_status = "FINISHED"
            finally:
                self.client.set_terminated(run.info.run_id, run_status)

    def kill_dead_runs(self) -> None:
        """Set the status of RUNNING runs of dead processes to KILLED."""

        def end(experiment_id: str, lock_token: str) -> None:
            dead_run_filter = f"tags.{HELD_BY} = '{lock_token}' and attributes.status = 'RUNNING'"
            for run in self.client.search_runs([experiment_id], dead_run_filter):
                self.client.set_terminated(run.info.run_id, "KILLED")

        close_dead_runs(self.root / _RUNNING, end)

    def _experiment_id(self, name: str) -> str:
        experiment = self.client.get_experiment_by_name(name)
        if experiment is not None:
            return str(experiment.experiment_id)
        artifact_location = f"{artifacts_url(self.root)}/{quote(name)}"
        try:
            return str(
                self.client.create_experiment(name, artifact_location, tags=_EXPERIMENT_TAGS)
            )
        except MlflowException:  # another process created it between check and creation
            experiment = self.client.get_experiment_by_name(name)
            if experiment is None:
                raise
            return str(experiment.experiment_id)


def open_store(mlruns_dir: Path) -> MlflowStore:
    """Open the MLflow store; it is created if it is missing.

    Call it once before parallel processes start: it runs the database migrations, which must
    not run in several processes at the same time.

    Args:
        mlruns_dir: Folder of ``artifacts/`` and ``mlflow.db``, unless the environment sets other
            addresses (``runtime.store_urls``).

    Raises:
        StoreError: The folder or the database cannot be used.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")  # for logs
    # Importing MLflow may have started the client already; this stops it.
    set_telemetry_client()  # type: ignore[no-untyped-call]
    root, url = mlruns_dir.resolve(), mlflow_url(mlruns_dir)
    try:
        private_folder(root / "artifacts")
        create_database(url)
        require_answer(url)
        client = MlflowClient(url, url)
        client.search_experiments(max_results=1)
        opened_store = MlflowStore(root, client)
        opened_store.kill_dead_runs()
    except (OSError, ValueError, MlflowException, SQLAlchemyError) as error:
        raise StoreError(
            "The MLflow store cannot be opened",
            received=f"{mask_password(url)}: {redact_password(str(error), url)}",
            way_out=f"Check that {root} is writable, and that the database responds and has the "
            "schema of this MLflow version; `chronotope doctor --repair` moves an empty one aside",
        ) from None  # the cause may contain the password
    return opened_store
