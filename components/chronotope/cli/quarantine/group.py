"""Group ``chronotope quarantine``: commands around refused rows."""

import typer

from chronotope.cli.output.error_report import ReportingCommand, ReportingGroup
from chronotope.cli.quarantine.refused_rows import discard_rows, replay_rows, show_rows

quarantine = typer.Typer(
    cls=ReportingGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Look at refused rows, read them again, or discard them.",
)
quarantine.command("show", cls=ReportingCommand)(show_rows)
quarantine.command("replay", cls=ReportingCommand)(replay_rows)
quarantine.command("discard", cls=ReportingCommand)(discard_rows)
