"""``chronotope monitor``: is what comes in, and what is answered, still as usual?"""

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from chronotope.cli.output.console import print_json, run_command
from chronotope.cli.output.terminal import TerminalConsole
from chronotope.datasets.loading import load_spec
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
        float, typer.Option(min=0.001, help="A champion older than this is flagged")
    ] = MonitorConfig().max_age_days,
    force: Annotated[bool, typer.Option(help="Measure again what was measured already")] = False,
    root: Annotated[Path, typer.Option(help="Everything written lies below it")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON")] = False,
    dry_run: Annotated[bool, typer.Option(help="Measure and show; keep and tell nothing")] = False,
) -> None:
    """Compare the newest window with what history says is usual, and tell of drift.

    Watched are the data, the champion's predictions, and what became of its answers. Running it
    again on the same data does nothing more.
    """
    config = MonitorConfig(window_days=window_days, max_age_days=max_age_days, force=force)
    with run_command(f"Watching {dataset}") as console, ExitStack() as stack:
        from flows.ingest_events import IngestSettings
        from flows.monitor_drift import MonitoringResult, monitor_drift
        from flows.private_server import run_by_hand

        settings = IngestSettings(root=root)
        if dry_run:
            name = load_spec(dataset).name
            result = MonitoringResult(dataset=name, report=_measured(name, config, settings))
        else:
            stack.enter_context(run_by_hand(root))
            result = monitor_drift(dataset, config, settings)
    if as_json:
        print_json(result.model_dump(mode="json") | {"dry_run": dry_run})
    else:
        _show(console, result)


def _measured(dataset: str, config: MonitorConfig, settings: "IngestSettings") -> "DriftReport":
    """The same without a trace; the snapshot that the champion is asked on is thrown away."""
    from chronotope.monitoring.monitor import monitor as measure
    from flows.ingest_events import build_snapshot
    from flows.monitor_drift import read_monitored_state

    with TemporaryDirectory() as scratch:
        features = build_snapshot(dataset, settings, Path(scratch))
        subject = read_monitored_state(dataset, features, config, settings.root)
        return measure(subject)


def _show(console: TerminalConsole, result: "MonitoringResult") -> None:
    report = result.report
    if report is None:
        console.print("Verdict: not enough history\n- the lake holds no events")
        return
    table = Table("part", "what", "how", "now", "usual", "drift begins", "p", "verdict")
    for check in report.checks:
        numbers = (check.value, check.usual, check.threshold, check.p_value)
        told = ("" if number is None else f"{number:.4g}" for number in numbers)
        words = (check.part, check.name, check.statistic)
        table.add_row(*words, *told, check.verdict)
    if table.row_count:
        console.print(table)
    lines = [f"Verdict: {report.verdict}", *(f"- {of}" for of in report.reasons)]
    lines += [f"- {of}" for of in report.notes]
    if report.is_old:
        lines.append(f"- the champion is {report.champion_age_days:.1f} days old")
    if result.folder is not None:
        lines.append(f"Page: {result.folder}/drift.html")
    console.print("\n".join(lines), soft_wrap=True)
