"""What ``chronotope up`` would start, and what it says when it cannot."""

import json
import signal
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from chronotope.cli.main import app
from chronotope.cli.up import (
    MLFLOW,
    PREFECT,
    RUNNER,
    SERVICE,
    _stopping_on_signals,
    environment,
    parts_of,
)
from tests.cli.test_processes import free_port

OPTIONS = ("--prefect-port", "--mlflow-port", "--service-port")


def up(root: Path, *words: object) -> Result:
    return CliRunner().invoke(app, ["up", "--root", str(root), *map(str, words)])


def free() -> list[object]:
    return [word for option in OPTIONS for word in (option, free_port())]


def test_a_dry_run_tells_the_addresses_and_starts_nothing(tmp_path: Path) -> None:
    words = free()
    done = up(tmp_path, *words, "--dry-run", "--json")
    assert done.exit_code == 0, done.output
    told = json.loads(done.stdout)
    wanted = [f"http://127.0.0.1:{port}" for port in words[1::2]]
    assert told == {"addresses": dict(zip([PREFECT, MLFLOW, SERVICE], wanted, strict=True)),
                    "dry_run": True}  # fmt: skip
    assert "Nothing was started" in up(tmp_path, *words, "--dry-run").stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", OPTIONS)
def test_a_taken_port_is_told_with_the_way_out(tmp_path: Path, option: str) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        done = up(tmp_path, *free(), option, port)
    told = " ".join(done.stderr.split())
    assert done.exit_code == 1
    assert f"Port {port}" in told
    assert f"chronotope up {option} {port + 1}" in told
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_closed_terminal_stops_all_as_sigterm_does(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), _stopping_on_signals():
        signal.raise_signal(number)
    assert signal.getsignal(number) == before


def test_nohup_stays_nohup() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with _stopping_on_signals():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)


def test_an_unknown_dataset_is_refused_before_anything_starts(tmp_path: Path) -> None:
    done = up(tmp_path, "--dataset", "nowhere")
    assert (done.exit_code, "No such dataset" in done.stderr) == (1, True)


def test_all_listen_on_this_machine_alone_and_know_the_same_server(tmp_path: Path) -> None:
    ports = {PREFECT: 1, MLFLOW: 2, SERVICE: 3}
    parts = parts_of("city.yaml", "city", tmp_path, ports, told=("--paused",))
    for name, port in ports.items():
        words = parts[name].command
        at = words.index("--host")
        assert words[at : at + 4] == ("--host", "127.0.0.1", "--port", str(port))
    assert parts[RUNNER].command[-4:] == ("city.yaml", "--root", str(tmp_path), "--paused")
    env = environment(tmp_path, ports)
    assert env["PREFECT_API_URL"] == "http://127.0.0.1:1/api"
    assert not [name for name in env if name.startswith("PREFECT_LOGGING")]
    assert not any(part.is_ready() for part in parts.values())
