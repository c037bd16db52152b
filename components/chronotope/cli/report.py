"""Command ``chronotope report``: find the latest HTML page of a dataset."""

import time
import webbrowser
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from chronotope.cli.output.console import print_json, run_command
from chronotope.contracts.errors import StoreError
from chronotope.contracts.escaping import visible_text
from chronotope.runtime.workspace import Workspace

Kind = Literal["training", "anomalies", "monitoring", "backfill"]

_CLOCK_TOLERANCE_S: Final = 60.0
_WAYS: Final[dict[Kind, str]] = {
    "training": "`chronotope train` writes one",
    "anomalies": "`chronotope anomalies train` writes one",
    "monitoring": "`chronotope monitor` writes one",
    "backfill": "`chronotope backfill` writes one",
}


def report(
    dataset: Annotated[str, typer.Option(help="Dataset of the report")],
    kind: Annotated[Kind, typer.Option(help="What the report is about")] = "training",
    root: Annotated[Path, typer.Option(help="Project root, the parent folder of stores")] = Path(),
    open_it: Annotated[bool, typer.Option("--open", help="Open the report in the browser")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the path as JSON")] = False,
) -> None:
    """Print the path of the latest HTML report of a training, or of another kind."""
    with run_command(f"Looking for the report of {dataset}"):
        report_path = latest_report(Workspace(root), dataset, kind)
    if as_json:
        print_json({"dataset": dataset, "kind": kind, "path": str(report_path)})
    else:
        typer.echo(visible_text(str(report_path)))
    if open_it:
        webbrowser.open(report_path.as_uri())


def latest_report(workspace: Workspace, dataset: str, kind: Kind = "training") -> Path:
    """Newest HTML page of a kind.

    Raises:
        ConfigError: There is no such dataset.
        StoreError: The dataset has no such page.
    """
    report_dir = _report_dir(workspace, dataset, kind)
    report_paths = [
        report_path.resolve()
        for file_pattern in _file_patterns(dataset, kind)
        for report_path in report_dir.glob(file_pattern)
        if kind != "training" or report_path.name != _anomaly_page(dataset)
    ]
    if not report_paths:
        from chronotope.registry.champion import require_dataset

        require_dataset(workspace.root, dataset)  # a mistyped name is the likeliest cause
        raise StoreError(
            f"Dataset {dataset!r} has no {kind} report yet",
            received=report_dir.resolve(),
            way_out=_WAYS[kind],
        )
    latest_valid_s = time.time() + _CLOCK_TOLERANCE_S

    def age_key(report_path: Path) -> tuple[bool, float]:
        # A file time in the future comes from a wrong clock; such a report is not the newest.
        modified_s = report_path.stat().st_mtime
        return modified_s <= latest_valid_s, modified_s

    return max(report_paths, key=age_key)


def _report_dir(workspace: Workspace, dataset: str, kind: Kind) -> Path:
    if kind == "monitoring":
        return workspace.monitoring(dataset)
    return workspace.backfills(dataset) if kind == "backfill" else workspace.reports()


def _file_patterns(dataset: str, kind: Kind) -> tuple[str, ...]:
    if kind == "training":
        return f"{dataset}.html", f"{dataset}-*.html", f"{dataset}/**/*.html"
    return (_anomaly_page(dataset),) if kind == "anomalies" else ("**/*.html",)


def _anomaly_page(dataset: str) -> str:
    return f"{dataset}-anomaly.html"
