"""Group ``chronotope audit``: commands around the audit trail."""

import typer

from chronotope.cli.audit.trail_commands import (
    expire,
    list_certificates,
    list_entries,
    rotate_secret,
    verify_trail,
)
from chronotope.cli.output.error_report import ReportingCommand, ReportingGroup

audit = typer.Typer(
    cls=ReportingGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Show and verify who changed what, when and why.",
)
audit.command("list", cls=ReportingCommand)(list_entries)
audit.command("verify", cls=ReportingCommand)(verify_trail)
audit.command("rotate", cls=ReportingCommand)(rotate_secret)
audit.command("expire", cls=ReportingCommand)(expire)
audit.command("certificates", cls=ReportingCommand)(list_certificates)
