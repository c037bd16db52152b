"""What ``serve`` refuses before it answers anybody."""

import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from chronotope.cli.main import app
from tests.inference.hand_made import fill_lake


@pytest.fixture
def root(tmp_path: Path) -> Path:
    fill_lake(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["cafe"], "No such dataset"),
        (["city", "--host", "0.0.0.0"], "needs an API key"),  # noqa: S104 - refused
        (["city", "--api-key-env", "CHRONOTOPE_NO_SUCH_KEY"], "is empty"),
        (["city", "--behind-proxy", "proxy.example"], "not an IP address or network"),
        (["city", "--store", "localhost"], "URL of the store is invalid. Received: no scheme"),
        (["city", "--host", "no.such.host.invalid", "--api-key-env", "HOME"], "cannot listen"),
    ],
)
def test_what_cannot_be_served_is_told(root: Path, words: list[str], told: str) -> None:
    done = CliRunner().invoke(app, ["serve", *words, "--root", str(root)])
    assert (done.exit_code, told in " ".join(done.stderr.split())) == (1, True), done.stderr
    assert "Serving" not in done.stdout


def test_a_port_that_is_taken_is_refused_before_an_address_is_told(root: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        words = ["--port", str(taken.getsockname()[1]), "--root", str(root), "--json"]
        done = CliRunner().invoke(app, ["serve", "city", *words])
    assert (done.exit_code, done.stdout) == (1, "")
    assert "The port is in use" in " ".join(done.stderr.split())


def test_the_end_by_ctrl_c_is_no_failure(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("chronotope.serving.server.bind", lambda *_, **__: [])
    monkeypatch.setattr("chronotope.serving.server.serve", stopped)
    done = CliRunner().invoke(app, ["serve", "city", "--root", str(root), "--json"])
    assert (done.exit_code, done.stderr.strip()) == (0, "The service is stopped."), done.stderr
