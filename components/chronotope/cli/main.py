"""Entry point of the ``chronotope`` command line: registers all commands."""

import atexit
import gc
import os
from collections.abc import Callable
from importlib.metadata import version
from typing import Annotated, Final

import typer

from chronotope.cli.anomalies.group import anomalies
from chronotope.cli.audit.group import audit
from chronotope.cli.backfill import backfill
from chronotope.cli.classify import classify
from chronotope.cli.compress import compress
from chronotope.cli.demo import demo
from chronotope.cli.doctor import doctor
from chronotope.cli.embed import embed
from chronotope.cli.erasure.forget import forget
from chronotope.cli.erasure.opt_out import opt_out
from chronotope.cli.experiment import experiment
from chronotope.cli.explanations.explain import explain
from chronotope.cli.federated.federate import federate
from chronotope.cli.federated.federate_client import federate_client
from chronotope.cli.feedback import feedback
from chronotope.cli.ingest import ingest
from chronotope.cli.init import init
from chronotope.cli.lakes.compact import compact
from chronotope.cli.lakes.migrate_state import migrate_state
from chronotope.cli.lakes.rebucket import rebucket
from chronotope.cli.monitor import monitor
from chronotope.cli.output.error_report import DEBUG, ReportingCommand, ReportingGroup
from chronotope.cli.pretraining.pretrain import pretrain
from chronotope.cli.privacy.group import pseudonyms
from chronotope.cli.privacy.retain import retain
from chronotope.cli.quarantine.group import quarantine
from chronotope.cli.recommend import recommend
from chronotope.cli.report import report
from chronotope.cli.score import score
from chronotope.cli.serve import serve
from chronotope.cli.synthesis.simulate import simulate
from chronotope.cli.synthesis.synthesise import synthesise
from chronotope.cli.train import train
from chronotope.cli.up import up
from chronotope.cli.versions import history, promote, rollback

app = typer.Typer(
    cls=ReportingGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Predict what a user does next, when and where.",
)
_COMMANDS: Final[tuple[Callable[..., None], ...]] = (
    demo,
    init,
    ingest,
    rebucket,
    compact,
    migrate_state,
    embed,
    classify,
    train,
    pretrain,
    federate,
    federate_client,
    feedback,
    compress,
    monitor,
    backfill,
    simulate,
    synthesise,
    recommend,
    explain,
    score,
    serve,
    experiment,
    promote,
    rollback,
    history,
    report,
    forget,
    opt_out,
    retain,
    up,
    doctor,
)
for _command in _COMMANDS:
    app.command(cls=ReportingCommand)(_command)
app.add_typer(anomalies, name="anomalies")
app.add_typer(audit, name="audit")
app.add_typer(pseudonyms, name="pseudonyms")
app.add_typer(quarantine, name="quarantine")


def _show_version(is_requested: bool) -> None:
    if is_requested:
        typer.echo(f"chronotope {version('chronotope')}")
        raise typer.Exit


@app.callback()
def _main(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version"),
    ] = False,
    debug: Annotated[  # read by the error report, from the context
        bool,
        typer.Option("--debug", envvar=DEBUG, help="Show the full stack trace of an error"),
    ] = False,
) -> None:
    """Predict what a user does next, when and where."""


def run() -> None:
    """Run the command line as a program.

    When the interpreter exits, Prefect's threads still use DuckDB, whose bindings then print
    hundreds of leaked objects. All output has been printed by then, so standard error is closed.
    """
    atexit.register(_silence_exit)  # registered first, so it is called last
    app()


def _silence_exit() -> None:
    """Let the interpreter end without output, and without a last search for garbage.

    Over the modules of torch, MLflow and Prefect that search takes more than a second.
    """
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    gc.freeze()
