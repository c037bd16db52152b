"""Command ``chronotope rebucket``: migrate a lake to another number of buckets of users."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from chronotope.cli.output.console import print_json, run_command


def rebucket(
    dataset: Annotated[str, typer.Argument(help="Name in conf/datasets, or a YAML file")],
    buckets: Annotated[
        int,
        typer.Option(min=1, help="Buckets of users; about one per 10^7 events"),
    ],
    root: Annotated[
        Path, typer.Option(help="Project root; all files are written below it")
    ] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON")] = False,
    dry_run: Annotated[bool, typer.Option(help="Show what would be rewritten")] = False,
) -> None:
    """Rewrite the stored events with another number of buckets of users, in one commit.

    Earlier versions stay readable, and so does the quarantine. If the command is killed, nothing
    has changed. Set `user_buckets` in the dataset's YAML to the same number.
    """
    with run_command(f"Distributing the events of {dataset} over {buckets:,} buckets") as terminal:
        from chronotope.datasets.loading import load_spec
        from chronotope.lake import Lake
        from chronotope.lake.bucketed.rebucket import plan_rebucket, rebucket_events
        from chronotope.registry.champion import require_dataset
        from chronotope.runtime.dataset_lock import dataset_lock
        from chronotope.runtime.workspace import Workspace

        dataset_spec = load_spec(dataset)
        dataset_spec.require_user_identity(buckets)
        require_dataset(root, dataset_spec.name)
        workspace = Workspace(root)
        lake = Lake(workspace.lake(dataset_spec.name))
        if dry_run:
            report = plan_rebucket(lake, buckets)
        else:
            with dataset_lock(workspace, dataset_spec.name):
                report = rebucket_events(lake, buckets)
    if as_json:
        print_json({"dataset": dataset_spec.name, "dry_run": dry_run, **asdict(report)})
        return
    verb = "would be" if dry_run else "are"
    terminal.print(
        f"{report.n_rows:,} events {verb} in {report.n_buckets:,} buckets of users "
        f"(before: {report.n_before:,}), version {report.version} of the table"
    )
    if dataset_spec.user_buckets != report.n_buckets:
        terminal.print(f"Set user_buckets: {report.n_buckets} in the dataset's YAML")
