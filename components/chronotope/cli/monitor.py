"""Command ``chronotope monitor``: detect drift of data, predictions and outcomes."""

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from chronotope.cli.flow_server import flow_server
from chronotope.cli.output.console import print_json, run_command
from chronotope.cli.output.terminal import TerminalConsole
from chronotope.monitoring.config import MonitorConfig

if TYPE_CHECKING:
    from chronotope.contracts.drift_report import DriftReport
    from flows.ingest_events import IngestSettings
    from flows.monitor_drift import MonitoringResult


def monitor(
    dataset: Annotated[str, typer.Option(help="Name in conf/datasets, or a YAML file")],
    window_days: Annotated[
        int, typer.Option(min=1, max=366, help="Length of a window, in days")
    ] = MonitorConfig().window_days,
    max_age_days: Annotated[
        float, typer.Option(min=0.001, help="Age in days beyond which a champion is flagged")
    ] = MonitorConfig().max_age_days,
    force: Annotated[
        bool, typer.Option(help="Measure again even if this data was measured before")
    ] = False,
    root: Annotated[
        Path, typer.Option(help="Project root; all files are written below it")
    ] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON")] = False,
    dry_run: Annotated[
        bool, typer.Option(help="Measure and show; store no report and emit no event")
    ] = False,
) -> None:
    """Compare the newest time window with earlier ones, and report drift.

    Monitored are the data, the champion's predictions, and the outcome of its recommendations.
    Running it again on the same data changes nothing.
    """
    monitor_config = MonitorConfig(window_days=window_days, max_age_days=max_age_days, force=force)
    with run_command(f"Monitoring {dataset}") as terminal, ExitStack() as exit_stack:
        from chronotope.datasets.loading import load_spec

        dataset_name = load_spec(dataset).name
        if not dry_run:
            exit_stack.enter_context(flow_server(root, "flows.monitor_drift", validates=False))
        from flows.ingest_events import IngestSettings
        from flows.monitor_drift import MonitoringResult, monitor_drift

        ingest_settings = IngestSettings(root=root)
        if dry_run:
            monitoring_result = MonitoringResult(
                dataset=dataset_name,
                report=_measure_only(dataset, monitor_config, ingest_settings),
            )
        else:
            monitoring_result = monitor_drift(dataset, monitor_config, ingest_settings)
    if as_json:
        print_json(monitoring_result.model_dump(mode="json") | {"dry_run": dry_run})
    else:
        _show(terminal, monitoring_result)


def _measure_only(
    dataset: str, monitor_config: MonitorConfig, ingest_settings: "IngestSettings"
) -> "DriftReport":
    """Drift report that is not stored; its feature snapshot is built in a temporary folder."""
    from chronotope.datasets.loading import load_spec
    from chronotope.monitoring.monitor import monitor as measure
    from flows.ingest_events import build_snapshot
    from flows.monitor_drift import read_monitored_state

    with TemporaryDirectory() as scratch_dir:
        feature_snapshot = build_snapshot(dataset, ingest_settings, Path(scratch_dir))
        monitored_state = read_monitored_state(
            load_spec(dataset).name, feature_snapshot, monitor_config, ingest_settings.root
        )
        return measure(monitored_state)


def _show(terminal: TerminalConsole, monitoring_result: "MonitoringResult") -> None:
    drift_report = monitoring_result.report
    if drift_report is None:
        terminal.print("Verdict: not enough history\n- the lake contains no events")
        return
    check_table = Table()
    for column in ("part", "subject", "statistic", "current", "usual", "threshold", "p", "verdict"):
        check_table.add_column(column, overflow="fold")  # a narrow terminal cuts nothing
    for drift_check in drift_report.checks:
        check_numbers = (
            drift_check.value,
            drift_check.usual,
            drift_check.threshold,
            drift_check.p_value,
        )
        number_texts = ("" if number is None else f"{number:.4g}" for number in check_numbers)
        check_names = (drift_check.part, drift_check.name, drift_check.statistic)
        check_table.add_row(*check_names, *number_texts, drift_check.verdict)
    if check_table.row_count:
        terminal.print(check_table)
    output_lines = [f"Verdict: {drift_report.verdict}"]
    output_lines += [f"- {sentence}" for sentence in (*drift_report.reasons, *drift_report.notes)]
    if drift_report.is_old:
        output_lines.append(f"- the champion is {drift_report.champion_age_days:.1f} days old")
    if monitoring_result.folder is not None:
        output_lines.append(f"Page: {monitoring_result.folder}/drift.html")
    terminal.print("\n".join(output_lines), soft_wrap=True)
