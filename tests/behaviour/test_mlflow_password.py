"""MLflow's UI, started as docs/deploy/ starts it, asks for a password."""

import base64
import importlib.util
import os
import secrets
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from chronotope.registry.mlflow_store import open_store
from chronotope.runtime.processes import HOST, ManagedProcess, ProcessGroup, http_get_body

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("flask_wtf") is None,
        reason="MLflow's sign-in needs Flask-WTF: pip install 'chronotope[scale]'",
    ),
]

CONFIG = """[mlflow]
default_permission = READ
database_uri = sqlite:///{folder}/accounts.db
authorization_function = mlflow.server.auth:authenticate_request_basic_auth
"""


@pytest.fixture
def secret() -> str:
    return secrets.token_urlsafe(16)


@pytest.fixture
def address(tmp_path: Path, free_port: int, secret: str) -> Iterator[str]:
    store = open_store(tmp_path / "mlruns")
    config = tmp_path / "accounts.ini"
    config.write_text(CONFIG.format(folder=tmp_path))
    env = os.environ | {
        "MLFLOW_AUTH_CONFIG_PATH": str(config),
        "MLFLOW_AUTH_ADMIN_USERNAME": "ada",
        "MLFLOW_AUTH_ADMIN_PASSWORD": secret,
        "MLFLOW_FLASK_SERVER_SECRET_KEY": secrets.token_hex(),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    words = ("-m", "mlflow", "server", "--app-name", "basic-auth", "--workers", "1")
    at = ("--backend-store-uri", store.uri, "--host", HOST, "--port", str(free_port))
    ready = lambda: http_get_body(free_port, "/health") is not None  # noqa: E731
    with ProcessGroup(tmp_path / "logs", env) as programs:
        programs.start(ManagedProcess("MLflow", (sys.executable, *words, *at), ready, free_port))
        programs.wait_for("MLflow", 400)
        yield f"http://{HOST}:{free_port}"


def status(address: str, account: str | None) -> int:
    search = f"{address}/api/2.0/mlflow/experiments/search?max_results=5"
    request = urllib.request.Request(search)  # noqa: S310 - our own server
    if account is not None:
        token = base64.b64encode(account.encode()).decode()
        request.add_header("authorization", f"Basic {token}")
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


def test_only_who_knows_the_password_sees_experiments(address: str, secret: str) -> None:
    assert status(address, None) == 401
    assert status(address, f"ada:not-{secret}") == 401
    assert status(address, f"ada:{secret}") == 200
