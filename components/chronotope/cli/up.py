"""Command ``chronotope up``: run the Prefect and MLflow UIs, the deployments and the service."""

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

from chronotope.cli.output.console import print_json, run_command
from chronotope.runtime.prefect_password import PASSWORD_VARIABLE, password_file, prefect_password
from chronotope.runtime.processes import (
    HOST,
    ManagedProcess,
    ProcessGroup,
    http_get_body,
    listen,
    refuse_taken_ports,
    web_app,
)
from chronotope.runtime.store_urls import artifacts_url, mlflow_url
from chronotope.runtime.workspace import Workspace

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
        Path | None,
        typer.Option(help="YAML of training settings, the default parameters in the Prefect UI"),
    ] = None,
    root: Annotated[
        Path, typer.Option(help="Project root; all files are written below it")
    ] = Path(),
    prefect_port: _Port = 4200,
    mlflow_port: _Port = 5000,
    service_port: _Port = 8000,
    paused: Annotated[bool, typer.Option(help="Register the schedules as inactive")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the addresses as JSON")] = False,
    dry_run: Annotated[bool, typer.Option(help="Check ports and settings; start nothing")] = False,
) -> None:
    """Run the Prefect server, the MLflow UI, the deployments and the service until Ctrl-C.

    Flows are triggered and scheduled in the Prefect UI. The service starts when the dataset has
    been ingested, and loads new champions automatically.
    """
    with run_command("Starting") as terminal, _stopping_on_signals():
        from chronotope.datasets.loading import load_spec

        root = root.resolve()
        dataset_name = load_spec(dataset).name
        port_by_process = {PREFECT: prefect_port, MLFLOW: mlflow_port, SERVICE: service_port}
        processes = service_processes(
            dataset,
            dataset_name,
            root,
            port_by_process,
            runner_options=_runner_options(config, paused=paused),
        )
        refuse_taken_ports(processes.values())
        if dry_run:
            _show(terminal, processes, root, as_json=as_json, dry_run=True)
            return
        try:
            process_env = process_environment(root, port_by_process, prefect_password(root))
            with ProcessGroup(root / "data" / "logs", process_env) as process_group:
                _start(process_group, processes, root, dataset_name)
                _show(terminal, processes, root, as_json=as_json, dry_run=False)
                _watch(process_group, processes, root, dataset_name)
        except KeyboardInterrupt:
            terminal.print("All processes are stopped.")


def service_processes(
    dataset: str,
    dataset_name: str,
    root: Path,
    port_by_process: Mapping[str, int],
    *,
    runner_options: tuple[str, ...] = (),
) -> dict[str, ManagedProcess]:
    """Specifications of the processes by name, in starting order.

    Args:
        dataset: Name or YAML file of the dataset.
        dataset_name: Name of the dataset.
        root: Project root, absolute.
        port_by_process: Port of each process that listens.
        runner_options: Further options of ``flows.deployments``.
    """
    python_path = sys.executable
    root_option = ("--root", str(root))
    runner_command = (python_path, "-m", "flows.deployments", "--dataset", dataset, *root_option)
    runner_options = ("--only-runner", *runner_options)
    run_command_line = "from chronotope.cli.main import run; run()"
    service_command = (python_path, "-c", run_command_line, "serve", dataset_name)
    service_options = ("--host", HOST, "--port", str(port_by_process[SERVICE]), *root_option)
    started_at = datetime.now(UTC)
    processes = (
        web_app(
            PREFECT, "flows.prefect_app", port_by_process[PREFECT], "/api/health", "--prefect-port"
        ),
        web_app(
            MLFLOW,
            "chronotope.registry.mlflow_app",
            port_by_process[MLFLOW],
            "/health",
            "--mlflow-port",
        ),
        ManagedProcess(
            RUNNER,
            (*runner_command, *runner_options),
            lambda: _is_deployed(port_by_process[PREFECT], dataset_name, started_at, root),
        ),
        ManagedProcess(
            SERVICE,
            (*service_command, *service_options),
            lambda: http_get_body(port_by_process[SERVICE], "/health") is not None,
            port_by_process[SERVICE],
            "--service-port",
        ),
    )
    return {managed_process.name: managed_process for managed_process in processes}


def process_environment(
    root: Path, port_by_process: Mapping[str, int], prefect_auth: str
) -> dict[str, str]:
    """Environment variables of the processes: addresses, database locations and passwords.

    Passwords are passed here because other accounts cannot read a process's environment, unlike
    its command line.

    Args:
        root: Project root, absolute.
        port_by_process: Port of each process that listens.
        prefect_auth: Password of the Prefect server, ``NAME:SECRET``.
    """
    inherited_env = {
        variable_name: variable_value
        for variable_name, variable_value in os.environ.items()
        if not variable_name.startswith("PREFECT_LOGGING")
    }
    return {
        "PREFECT_HOME": str(root / "data" / "prefect"),
        "OMP_WAIT_POLICY": "PASSIVE",
        # a run that a user starts in the UI begins within two seconds, not ten
        "PREFECT_RUNNER_POLL_FREQUENCY": "2",
        **inherited_env,
        "PREFECT_API_URL": f"http://{HOST}:{port_by_process[PREFECT]}/api",
        "PREFECT_UI_URL": f"http://{HOST}:{port_by_process[PREFECT]}",
        "PREFECT_UI_API_URL": "/api",  # relative, so that the browser keeps the origin it opened
        "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": f"http://{HOST}:{port_by_process[PREFECT]}",
        "PREFECT_SERVER_API_AUTH_STRING": prefect_auth,
        "PREFECT_API_AUTH_STRING": prefect_auth,
        "CHRONOTOPE_MLFLOW_UI": f"http://{HOST}:{port_by_process[MLFLOW]}",
        "PREFECT_CLI_PROMPT": "false",
        "PREFECT_SERVER_DATABASE_TIMEOUT": "60",  # SQLite: other processes write too
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        "MLFLOW_BACKEND_STORE_URI": mlflow_url(Workspace(root).mlruns),  # may contain a password
        "MLFLOW_DEFAULT_ARTIFACT_ROOT": artifacts_url(Workspace(root).mlruns),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",  # bundles contain no pickle
        "PYTHONUNBUFFERED": "1",
    }


def _runner_options(config: Path | None, *, paused: bool) -> tuple[str, ...]:
    extra_options = () if config is None else ("--config", str(config.resolve()))
    return (*extra_options, "--paused") if paused else extra_options


def _is_deployed(port: int, dataset_name: str, started_at: datetime, root: Path) -> bool:
    """Whether the last deployment was registered after the start."""
    path = f"/api/deployments/name/{_LAST_DEPLOYED}/{dataset_name}"
    response_body = http_get_body(port, path, prefect_password(root))
    return (
        response_body is not None
        and datetime.fromisoformat(json.loads(response_body)["updated"]) >= started_at
    )


def _start(
    process_group: ProcessGroup,
    processes: Mapping[str, ManagedProcess],
    root: Path,
    dataset_name: str,
) -> None:
    from chronotope.registry.mlflow_store import open_store

    with ExitStack() as exit_stack:
        listening_sockets = {
            process_name: exit_stack.enter_context(_listen(processes[process_name]))
            for process_name in (PREFECT, MLFLOW)
        }
        open_store(Workspace(root).mlruns)  # migrations must not run in two processes at once
        for process_name, listening_socket in listening_sockets.items():
            process_group.start(processes[process_name], listening_socket)
    process_group.wait_for(PREFECT)
    process_group.start(processes[RUNNER])
    for process_name in (MLFLOW, RUNNER):
        process_group.wait_for(process_name)
    if _is_ingested(root, dataset_name):
        process_group.start(processes[SERVICE])
        process_group.wait_for(SERVICE)


def _listen(managed_process: ManagedProcess) -> socket.socket:
    """Listening socket on the port of a process.

    Raises:
        ConfigError: Another process took the port after it was checked.
    """
    try:
        return listen(managed_process.port or 0)
    except OSError:
        refuse_taken_ports([managed_process])
        raise


def _watch(
    process_group: ProcessGroup,
    processes: Mapping[str, ManagedProcess],
    root: Path,
    dataset_name: str,
) -> None:
    """Supervise the processes until an interrupt; start the service after the first ingestion."""
    while True:
        process_group.check()
        if SERVICE not in process_group.running and _is_ingested(root, dataset_name):
            process_group.start(processes[SERVICE])
        time.sleep(_POLL_S)


def _is_ingested(root: Path, dataset_name: str) -> bool:
    lake_location = Workspace(root).lake(dataset_name)
    if isinstance(lake_location, Path):
        return (lake_location / "events").is_dir()
    from chronotope.lake import Lake

    return Lake(lake_location).exists("events")


@contextmanager
def _stopping_on_signals() -> Iterator[None]:
    """Treat SIGTERM and SIGHUP like Ctrl-C, except signals that are ignored (as under nohup)."""
    previous_handlers = {
        signal_number: signal.getsignal(signal_number) for signal_number in _STOPPING
    }
    handled_signals = [
        signal_number
        for signal_number, signal_handler in previous_handlers.items()
        if signal_handler is not signal.SIG_IGN
    ]

    def stop(_number: int, _frame: object) -> None:
        for signal_number in handled_signals:  # a second signal must not interrupt the shutdown
            signal.signal(signal_number, signal.SIG_IGN)
        raise KeyboardInterrupt

    for signal_number in handled_signals:
        signal.signal(signal_number, stop)
    try:
        yield
    finally:
        for signal_number in handled_signals:
            signal.signal(signal_number, previous_handlers[signal_number])


def _show(
    terminal: Console,
    processes: Mapping[str, ManagedProcess],
    root: Path,
    *,
    as_json: bool,
    dry_run: bool,
) -> None:
    """Print addresses and the location of the password, not the password, since logs keep it."""
    if as_json:
        address_by_name: dict[str, Any] = {
            process_name: managed_process.address
            for process_name, managed_process in processes.items()
            if managed_process.port
        }
        path = password_file(root)
        password_entry = {"prefect_password_file": None if path is None else str(path)}
        print_json({"addresses": address_by_name, **password_entry, "dry_run": dry_run})
        return
    address_table = Table("", "address", "purpose")
    for process_name, purpose_text in _PURPOSES.items():
        address_table.add_row(process_name, processes[process_name].address, purpose_text)
    terminal.print(address_table)
    path = password_file(root)
    source_text = f"the value of {PASSWORD_VARIABLE}" if path is None else f"the line in {path}"
    terminal.print(f"The Prefect UI asks once for a password: {source_text}", soft_wrap=True)
    terminal.print("Nothing was started (dry run)." if dry_run else "Ctrl-C stops all of them.")


_PURPOSES: Final = {
    PREFECT: "trigger, schedule and follow flows: Deployments, then Run, Custom run",
    MLFLOW: "compare experiments, trials and versions",
    RUNNER: "execute the flow runs of the Prefect UI",
    SERVICE: "recommendations (API docs at /docs); starts when the dataset is ingested",
}
