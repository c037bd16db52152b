"""Commands ``chronotope pseudonyms rotate`` and ``new-key``."""

import secrets
from pathlib import Path
from typing import Annotated

import typer

from chronotope.cli.output.console import print_json, run_command
from chronotope.cli.output.error_report import ReportingCommand, ReportingGroup

pseudonyms = typer.Typer(
    cls=ReportingGroup,
    no_args_is_help=True,
    help="Keys of the pseudonyms of users: a new one, and rewriting all stores to it.",
)

KEY_BYTES = 32


@pseudonyms.command("new-key", cls=ReportingCommand)
def new_key(
    as_json: Annotated[bool, typer.Option("--json", help="Print the key as JSON")] = False,
) -> None:
    """Print a random key; it is stored nowhere."""
    random_key = secrets.token_hex(KEY_BYTES)
    if as_json:
        print_json({"key": random_key})
    else:
        typer.echo(random_key)


@pseudonyms.command("rotate", cls=ReportingCommand)
def rotate(
    dataset: Annotated[str, typer.Argument(help="Dataset whose stores follow the new key")],
    root: Annotated[Path, typer.Option(help="Project root, the parent folder of stores")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the keys only; change nothing")
    ] = False,
) -> None:
    """Rewrite lake, quarantine and logs to the newest key; stop the dataset's services before.

    Append the new key to the variable of the keys, after a comma. A rotation that was killed is
    run again.
    """
    with run_command(f"Rotating the pseudonyms of {dataset}") as terminal:
        from chronotope.erasure.rotate_pseudonyms import rotate_pseudonyms
        from chronotope.registry.champion import require_dataset
        from flows.privacy.secret_keys import provide_lake_keys

        require_dataset(root, dataset)
        provide_lake_keys(root, dataset)
        report = rotate_pseudonyms(root, dataset, dry_run=dry_run)
    if as_json:
        stores = {store.store: store.n_removed for store in report.stores}
        fingerprints = {"old": report.old_fingerprint, "new": report.new_fingerprint}
        print_json({"dry_run": dry_run, **fingerprints, "stores": stores})
        return
    verb = "would be" if dry_run else "are"
    lines = [f"{store.store}: {store.n_removed:,} {store.unit}" for store in report.stores]
    lines.append(
        f"Pseudonyms {verb} by the key {report.new_fingerprint} instead of "
        f"{report.old_fingerprint}. Keep both keys, and start the services again."
    )
    terminal.print("\n".join(lines))
