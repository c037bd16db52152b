"""Commands ``chronotope promote``, ``rollback`` and ``history``: the champion and its history."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from chronotope.cli.output.console import print_json, run_command

if TYPE_CHECKING:
    from chronotope.registry.promotion_journal import Promotion

Dataset = Annotated[str, typer.Option(help="Dataset of the versions")]
Reason = Annotated[str, typer.Option(help="Reason, stored in the history")]
Root = Annotated[Path, typer.Option(help="Project root, the parent folder of stores")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Check and show the change only")]


def promote(
    version: Annotated[str, typer.Argument(help="Number of a registered version")],
    dataset: Dataset,
    reason: Reason,
    root: Root = Path(),
    as_json: AsJson = False,
    dry_run: DryRun = False,
) -> None:
    """Make a registered version the champion, without the gate; its files are verified."""
    with run_command(f"Promoting version {version}") as terminal:
        _require_dataset(root, dataset)
        from chronotope.registry.manual_promotion import promote_by_hand

        promotion_outcome = promote_by_hand(root, dataset, version, reason, dry_run=dry_run)
    if as_json:
        print_json(promotion_outcome)
    else:
        terminal.print(_outcome_text(promotion_outcome))


def rollback(
    dataset: Dataset,
    reason: Reason,
    root: Root = Path(),
    as_json: AsJson = False,
    dry_run: DryRun = False,
) -> None:
    """Make the previous champion the champion again; can be repeated."""
    with run_command(f"Rolling {dataset} back") as terminal:
        _require_dataset(root, dataset)
        from chronotope.registry.manual_promotion import roll_back

        promotion_outcome = roll_back(root, dataset, reason, dry_run=dry_run)
    if as_json:
        print_json(promotion_outcome)
    else:
        terminal.print(_outcome_text(promotion_outcome))


def history(dataset: Dataset, root: Root = Path(), as_json: AsJson = False) -> None:
    """List all promotions and rollbacks with their reasons, oldest first."""
    with run_command(f"Reading the history of {dataset}") as terminal:
        from chronotope.registry.champion import promotion_entries

        journal_entries = promotion_entries(root, dataset)
    if as_json:
        json_lines = [
            asdict(journal_entry) | {"opened_at": journal_entry.opened_at.isoformat()}
            for journal_entry in journal_entries
        ]
        print_json({"dataset": dataset, "history": json_lines})
    else:
        terminal.print(_table(journal_entries) if journal_entries else "Nothing was promoted yet.")


def _require_dataset(root: Path, dataset: str) -> None:
    """Report an unknown dataset before MLflow, which takes seconds, is imported."""
    from chronotope.registry.champion import require_dataset

    require_dataset(root, dataset)


def _outcome_text(promotion_outcome: dict[str, Any]) -> str:
    state_verb = "would be" if promotion_outcome["dry_run"] else "is"
    previous_text = (
        f"; before: {promotion_outcome['previous']}" if promotion_outcome["previous"] else ""
    )
    champion_text = f"version {promotion_outcome['champion']}{previous_text}"
    return f"Champion of {promotion_outcome['dataset']} {state_verb} {champion_text}."


def _table(journal_entries: "list[Promotion]") -> Table:
    history_table = Table("time", "action", "version", "previous", "state", "reason")
    for journal_entry in journal_entries:
        opened_text = f"{journal_entry.opened_at:%Y-%m-%d %H:%M %Z}"
        entry_cells = (
            journal_entry.kind,
            journal_entry.version,
            journal_entry.previous or "",
            journal_entry.state,
            journal_entry.reason,
        )
        history_table.add_row(opened_text, *entry_cells)
    return history_table
