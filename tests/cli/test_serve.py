"""What ``serve`` refuses before it answers anybody."""

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chronotope.cli.main import app
from tests.steps.hand_made import fill_lake


@pytest.fixture
def root(tmp_path: Path) -> Path:
    fill_lake(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["cafe"], "No such dataset"),
        (["city", "--host", "0.0.0.0"], "only with an API key"),  # noqa: S104 - refused
        (["city", "--api-key-env", "CHRONOTOPE_NO_SUCH_KEY"], "is empty"),
    ],
)
def test_what_cannot_be_served_is_told(root: Path, words: list[str], told: str) -> None:
    done = CliRunner().invoke(app, ["serve", *words, "--root", str(root)])
    assert (done.exit_code, told in " ".join(done.stderr.split())) == (1, True), done.stderr


def test_a_taken_port_is_refused_before_an_address_is_printed(root: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        done = CliRunner().invoke(app, ["serve", "city", "--port", str(port), "--root", str(root)])
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"--port {port + 1}" in " ".join(done.stderr.split())
