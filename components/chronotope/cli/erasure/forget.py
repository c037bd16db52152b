"""Command ``chronotope forget``: erase users from every store."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.table import Table

from chronotope.cli.output.console import print_json, run_command
from chronotope.cli.output.count_text import count_text
from chronotope.cli.output.terminal import TerminalConsole

if TYPE_CHECKING:
    from chronotope.erasure import Certificate

_N_SHOWN: Final = 5


def forget(
    user: Annotated[list[str] | None, typer.Argument(help="Ids of the users to erase")] = None,
    dataset: Annotated[str, typer.Option(help="Name of the dataset")] = "",
    users: Annotated[
        Path | None, typer.Option(help="File of ids instead, one a line; it is not removed")
    ] = None,
    root: Annotated[Path, typer.Option(help="Project root")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the certificate as JSON")] = False,
    dry_run: Annotated[
        bool, typer.Option(help="Count the rows in the lake and show them; remove nothing")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask")] = False,
) -> None:
    """Erase users: their rows in all versions of the lake, logs, and files made from them.

    Their rows in the dataset's source are dropped by later ingestions. Models are not changed:
    train anew to replace those that counted these users.
    """
    with run_command(f"Erasing users of {dataset}") as terminal:
        from chronotope.datasets.values.users_file import read_users_file
        from chronotope.erasure import count_lake_rows, forget_users, users_without_rows
        from chronotope.registry.champion import require_dataset
        from flows.privacy.secret_keys import provide_lake_keys

        require_dataset(root, dataset)
        provide_lake_keys(root, dataset)
        user_ids = [*(user or []), *(read_users_file(users).user_ids if users else ())]
        unknown_ids = users_without_rows(root, dataset, user_ids)
        if dry_run:
            rows_by_table = count_lake_rows(root, dataset, user_ids)
            if as_json:
                print_json({"dry_run": True, "rows": rows_by_table, "unknown": unknown_ids})
            else:
                show_rows(terminal, rows_by_table, unknown_ids)
            return
        if unknown_ids:
            typer.echo(_unknown_text(unknown_ids), err=True)
        if not yes and not typer.confirm(
            f"Erase {count_text(len(user_ids), 'user')} of {dataset}? This cannot be undone"
        ):
            raise typer.Abort
        certificate = forget_users(root, dataset, user_ids)
    if as_json:
        print_json(certificate.model_dump(mode="json"))
    else:
        show_certificate(terminal, certificate)


def show_rows(
    terminal: TerminalConsole, rows_by_table: Mapping[str, int], unknown_ids: Sequence[str]
) -> None:
    """Print how many rows of the users each table has.

    Args:
        terminal: Where to print.
        rows_by_table: Number of rows by table.
        unknown_ids: Ids of which no table has a row.
    """
    for table_name, n_rows in rows_by_table.items():
        terminal.print(f"{table_name}: {n_rows:,} rows would be removed, in all versions")
    if unknown_ids:
        terminal.print(_unknown_text(unknown_ids), soft_wrap=True)


def _unknown_text(unknown_ids: Sequence[str]) -> str:
    """Names ids that may be mistyped; in quotes, since a blank is part of an id."""
    shown = ", ".join(repr(user_id) for user_id in unknown_ids[:_N_SHOWN])
    more = f" and {len(unknown_ids) - _N_SHOWN:,} more" if len(unknown_ids) > _N_SHOWN else ""
    return f"No table has a row of {shown}{more}: ids are compared letter by letter."


def show_certificate(terminal: TerminalConsole, certificate: "Certificate") -> None:
    """Print what was removed, and what is left to do.

    Args:
        terminal: Where to print.
        certificate: Result of the erasure.
    """
    table = Table(title=f"{count_text(len(certificate.user_digests), 'user')} erased")
    for heading in ("Store", "Removed", ""):
        table.add_column(heading, justify="right" if heading == "Removed" else "left")
    for store in certificate.stores:
        table.add_row(store.store, f"{store.n_removed:,} {store.unit}", store.note)
    terminal.print(table)
    terminal.print(
        f"{certificate.n_files_searched:,} files were searched afterwards; none holds an id. "
        f"Certificate: {certificate.path}"
    )
    if certificate.models:
        terminal.print(
            f"Trained with these users: versions {', '.join(certificate.models)}. "
            f"Replace them: chronotope train {certificate.dataset}. Running services follow at "
            "their next poll."
        )
