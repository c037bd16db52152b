"""Command ``chronotope compact``: join the small files of many deliveries."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from chronotope.cli.output.console import print_json, run_command


def compact(
    dataset: Annotated[str, typer.Argument(help="Name in conf/datasets, or a YAML file")],
    target_mb: Annotated[
        float, typer.Option(min=1, help="Size up to which files are joined, MiB")
    ] = 128,
    root: Annotated[
        Path, typer.Option(help="Project root; all files are written below it")
    ] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON")] = False,
    dry_run: Annotated[bool, typer.Option(help="Show what would be joined")] = False,
) -> None:
    """Join the small files of a lake's events and quarantine, bucket by bucket.

    Rows and earlier versions stay; readers are not disturbed. If the command is killed, nothing
    has changed. Old files stay on the disk until earlier versions are given up.
    """
    with run_command(f"Compacting the lake of {dataset}") as terminal:
        from chronotope.datasets.loading import load_spec
        from chronotope.lake import Lake
        from chronotope.lake.bucketed.compact_files import compact_files, plan_compaction
        from chronotope.registry.champion import require_dataset
        from chronotope.runtime.dataset_lock import dataset_lock
        from chronotope.runtime.workspace import Workspace

        name = load_spec(dataset).name
        require_dataset(root, name)
        workspace = Workspace(root)
        lake, target_bytes = Lake(workspace.lake(name)), int(target_mb * 2**20)
        if dry_run:
            reports = plan_compaction(lake, target_bytes=target_bytes)
        else:
            with dataset_lock(workspace, name):
                reports = compact_files(lake, target_bytes=target_bytes)
    if as_json:
        tables = [asdict(report) for report in reports]
        print_json({"dataset": name, "dry_run": dry_run, "tables": tables})
        return
    files_now = "files expected" if dry_run else "files"
    result_table = Table("table", "rows", "files before", files_now, "version", box=box.SIMPLE)
    for report in reports:
        counts = (report.n_rows, report.n_before, report.n_files, report.version)
        result_table.add_row(report.table, *(f"{count:,}" for count in counts))
    terminal.print(result_table if reports else "The lake has no events yet")
