"""Command ``chronotope retain``: remove what is past the dataset's retention."""

from pathlib import Path
from typing import Annotated

import typer

from chronotope.cli.output.console import print_json, run_command


def retain(
    dataset: Annotated[str, typer.Argument(help="Name of the dataset")],
    days: Annotated[
        float | None,
        typer.Option(min=0.01, help="Days to keep; default: privacy.retain_days of the dataset"),
    ] = None,
    root: Annotated[Path, typer.Option(help="Project root, the parent folder of stores")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count the rows only; remove nothing")
    ] = False,
) -> None:
    """Remove events, refused rows, answers and predictions past retention, in all versions."""
    with run_command(f"Removing what {dataset} has kept long enough") as terminal:
        from chronotope.erasure.retention import expire_data
        from chronotope.registry.champion import require_dataset

        require_dataset(root, dataset)
        report = expire_data(root, dataset, retain_days=days, dry_run=dry_run)
    if as_json:
        print_json({"dry_run": dry_run, **report.model_dump(mode="json")})
        return
    verb = "would be" if dry_run else "were"
    lines = [
        f"{store.store}: {store.n_removed:,} {store.unit} {verb} removed" for store in report.stores
    ]
    terminal.print("\n".join([f"Before {report.expired_before:%Y-%m-%d %H:%M} UTC:", *lines]))
