"""Command ``chronotope anomalies train``: search, fit, evaluate and promote a detector."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from chronotope.cli.flow_server import flow_server
from chronotope.cli.output.console import print_json, run_command
from chronotope.cli.output.terminal import TerminalConsole

if TYPE_CHECKING:
    from chronotope.pipelines.anomaly.results import AnomalyTrainingResult


def train_detector(
    dataset: Annotated[str, typer.Argument(help="Name in conf/datasets, or a YAML file")],
    data: Annotated[Path | None, typer.Option(help="Folder of the data files")] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML of settings, e.g. conf/anomaly/quick.yaml")
    ] = None,
    root: Annotated[
        Path, typer.Option(help="Project root; all files are written below it")
    ] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON")] = False,
    dry_run: Annotated[bool, typer.Option(help="Check and show the settings only")] = False,
) -> None:
    """Search, fit, evaluate and promote an anomaly detector.

    A run that was killed resumes after its last finished step.
    """
    with (
        run_command(f"Anomaly detector of {dataset}") as terminal,
        ExitStack() as exit_stack,
    ):
        from chronotope.datasets.loading import load_spec
        from chronotope.pipelines.anomaly.settings import read_anomaly_settings

        settings = read_anomaly_settings(config, root)
        load_spec(dataset, data_dir=data)
        if dry_run:
            terminal.print_json(settings.model_dump_json(), highlight=False, ensure_ascii=True)
            return
        exit_stack.enter_context(flow_server(root, "flows.anomalies.train_anomaly", validates=True))
        from flows.anomalies.train_anomaly import train_anomaly
        from flows.ingest_events import IngestSettings

        result = train_anomaly(dataset, settings, IngestSettings(root=root, data_dir=data))
    if as_json:
        print_json(result.model_dump(mode="json"))
    else:
        show_training(terminal, result)


def show_training(terminal: TerminalConsole, result: "AnomalyTrainingResult") -> None:
    """Print the metrics of all detectors, and the decision.

    Args:
        terminal: Where to print.
        result: Result of the flow.
    """
    metrics_table = Table(title=f"Latest days, {result.evaluation.labels} labels")
    for column in ("detector", "auroc", "average precision", "alert precision"):
        metrics_table.add_column(column)
    for name, metrics in result.evaluation.metrics.items():
        metric_values = (metrics.auroc, metrics.average_precision, metrics.alert_precision)
        metrics_table.add_row(name, *(f"{value:.3f}" for value in metric_values))
    terminal.print(metrics_table)
    promotion_result = result.promotion
    verdict_text = "is the champion" if promotion_result.promoted else "stays challenger"
    terminal.print(
        f"Version {promotion_result.version} of {promotion_result.name} "
        f"({result.search.detector}) {verdict_text}"
    )
    for reason in promotion_result.reasons:
        terminal.print(f"- {reason}", soft_wrap=True)
    terminal.print(f"Report: {result.report}", soft_wrap=True)
