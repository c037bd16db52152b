"""``chronotope promote``, ``rollback`` and ``history``: who answers, since when and why."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from chronotope.cli.output.console import print_json, run_command

if TYPE_CHECKING:
    from chronotope.registry.promotion_journal import Promotion

Dataset = Annotated[str, typer.Option(help="Dataset whose versions are meant")]
Reason = Annotated[str, typer.Option(help="Why; kept in the history")]
Root = Annotated[Path, typer.Option(help="Project root, below which stores lie")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check, show, and change nothing")]


def promote(
    version: Annotated[str, typer.Argument(help="Number of a registered version")],
    dataset: Dataset,
    reason: Reason,
    root: Root = Path(),
    as_json: AsJson = False,
    dry_run: DryRun = False,
) -> None:
    """Make a version the champion by hand, without the gate; its files are verified."""
    with run_command(f"Promoting version {version}") as console:
        from chronotope.registry.manual_promotion import promote_by_hand

        result = promote_by_hand(root, dataset, version, reason, dry_run=dry_run)
    if as_json:
        print_json(result)
    else:
        console.print(_sentence(result))


def rollback(
    dataset: Dataset,
    reason: Reason,
    root: Root = Path(),
    as_json: AsJson = False,
    dry_run: DryRun = False,
) -> None:
    """Return to the champion before the present one; can be repeated."""
    with run_command(f"Rolling {dataset} back") as console:
        from chronotope.registry.manual_promotion import roll_back

        result = roll_back(root, dataset, reason, dry_run=dry_run)
    if as_json:
        print_json(result)
    else:
        console.print(_sentence(result))


def history(dataset: Dataset, root: Root = Path(), as_json: AsJson = False) -> None:
    """Every promotion and rollback, oldest first, with its reason."""
    with run_command(f"Reading the history of {dataset}") as console:
        from chronotope.registry import promotion
        from chronotope.registry.champion import open_registry

        entries = promotion.promotion_history(open_registry(root, dataset), dataset)
    if as_json:
        lines = [asdict(entry) | {"opened_at": entry.opened_at.isoformat()} for entry in entries]
        print_json({"dataset": dataset, "history": lines})
    else:
        console.print(_table(entries) if entries else "Nothing was promoted yet.")


def _sentence(result: dict[str, Any]) -> str:
    verb = "would be" if result["dry_run"] else "is"
    earlier = f"; before: {result['previous']}" if result["previous"] else ""
    return f"Champion of {result['dataset']} {verb} version {result['champion']}{earlier}."


def _table(entries: "list[Promotion]") -> Table:
    table = Table("when", "what", "version", "before", "state", "reason")
    for entry in entries:
        when = f"{entry.opened_at:%Y-%m-%d %H:%M %Z}"
        words = (entry.kind, entry.version, entry.previous or "", entry.state, entry.reason)
        table.add_row(when, *words)
    return table
