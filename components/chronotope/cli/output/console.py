"""Output shared by all commands: quiet libraries, a status spinner or progress bar, JSON."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import typer

from chronotope.cli.output.terminal import TerminalConsole
from chronotope.contracts.escaping import visible_line

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

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
    _quiet_libraries()
    with TerminalConsole(stderr=True).status(visible_line(status_text)):
        yield TerminalConsole()


@contextmanager
def run_with_progress(status_text: str) -> Iterator[tuple[TerminalConsole, "ProgressBar"]]:
    """Like ``run_command``, with a progress bar that shows counts and a rate.

    Args:
        status_text: Text beside the bar.

    Yields:
        Console for the results, and the bar.
    """
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        SpinnerColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    _quiet_libraries()
    terminal = TerminalConsole(stderr=True)
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=terminal, transient=True, disable=not terminal.is_terminal
    ) as progress:
        task = progress.add_task(visible_line(status_text), total=None, rate="")
        yield TerminalConsole(), ProgressBar(progress, task)


@dataclass(frozen=True, slots=True)
class ProgressBar:
    """Bar of a running command; it is shown only on a terminal.

    Attributes:
        progress: Display of the bar.
        task: The bar within it.
    """

    progress: "Progress"
    task: "TaskID"

    def show(self, n_done: int, n_total: int, rate_text: str) -> None:
        """Show how far the command is, and its rate."""
        self.progress.update(self.task, completed=n_done, total=n_total, rate=rate_text)


def _quiet_libraries() -> None:
    """Set the defaults of the libraries' environment variables and loggers."""
    for variable_name, variable_value in (_QUIET | _LONG_TIMEOUTS).items():
        os.environ.setdefault(variable_name, variable_value)
    for logger_name, log_level in _QUIET_LOGGERS.items():
        logging.getLogger(logger_name).setLevel(log_level)


def print_json(result: dict[str, Any]) -> None:
    """Print a result as JSON on standard output."""
    typer.echo(json.dumps(result, indent=2))
