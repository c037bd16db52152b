"""Command ``chronotope migrate-state``: from SQLite and files below a root into Postgres."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.table import Table

from chronotope.cli.output.console import print_json, run_command


def migrate_state(
    root: Annotated[Path, typer.Option(help="Project root with the files")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON")] = False,
    dry_run: Annotated[bool, typer.Option(help="Show what would be copied")] = False,
) -> None:
    """Copy the state of a root into the database of CHRONOTOPE_STATE_URL.

    Interaction log, posted items, labels, watermarks, experiments, the journal of promotions,
    certificates of erasure, classifiers of item texts and the audit trail, of any number of roots.
    Stop services and workers first. Each copy is compared with its file, which is then closed
    for writes; no file is deleted. Running it again, after a kill as well, is safe.
    """
    with run_command("Migrating the state") as terminal:
        from chronotope.audit import migrate_trail, plan_trail_migration
        from chronotope.runtime.state import migration

        if dry_run:
            stores = [*migration.plan_migration(root), *plan_trail_migration(root)]
        else:
            stores = [*migration.migrate_state(root), *migrate_trail(root)]
    if as_json:
        print_json({"dry_run": dry_run, "stores": [asdict(store) for store in stores]})
        return
    if not stores:
        terminal.print("There is nothing to migrate below this root")
        return
    result_table = Table("file", "rows", "in the database", box=box.SIMPLE)
    for store in stores:
        result_table.add_row(store.name, f"{store.n_rows:,}", "yes" if store.is_migrated else "no")
    terminal.print(result_table)
