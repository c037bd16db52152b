"""``chronotope up``: both UIs, the deployments and the service, with one command."""

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.table import Table

from chronotope.cli.console import command, print_json
from chronotope.cli.prefect_password import PASSWORD_VARIABLE, password_file, prefect_password
from chronotope.cli.processes import (
    HOST,
    Part,
    Programs,
    answers,
    listen,
    refuse_taken_ports,
    web_app,
)
from chronotope.contracts.stores import artifacts_url, mlflow_url
from chronotope.contracts.workspace import Workspace
from chronotope.datasets.loading import load_spec

PREFECT: Final = "Prefect UI"
MLFLOW: Final = "MLflow UI"
RUNNER: Final = "Deployments"
SERVICE: Final = "Service"
_LAST_DEPLOYED: Final = "roll-back-model"
_STOPPING: Final = (signal.SIGTERM, signal.SIGHUP)
_POLL_S: Final = 1.0
_Port = Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on")]


def up(
    dataset: Annotated[
        str, typer.Option(help="Name in conf/datasets, or a YAML file")
    ] = "simulated_city",
    config: Annotated[
        Path | None, typer.Option(help="YAML of training settings that the form starts from")
    ] = None,
    root: Annotated[Path, typer.Option(help="Everything written lies below it")] = Path(),
    prefect_port: _Port = 4200,
    mlflow_port: _Port = 5000,
    service_port: _Port = 8000,
    paused: Annotated[bool, typer.Option(help="Leave the schedules switched off")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the addresses as JSON")] = False,
    dry_run: Annotated[bool, typer.Option(help="Check ports and settings; start nothing")] = False,
) -> None:
    """Start the Prefect server, the MLflow UI, the deployments and the service, until Ctrl-C.

    Flows are triggered and scheduled in the Prefect UI. The service answers as soon as the
    dataset was ingested; it finds new champions by itself.
    """
    with command("Starting") as console, _stopping_on_signals():
        root = root.resolve()
        name = load_spec(dataset).name
        ports = {PREFECT: prefect_port, MLFLOW: mlflow_port, SERVICE: service_port}
        parts = parts_of(dataset, name, root, ports, told=_told(config, paused=paused))
        refuse_taken_ports(parts.values())
        if dry_run:
            _show(console, parts, root, as_json=as_json, dry_run=True)
            return
        try:
            env = environment(root, ports, prefect_password(root))
            with Programs(root / "data" / "logs", env) as programs:
                _start(programs, parts, root, name)
                _show(console, parts, root, as_json=as_json, dry_run=False)
                _watch(programs, parts, root, name)
        except KeyboardInterrupt:
            console.print("All stopped.")


def parts_of(
    dataset: str,
    name: str,
    root: Path,
    ports: Mapping[str, int],
    *,
    told: tuple[str, ...] = (),
) -> dict[str, Part]:
    """The programs of one installation, by name, in the order in which they start.

    Args:
        dataset: Name or YAML file.
        name: Name of the dataset.
        root: Project root, absolute.
        ports: Port of each part that listens.
        told: More words for the deployments.
    """
    python = sys.executable
    runner = (
        python,
        "-m",
        "flows.deployments",
        "--dataset",
        dataset,
        "--root",
        str(root),
        "--only-runner",
        *told,
    )
    chronotope = (python, "-c", "from chronotope.cli.main import run; run()", "serve", name)
    service = ("--host", HOST, "--port", str(ports[SERVICE]), "--root", str(root))
    began = datetime.now(UTC)
    parts = (
        web_app(PREFECT, "flows.prefect_app", ports[PREFECT], "/api/health", "--prefect-port"),
        web_app(
            MLFLOW, "chronotope.registry.mlflow_app", ports[MLFLOW], "/health", "--mlflow-port"
        ),
        Part(RUNNER, runner, lambda: _deployed(ports[PREFECT], name, began, root)),
        Part(
            SERVICE,
            (*chronotope, *service),
            lambda: answers(ports[SERVICE], "/health") is not None,
            ports[SERVICE],
            "--service-port",
        ),
    )
    return {part.name: part for part in parts}


def environment(root: Path, ports: Mapping[str, int], password: str) -> dict[str, str]:
    """Environment of the parts: one Prefect server, whose database lies below the root too.

    Only this account reads it, unlike the words of a command line.

    Args:
        root: Project root, absolute.
        ports: Where the parts listen.
        password: What the Prefect server asks for.
    """
    quiet = {name: of for name, of in os.environ.items() if not name.startswith("PREFECT_LOGGING")}
    return {
        "PREFECT_HOME": str(root / "data" / "prefect"),
        "OMP_WAIT_POLICY": "PASSIVE",
        **quiet,
        "PREFECT_API_URL": f"http://{HOST}:{ports[PREFECT]}/api",
        "PREFECT_UI_URL": f"http://{HOST}:{ports[PREFECT]}",
        "PREFECT_UI_API_URL": "/api",  # of the very origin that the browser opened
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://{HOST}:{ports[PREFECT]}",
        "PREFECT_SERVER_API_AUTH_STRING": password,
        "PREFECT_API_AUTH_STRING": password,
        "CHRONOTOPE_MLFLOW_UI": f"http://{HOST}:{ports[MLFLOW]}",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_SERVER_DATABASE_TIMEOUT": "60",  # SQLite: others write too
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "MLFLOW_BACKEND_STORE_URI": mlflow_url(Workspace(root).mlruns),  # may hold a password
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": artifacts_url(Workspace(root).mlruns),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",  # our models hold no pickle
        "PYTHONUNBUFFERED": "1",
    }


def _told(config: Path | None, *, paused: bool) -> tuple[str, ...]:
    words = () if config is None else ("--config", str(config.resolve()))
    return (*words, "--paused") if paused else words


def _deployed(port: int, name: str, began: datetime, root: Path) -> bool:
    """Whether the last of the deployments was registered since the start."""
    path = f"/api/deployments/name/{_LAST_DEPLOYED}/{name}"
    body = answers(port, path, prefect_password(root))
    return body is not None and datetime.fromisoformat(json.loads(body)["updated"]) >= began


def _start(programs: Programs, parts: Mapping[str, Part], root: Path, name: str) -> None:
    from chronotope.registry.store import open_store

    with ExitStack() as stack:
        listeners = {name: stack.enter_context(_listen(parts[name])) for name in (PREFECT, MLFLOW)}
        open_store(Workspace(root).mlruns)  # its migrations must not run in two processes at once
        for part, listener in listeners.items():
            programs.start(parts[part], listener)
    programs.wait_for(PREFECT)
    programs.start(parts[RUNNER])
    for part in (MLFLOW, RUNNER):
        programs.wait_for(part)
    if _is_ingested(root, name):
        programs.start(parts[SERVICE])
        programs.wait_for(SERVICE)


def _listen(part: Part) -> socket.socket:
    """Hold a part's port from now on.

    Raises:
        ConfigError: Somebody took it since it was looked at.
    """
    try:
        return listen(part.port or 0)
    except OSError:
        refuse_taken_ports([part])
        raise


def _watch(programs: Programs, parts: Mapping[str, Part], root: Path, name: str) -> None:
    """Look after the parts until somebody stops this; the service starts once it can."""
    while True:
        programs.check()
        if SERVICE not in programs.running and _is_ingested(root, name):
            programs.start(parts[SERVICE])
        time.sleep(_POLL_S)


def _is_ingested(root: Path, name: str) -> bool:
    lake = Workspace(root).lake(name)
    if isinstance(lake, Path):
        return (lake / "events").is_dir()
    from chronotope.lake import Lake

    return Lake(lake).exists("events")


@contextmanager
def _stopping_on_signals() -> Iterator[None]:
    """Let SIGTERM, or a terminal that closes, end this as Ctrl-C does; nohup stays nohup."""
    before = {number: signal.getsignal(number) for number in _STOPPING}
    mine = [number for number, by in before.items() if by is not signal.SIG_IGN]

    def stop(_number: int, _frame: object) -> None:
        for number in mine:  # a second one must not disturb the stopping
            signal.signal(number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for number in mine:
        signal.signal(number, stop)
    try:
        yield
    finally:
        for number in mine:
            signal.signal(number, before[number])


def _show(
    console: Console, parts: Mapping[str, Part], root: Path, *, as_json: bool, dry_run: bool
) -> None:
    """Where to find what; never the password itself, since output ends up in logs."""
    if as_json:
        addresses: dict[str, Any] = {
            name: part.address for name, part in parts.items() if part.port
        }
        path = password_file(root)
        told = {"prefect_password_file": None if path is None else str(path)}
        print_json({"addresses": addresses, **told, "dry_run": dry_run})
        return
    table = Table("", "where", "what for")
    for name, why in _WHAT_FOR.items():
        table.add_row(name, parts[name].address, why)
    console.print(table)
    path = password_file(root)
    place = f"what {PASSWORD_VARIABLE} holds" if path is None else f"the line in {path}"
    console.print(f"The Prefect UI asks once for a password: {place}", soft_wrap=True)
    console.print("Nothing was started (dry run)." if dry_run else "Ctrl-C stops all of them.")


_WHAT_FOR: Final = {
    PREFECT: "trigger, schedule and follow flows: Deployments, then Run, Custom run",
    MLFLOW: "compare experiments, trials and versions",
    RUNNER: "run what the Prefect UI starts",
    SERVICE: "ask the champion (/docs tells how); up as soon as the dataset is ingested",
}
