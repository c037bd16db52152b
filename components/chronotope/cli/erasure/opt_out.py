"""Command ``chronotope opt-out``: users who object are neither logged nor learned from."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from chronotope.cli.output.console import print_json, run_command
from chronotope.cli.output.count_text import count_text


def opt_out(
    user: Annotated[list[str] | None, typer.Argument(help="Ids of the users")] = None,
    dataset: Annotated[str, typer.Option(help="Name of the dataset")] = "",
    users: Annotated[Path | None, typer.Option(help="File of ids instead, one a line")] = None,
    undo: Annotated[bool, typer.Option("--undo", help="Opt the users in again")] = False,
    root: Annotated[Path, typer.Option(help="Project root")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count the changes only; write nothing")
    ] = False,
) -> None:
    """Store that users have opted out: nothing more is logged of them, and no model learns.

    They are answered with what is popular. What is stored already stays until it is erased
    (`chronotope forget`) or past its retention.
    """
    with run_command(f"Changing the opt-out list of {dataset}") as terminal:
        from chronotope.datasets.values.users_file import read_users_file
        from chronotope.erasure.opt_out import change_opt_out
        from chronotope.registry.champion import require_dataset
        from flows.privacy.secret_keys import provide_lake_keys

        require_dataset(root, dataset)
        provide_lake_keys(root, dataset)
        user_ids = [*(user or []), *(read_users_file(users).user_ids if users else ())]
        result = change_opt_out(root, dataset, user_ids, opted_in=undo, dry_run=dry_run)
    if as_json:
        print_json({"dry_run": dry_run, **asdict(result)})
        return
    changed = count_text(result.n_changed, "user")
    verb = "would be" if dry_run else "was" if result.n_changed == 1 else "were"
    action = "removed from" if undo else "added to"
    terminal.print(
        f"{changed} {verb} {action} the opt-out list, which has {result.n_listed:,} then."
    )
