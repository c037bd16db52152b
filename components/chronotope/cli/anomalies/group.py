"""Group ``chronotope anomalies``: commands around anomaly detectors."""

import typer

from chronotope.cli.anomalies.held_events import release_held, show_held
from chronotope.cli.anomalies.train_anomaly import train_detector
from chronotope.cli.output.error_report import ReportingCommand, ReportingGroup

anomalies = typer.Typer(
    cls=ReportingGroup,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Detect events that are not their user's.",
)
anomalies.command("train", cls=ReportingCommand)(train_detector)
anomalies.command("held", cls=ReportingCommand)(show_held)
anomalies.command("release", cls=ReportingCommand)(release_held)
