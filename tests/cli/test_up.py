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
    process_environment,
    service_processes,
)
from tests.runtime.test_processes import free_port

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
    assert told == {
        "addresses": dict(zip([PREFECT, MLFLOW, SERVICE], wanted, strict=True)),
        "prefect_password_file": str(tmp_path / "data" / "prefect-password"),
        "dry_run": True,
    }
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
    before = signal.signal(number, signal.SIG_DFL)  # pytest itself may run under nohup
    try:
        with pytest.raises(KeyboardInterrupt), _stopping_on_signals():
            signal.raise_signal(number)
        assert signal.getsignal(number) == signal.SIG_DFL
    finally:
        signal.signal(number, before)


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


def test_all_know_the_same_server_and_only_the_service_binds_its_own_port(tmp_path: Path) -> None:
    ports = {PREFECT: 1, MLFLOW: 2, SERVICE: 3}
    parts = service_processes("city.yaml", "city", tmp_path, ports, runner_options=("--paused",))
    service = parts[SERVICE].command
    listens_at = service.index("--host")
    assert service[listens_at : listens_at + 4] == ("--host", "127.0.0.1", "--port", "3")
    runner = ("city.yaml", "--root", str(tmp_path), "--only-runner", "--paused")
    assert parts[RUNNER].command[-5:] == runner
    env = process_environment(tmp_path, ports, "me:secret")
    assert env["PREFECT_API_URL"] == "http://127.0.0.1:1/api"
    assert env["PREFECT_API_AUTH_STRING"] == env["PREFECT_SERVER_API_AUTH_STRING"] == "me:secret"
    assert not [name for name in env if name.startswith("PREFECT_LOGGING")]
    assert not any(part.is_ready() for part in parts.values())


def test_triggered_runs_begin_soon_unless_another_interval_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports, name = {PREFECT: 1, MLFLOW: 2, SERVICE: 3}, "PREFECT_RUNNER_POLL_FREQUENCY"
    monkeypatch.delenv(name, raising=False)
    assert name in {f"PREFECT_{key.upper()}" for key in _runner_settings()}
    assert process_environment(tmp_path, ports, "me:secret")[name] == "2"
    monkeypatch.setenv(name, "30")
    assert process_environment(tmp_path, ports, "me:secret")[name] == "30"


def _runner_settings() -> set[str]:
    """Settings of a runner that the installed Prefect has, as parts of variable names."""
    from prefect.settings.models.runner import RunnerSettings

    return {f"runner_{field}" for field in RunnerSettings.model_fields}
