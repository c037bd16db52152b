"""What all commands share: quiet libraries, a spinner, JSON for machines."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import typer

from chronotope.cli.output.terminal import TerminalConsole
from chronotope.contracts.escaping import visible_line

_QUIET: Final = {
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "ERROR",
    "PREFECT_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_LOGGING_LEVEL": "CRITICAL",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
}
_PATIENT: Final = {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",  # 20 are few beside other trainings
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",  # SQLite: others write too
}
_QUIET_LOGGERS: Final = {
    "mlflow.store.db": logging.ERROR,  # says that it makes its tables, and what we raise
    "optuna.study": logging.ERROR,  # prints a traceback of what we raise, before we say it
}


@contextmanager
def run_command(status_text: str) -> Iterator[TerminalConsole]:
    """Run a command's work below a spinner on a terminal.

    Settings of the libraries that somebody made in the environment stay as they are. What is
    raised is reported by ``error_report``.

    Args:
        status_text: What the spinner says.

    Yields:
        The console to print results on.
    """
    for variable_name, variable_value in (_QUIET | _PATIENT).items():
        os.environ.setdefault(variable_name, variable_value)
    for variable_name, log_level in _QUIET_LOGGERS.items():
        logging.getLogger(variable_name).setLevel(log_level)
    with TerminalConsole(stderr=True).status(visible_line(status_text)):
        yield TerminalConsole()


def print_json(result: dict[str, Any]) -> None:
    """Write a result to standard output, for machines."""
    typer.echo(json.dumps(result, indent=2))
