"""What all commands share: quiet libraries, errors in one red line, JSON for machines."""

import json
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import typer
from rich.console import Console
from rich.text import Text

from chronotope.contracts.errors import ChronotopeError, StoreError
from chronotope.contracts.escaping import visible_text

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
_NO_SERVER: Final = "ephemeral Prefect API server"
"""In the message of the bare RuntimeError that Prefect raises if its server does not start."""

_QUIET_LOGGERS: Final = {
    "mlflow.store.db": logging.WARNING,  # says that it makes its tables
    "optuna.study": logging.ERROR,  # prints a traceback of what we raise, before we say it
}


class LiteralConsole(Console):
    """Shows texts as they are: in none of them is markup, an emoji code or a control sequence."""

    def __init__(self, **options: Any) -> None:
        """Make a console.

        Args:
            options: As of ``rich.console.Console``.
        """
        super().__init__(markup=False, emoji=False, **options)

    def render_str(self, text: str, **options: Any) -> Text:
        """What every text that is printed goes through, in tables and outside."""
        return super().render_str(visible_text(text), **options)


@contextmanager
def command(doing: str) -> Iterator[Console]:
    """Run a command's work: a spinner on a terminal, and exit code 1 for our own errors.

    Settings of the libraries that somebody made in the environment stay as they are.

    Args:
        doing: What the spinner says.

    Yields:
        The console to print results on.
    """
    for name, value in (_QUIET | _PATIENT).items():
        os.environ.setdefault(name, value)
    for name, level in _QUIET_LOGGERS.items():
        logging.getLogger(name).setLevel(level)
    try:
        with Console(stderr=True).status(doing):
            yield LiteralConsole()
    except ChronotopeError as error:
        _print_error(error)
        raise typer.Exit(1) from None
    except RuntimeError as error:
        if _NO_SERVER not in str(error):
            raise
        _print_error(
            StoreError(
                "Prefect's own server did not start in time",
                received=error,
                way_out="Run again when the machine is less busy, or start `prefect server start` "
                "once and set PREFECT_API_URL, so that all commands share it",
            )
        )
        raise typer.Exit(1) from None


def _print_error(error: ChronotopeError) -> None:
    console = LiteralConsole(stderr=True)
    console.print("Error:", style="bold red", end=" ")
    console.print(str(error), style="red", highlight=False)


def print_json(result: dict[str, Any]) -> None:
    """Write a result to standard output, for machines."""
    typer.echo(json.dumps(result, indent=2))
