"""``chronotope promote``, ``rollback`` and ``history``: who answers, since when and why."""

import uuid
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from chronotope.cli.console import command, print_json
from chronotope.contracts.errors import ConfigError

if TYPE_CHECKING:
    from chronotope.registry.journal import Promotion

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
    with command(f"Promoting version {version}") as console:
        from chronotope.artifact.bundle import read_manifest
        from chronotope.registry import promotion
        from chronotope.registry.models import download
        from chronotope.steps.champion import open_registry

        _check_version(version)
        store = open_registry(root, dataset)
        read_manifest(download(store, dataset, version))
        before = promotion.current_champion(store, dataset)
        if not dry_run:
            promotion.promote(
                store,
                dataset,
                version,
                expected_champion=before,
                key=f"by hand {uuid.uuid4()}",
                reason=reason,
            )
    result = {"dataset": dataset, "champion": version, "previous": before, "dry_run": dry_run}
    if as_json:
        print_json(result)
    else:
        console.print(_sentence(result), markup=False, highlight=False)


def rollback(
    dataset: Dataset,
    reason: Reason,
    root: Root = Path(),
    as_json: AsJson = False,
    dry_run: DryRun = False,
) -> None:
    """Return to the champion before the present one; can be repeated."""
    with command(f"Rolling {dataset} back") as console:
        from chronotope.registry import promotion
        from chronotope.steps.champion import champion_version, earlier_champion, open_registry

        store = open_registry(root, dataset)
        before = champion_version(store, dataset)
        after = earlier_champion(store, dataset)
        if not dry_run:
            after = promotion.rollback(store, dataset, reason, expected_champion=before).version
    result = {"dataset": dataset, "champion": after, "previous": before, "dry_run": dry_run}
    if as_json:
        print_json(result)
    else:
        console.print(_sentence(result), markup=False, highlight=False)


def history(dataset: Dataset, root: Root = Path(), as_json: AsJson = False) -> None:
    """Every promotion and rollback, oldest first, with its reason."""
    with command(f"Reading the history of {dataset}") as console:
        from chronotope.registry import promotion
        from chronotope.steps.champion import open_registry

        entries = promotion.history(open_registry(root, dataset), dataset)
    if as_json:
        lines = [asdict(entry) | {"opened_at": entry.opened_at.isoformat()} for entry in entries]
        print_json({"dataset": dataset, "history": lines})
    else:
        console.print(_table(entries) if entries else "Nothing was promoted yet.")


def _check_version(version: str) -> None:
    if not version.isdecimal():
        raise ConfigError("A version is a number", received=version, way_out="Write it like 3")


def _sentence(result: dict[str, Any]) -> str:
    verb = "would be" if result["dry_run"] else "is"
    earlier = f"; before: {result['previous']}" if result["previous"] else ""
    return f"Champion of {result['dataset']} {verb} version {result['champion']}{earlier}."


def _table(entries: "list[Promotion]") -> Table:
    table = Table("when", "what", "version", "before", "state", "reason")
    for entry in entries:
        when = f"{entry.opened_at:%Y-%m-%d %H:%M %Z}"
        words = (entry.kind, entry.version, entry.previous or "", entry.state, escape(entry.reason))
        table.add_row(when, *words)
    return table
