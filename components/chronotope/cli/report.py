"""Command ``chronotope report``: find the latest HTML report of a dataset."""

import time
import webbrowser
from pathlib import Path
from typing import Annotated, Final

import typer

from chronotope.cli.output.console import print_json, run_command
from chronotope.contracts.errors import StoreError
from chronotope.contracts.escaping import visible_text
from chronotope.runtime.workspace import Workspace

_CLOCK_TOLERANCE_S: Final = 60.0


def report(
    dataset: Annotated[str, typer.Option(help="Dataset of the report")],
    root: Annotated[Path, typer.Option(help="Project root, the parent folder of stores")] = Path(),
    open_it: Annotated[bool, typer.Option("--open", help="Open the report in the browser")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the path as JSON")] = False,
) -> None:
    """Print the path of the latest HTML report."""
    with run_command(f"Looking for the report of {dataset}"):
        report_path = latest_report(Workspace(root).reports(), dataset)
    if as_json:
        print_json({"dataset": dataset, "path": str(report_path)})
    else:
        typer.echo(visible_text(str(report_path)))
    if open_it:
        webbrowser.open(report_path.as_uri())


def latest_report(report_dir: Path, dataset: str) -> Path:
    """Newest of ``DATASET.html``, ``DATASET-*.html`` and the HTML files below ``DATASET/``.

    Raises:
        StoreError: The dataset has no report.
    """
    file_patterns = (f"{dataset}.html", f"{dataset}-*.html", f"{dataset}/**/*.html")
    report_paths = [
        report_path.resolve()
        for file_pattern in file_patterns
        for report_path in report_dir.glob(file_pattern)
    ]
    if not report_paths:
        raise StoreError(
            f"Dataset {dataset!r} has no report yet",
            received=report_dir.resolve(),
            way_out="Train a model; every training writes a report",
        )
    latest_valid_s = time.time() + _CLOCK_TOLERANCE_S

    def age_key(report_path: Path) -> tuple[bool, float]:
        # A file time in the future comes from a wrong clock; such a report is not the newest.
        modified_s = report_path.stat().st_mtime
        return modified_s <= latest_valid_s, modified_s

    return max(report_paths, key=age_key)
