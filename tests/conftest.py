"""What holds for every test, also when pytest is called without make."""

import os

import pytest

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "OMP_NUM_THREADS": "1",
}


def pytest_configure(config: pytest.Config) -> None:
    """Send nothing anywhere and keep to one thread, before any library is imported."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
