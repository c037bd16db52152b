"""What holds for every test, also when pytest is called without make."""

import gc
import os
import shutil
import signal
import sqlite3
import tempfile
from collections.abc import Generator, Iterator
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.postgres import Postgres

PROJECT = Path(__file__).parents[1]

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "OMP_NUM_THREADS": "1",
}

LONGEST_FIRST = (
    "tests/behaviour/test_separate_roots.py",
    "tests/compression/test_export.py",
    "tests/behaviour/test_up.py",
    "tests/behaviour/test_scale_out.py",
    "tests/docs/test_compose_processes.py",
    "tests/artifact/test_bundle.py",
    "tests/behaviour/test_full_disk.py",
    "tests/behaviour/test_kill.py",
    "tests/federated/exchange/test_flower.py",
    "tests/docs/test_notebooks.py",
    "tests/flows/federated/test_federation_on_ray.py",
    "tests/scoring/test_engines.py",
    "tests/ingestion/test_lost_node.py",
    "tests/pipelines/test_main_job.py",
    "tests/models/cold_users/test_user_head.py",
    "tests/training/test_ddp_on_ray.py",
    "tests/benchmarks/test_export.py",
    "tests/pipelines/test_compress_indexed.py",
    "tests/benchmarks/test_next_time.py",
    "tests/scoring/test_kill.py",
    "tests/behaviour/test_bad_input.py",
    "tests/api/test_project.py",
    "tests/flows/test_feedback_wins.py",
    "tests/pipelines/trust/test_private_training.py",
    "tests/benchmarks/test_replay.py",
    "tests/flows/test_collect_feedback.py",
    "tests/quality/test_city.py",
    "tests/runtime/engine/test_ray_engine.py",
    "tests/serving/test_slow_clients.py",
    "tests/benchmarks/test_kill_matrix.py",
)
"""Files of slow tests that take more than half a minute: `make test` begins with them, so that none
of them runs alone at the end. The others follow as they are collected."""


def pytest_configure(config: pytest.Config) -> None:
    """Send nothing anywhere and keep to one thread, before any library is imported."""
    from tests.real_data import DATA_ROOT

    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # in the background of a shell script
        signal.signal(signal.SIGINT, signal.default_int_handler)
    os.environ.setdefault("CHRONOTOPE_DATA", str(DATA_ROOT))  # of benchmarks that tests run
    cache = getattr(config, "cache", None)  # not there with `-p no:cacheprovider`
    if cache is not None:  # a graph is traced once for all tests, not once a root
        os.environ.setdefault("CHRONOTOPE_CACHE", str(cache.mkdir("chronotope")))
    _commit_without_waiting_for_the_disk()


def _commit_without_waiting_for_the_disk() -> None:
    """Databases of MLflow and Optuna in this process outlive a kill, but not a power failure.

    A study commits hundreds of times, and each commit waits for the disk several times.
    """
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    @event.listens_for(Engine, "connect")
    def connected(connection: object, _: object) -> None:
        if isinstance(connection, sqlite3.Connection):
            with suppress(sqlite3.DatabaseError):  # a damaged file: for its first reader to say
                connection.execute("PRAGMA synchronous = OFF")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Import all test files without garbage collection, and set aside what they have loaded.

    A full collection visits every object of the eight thousand modules, while tests are collected
    and each time that one happens while they run.
    """
    from chronotope.runtime.quick_imports import quick_imports

    with quick_imports():
        result = yield
    gc.freeze()
    return result


def pytest_sessionfinish() -> None:
    """Give back what was set aside: extension modules report what is never freed."""
    gc.unfreeze()


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Spare a run of the slow tests the import of all files without one: ten seconds a process."""
    if config.option.markexpr != "slow" or collection_path.suffix != ".py":
        return None
    return None if "mark.slow" in collection_path.read_text(encoding="utf-8") else True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first; the order within a file stays."""
    place = {PROJECT / name: number for number, name in enumerate(LONGEST_FIRST)}
    items.sort(key=lambda item: place.get(item.path, len(place)))


@pytest.fixture(scope="session")
def state_server() -> Iterator["Postgres"]:
    """One Postgres for all tests of a process that share state through it."""
    from tests.postgres import postgres

    with postgres() as server:
        yield server


@pytest.fixture(params=["files", pytest.param("postgres", marks=pytest.mark.slow)])
def state_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """State in SQLite and files, then in a new database of a server."""
    from chronotope.runtime.store_urls import STATE_URL

    if request.param == "postgres":
        server: Postgres = request.getfixturevalue("state_server")
        monkeypatch.setenv(STATE_URL, server.url(f"state_{token_hex(4)}"))
    else:
        monkeypatch.delenv(STATE_URL, raising=False)
    return str(request.param)


@pytest.fixture(scope="session")
def prefect() -> Iterator[None]:
    """One Prefect server on a database of its own, for all tests that run flows.

    A server migrates an empty database in seven seconds of processor time. So it gets a copy of
    one that another process of this run, or an earlier run, has migrated.
    """
    from prefect.testing import utilities

    folder = Path(tempfile.mkdtemp())  # the harness removes it at the end
    database = folder / "prefect-test.db"
    template = Path(os.environ.get("CHRONOTOPE_CACHE", folder)) / f"prefect-{version('prefect')}.db"
    if template.exists():
        shutil.copyfile(template, database)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(utilities, "mkdtemp", lambda: str(folder))
        with utilities.prefect_test_harness(server_startup_timeout=120):
            if not template.exists():
                _copy_database(database, template)
            yield


def _copy_database(source: Path, target: Path) -> None:
    """Copy a SQLite database that is in use; readers see all of the copy or nothing."""
    draft = target.with_name(f"{target.name}.{os.getpid()}")
    with closing(sqlite3.connect(source)) as opened, closing(sqlite3.connect(draft)) as copy:
        opened.backup(copy)
    draft.replace(target)
