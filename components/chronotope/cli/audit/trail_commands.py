"""Commands ``chronotope audit``: the trail, and certificates of erasures."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from chronotope.audit import AuditTrail
from chronotope.cli.output.console import print_json, run_command
from chronotope.contracts.errors import StoreError
from chronotope.runtime.workspace import Workspace

Root = Annotated[Path, typer.Option(help="Project root, the parent folder of stores")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON")]


def list_entries(
    dataset: Annotated[str, typer.Option(help="Only entries of this dataset")] = "",
    root: Root = Path(),
    as_json: AsJson = False,
) -> None:
    """List who promoted, rolled back, erased or labelled what, when and why, oldest first."""
    with run_command("Reading the audit trail") as terminal:
        trail = AuditTrail(Workspace(root).audit())
        entries = [
            entry
            for entry in (*trail.adopted_entries(), *trail.entries())
            if not dataset or entry.dataset == dataset
        ]
    if as_json:
        print_json({"entries": [asdict(entry) for entry in entries]})
        return
    table = Table("", "time", "who", "action", "dataset", "detail")
    for entry in entries:
        detail = ", ".join(
            f"{name}: {value}" for name, value in entry.detail.items() if value is not None
        )
        time_text = entry.occurred_at[:16].replace("T", " ")
        table.add_row(str(entry.seq), time_text, entry.actor, entry.action, entry.dataset, detail)
    terminal.print(table if entries else "Nothing is recorded yet.")


def verify_trail(
    head: Annotated[
        str, typer.Option(help="Signature that an earlier verification printed: it must be there")
    ] = "",
    root: Root = Path(),
    as_json: AsJson = False,
) -> None:
    """Verify that no byte of the audit trail was changed, and no entry is missing."""
    with run_command("Verifying the audit trail") as terminal:
        trail = AuditTrail(Workspace(root).audit())
        check = trail.verify()
        problem_text = check.problem
        if not problem_text and head:
            entries = (*trail.adopted_entries(), *trail.entries())
            if head not in {entry.mac for entry in entries}:
                problem_text = f"no entry has the signature {head}"
        if problem_text:
            raise StoreError(
                "The audit trail was changed",
                received=problem_text,
                way_out=f"The first {check.n_entries:,} entries hold; compare with a copy",
            )
    if as_json:
        print_json(asdict(check))
    else:
        adopted = f", and {check.n_adopted:,} of migrated trails" if check.n_adopted else ""
        terminal.print(f"{check.n_entries:,} entries hold{adopted}. Head: {check.head or 'none'}")


def rotate_secret(
    root: Root = Path(),
    as_json: AsJson = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Verify the trail only; change nothing")
    ] = False,
) -> None:
    """Sign later entries with a new secret; the old one still verifies what it signed."""
    with run_command("Rotating the secret of the audit trail") as terminal:
        trail = AuditTrail(Workspace(root).audit())
        check = trail.verify()
        if check.problem:
            raise StoreError(
                "The audit trail was changed",
                received=check.problem,
                way_out="Find out what happened before its secret is rotated",
            )
        rotation = None if dry_run else asdict(trail.rotate_secret())
    if as_json:
        print_json({"dry_run": dry_run, "n_entries": check.n_entries, "entry": rotation})
    else:
        state = "would be" if dry_run else "is"
        terminal.print(f"The secret {state} rotated; {check.n_entries:,} entries hold.")


def list_certificates(
    dataset: Annotated[str, typer.Argument(help="Dataset whose users were erased")],
    root: Root = Path(),
    as_json: AsJson = False,
) -> None:
    """List the certificates of erasures, oldest first; each is compared with its checksum."""
    with run_command("Reading certificates") as terminal:
        from chronotope.erasure import read_certificates

        certificates = read_certificates(root, dataset)
    if as_json:
        print_json({"certificates": [item.model_dump(mode="json") for item in certificates]})
        return
    table = Table("time", "users", "removed", "models", "certificate")
    for certificate in certificates:
        table.add_row(
            f"{certificate.started_at:%Y-%m-%d %H:%M}",
            f"{len(certificate.user_digests):,}",
            f"{certificate.n_removed:,}",
            ", ".join(certificate.models),
            certificate.path,
        )
    terminal.print(table if certificates else f"No user of {dataset} was erased.")


def expire(
    dataset: Annotated[str, typer.Argument(help="Dataset whose service showed the lists")],
    days: Annotated[float, typer.Option(min=0, help="Age up to which lists are kept, days")],
    root: Root = Path(),
    as_json: AsJson = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count the lists only; remove nothing")
    ] = False,
) -> None:
    """Remove the lists that a service showed longer ago than some days from its log."""
    with run_command(f"Removing lists that {dataset} showed") as terminal:
        from chronotope.erasure.expire_answers import expire_answers
        from chronotope.registry.champion import require_dataset

        require_dataset(root, dataset)
        n_expired = expire_answers(root, dataset, days, dry_run=dry_run)
    if as_json:
        print_json({"dry_run": dry_run, "n_lists": n_expired})
    else:
        verb = "would be" if dry_run else "were"
        terminal.print(f"{n_expired:,} lists older than {days:g} days {verb} removed.")
