"""What holds for every test, also when pytest is called without make."""

import os
from collections.abc import Iterator

import pytest

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "OMP_NUM_THREADS": "1",
}


def pytest_configure(config: pytest.Config) -> None:
    """Send nothing anywhere and keep to one thread, before any library is imported."""
    from tests.real_data import DATA_ROOT

    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("CHRONOTOPE_DATA", str(DATA_ROOT))  # of benchmarks that tests run
    if config.cache is not None:  # a graph is traced once for all tests, not once a root
        os.environ.setdefault("CHRONOTOPE_CACHE", str(config.cache.mkdir("chronotope")))


@pytest.fixture(scope="session")
def prefect() -> Iterator[None]:
    """One Prefect server on a database of its own, for all tests that run flows."""
    from prefect.testing.utilities import prefect_test_harness

    with prefect_test_harness(server_startup_timeout=120):
        yield
