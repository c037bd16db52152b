"""The entry point ``chronotope``: names the commands."""

import atexit
import os
from importlib.metadata import version
from typing import Annotated

import typer

from chronotope.cli.backfill import backfill
from chronotope.cli.compress import compress
from chronotope.cli.demo import demo
from chronotope.cli.doctor import doctor
from chronotope.cli.experiment import experiment
from chronotope.cli.feedback import feedback
from chronotope.cli.ingest import ingest
from chronotope.cli.monitor import monitor
from chronotope.cli.recommend import recommend
from chronotope.cli.report import report
from chronotope.cli.serve import serve
from chronotope.cli.train import train
from chronotope.cli.up import up
from chronotope.cli.versions import history, promote, rollback

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Predict what a user does next, when and where.",
)
app.command()(demo)
app.command()(ingest)
app.command()(train)
app.command()(feedback)
app.command()(compress)
app.command()(monitor)
app.command()(backfill)
app.command()(recommend)
app.command()(serve)
app.command()(experiment)
app.command()(promote)
app.command()(rollback)
app.command()(history)
app.command()(report)
app.command()(up)
app.command()(doctor)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"chronotope {version('chronotope')}")
        raise typer.Exit


@app.callback()
def _main(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version"),
    ] = False,
) -> None:
    """Predict what a user does next, when and where."""


def run() -> None:
    """Run the command line as a program.

    Prefect's threads still hold DuckDB when the interpreter ends, and its bindings then
    list hundreds of objects. All has been said by then, so the last to leave shuts the door.
    """
    atexit.register(_silence_stderr)  # registered first, so called after everybody else
    app()


def _silence_stderr() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
