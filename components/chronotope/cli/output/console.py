"""Output shared by all commands: quiet libraries, a status spinner, JSON."""

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
_LONG_TIMEOUTS: Final = {
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "180",  # 20 are too few on a busy machine
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",  # SQLite: other processes write too
}
_QUIET_LOGGERS: Final = {
    "mlflow.store.db": logging.ERROR,  # reports the creation of tables, and errors that we report
    "optuna.study": logging.ERROR,  # prints tracebacks of errors that we report
}


@contextmanager
def run_command(status_text: str) -> Iterator[TerminalConsole]:
    """Run the work of a command with a status spinner, if standard error is a terminal.

    Environment variables of libraries that are already set keep their values. Exceptions are
    reported by ``error_report``.

    Args:
        status_text: Text beside the spinner.

    Yields:
        Console for the results.
    """
    for variable_name, variable_value in (_QUIET | _LONG_TIMEOUTS).items():
        os.environ.setdefault(variable_name, variable_value)
    for logger_name, log_level in _QUIET_LOGGERS.items():
        logging.getLogger(logger_name).setLevel(log_level)
    with TerminalConsole(stderr=True).status(visible_line(status_text)):
        yield TerminalConsole()


def print_json(result: dict[str, Any]) -> None:
    """Print a result as JSON on standard output."""
    typer.echo(json.dumps(result, indent=2))
