"""Commands ``chronotope anomalies held`` and ``release``: events that are held out of training."""

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from chronotope.cli.output.console import print_json, run_command
from chronotope.cli.output.count_text import count_text

if TYPE_CHECKING:
    from chronotope.feedback.release_anomalies import HeldEvent

_SHOWN: int = 50
_ID_CHARS: int = 32


def show_held(
    dataset: Annotated[str, typer.Argument(help="Name in conf/datasets, or a YAML file")],
    root: Annotated[Path, typer.Option(help="Project root")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the events as JSON")] = False,
) -> None:
    """List the events that are held out of training as anomalous."""
    with run_command(f"Held events of {dataset}") as terminal:
        events = read_held(dataset, root)
    if as_json:
        print_json({"events": [_fields(held_event) for held_event in events]})
        return
    event_table = Table(title=f"{count_text(len(events), 'event')} held out of training")
    event_table.add_column("event", min_width=_ID_CHARS)  # whole: `release` takes it
    for column in ("user", "item", "time", "reasons"):
        event_table.add_column(column)
    for held_event in events[:_SHOWN]:
        event_fields = _fields(held_event)
        event_table.add_row(
            *(str(event_fields[name]) for name in ("event_id", "user_id", "item_id")),
            str(event_fields["occurred_at"])[:16].replace("T", " "),
            ", ".join(held_event.reasons),
        )
    terminal.print(event_table)


def release_held(
    dataset: Annotated[str, typer.Argument(help="Name in conf/datasets, or a YAML file")],
    event_ids: Annotated[
        list[str] | None, typer.Argument(help="Ids of the events, as `anomalies held` shows them")
    ] = None,
    release_all: Annotated[bool, typer.Option("--all", help="Release every held event")] = False,
    root: Annotated[Path, typer.Option(help="Project root")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON")] = False,
    dry_run: Annotated[bool, typer.Option(help="Show how many would be released")] = False,
) -> None:
    """Label held events as genuine, and ingest them.

    A killed release continues with the next one, or with the next `chronotope feedback`.
    """
    with run_command(f"Releasing held events of {dataset}") as terminal:
        from chronotope.contracts.errors import ConfigError

        held_ids = [held_event.event_id for held_event in read_held(dataset, root)]
        chosen_ids = held_ids if release_all else list(event_ids or [])
        unknown_ids = sorted(set(chosen_ids) - set(held_ids))
        if unknown_ids or not (chosen_ids or release_all):
            raise ConfigError(
                "No such event is held",
                received=unknown_ids or "no event",
                way_out="`chronotope anomalies held` lists the events; --all releases all",
            )
        n_new = 0 if dry_run else _release(dataset, root, chosen_ids)
    release_counts = {"n_chosen": len(chosen_ids), "n_new": n_new, "dry_run": dry_run}
    if as_json:
        print_json(release_counts)
    else:
        terminal.print(f"{count_text(len(chosen_ids), 'event')} chosen, {n_new:,} ingested")


def read_held(dataset: str, root: Path) -> "list[HeldEvent]":
    """Events in quarantine with the reason ``anomalous``.

    Args:
        dataset: Name or YAML file of the dataset.
        root: Project root.
    """
    from chronotope.datasets.loading import load_spec
    from chronotope.feedback.release_anomalies import held_events
    from chronotope.lake import Lake
    from chronotope.runtime.workspace import Workspace

    dataset_spec = load_spec(dataset)
    return list(held_events(Lake(Workspace(root).lake(dataset_spec.name)), dataset_spec))


def _release(dataset: str, root: Path, event_ids: list[str]) -> int:
    """Label events as genuine and ingest them; returns the number of new events."""
    from chronotope.datasets.loading import load_spec
    from chronotope.feedback.config import FeedbackConfig
    from chronotope.feedback.intake import Intake, IntakeReport, release_labelled
    from chronotope.lake.event_labels import EventLabel, EventLabelLog
    from chronotope.runtime.dataset_lock import dataset_lock
    from chronotope.runtime.workspace import Workspace
    from flows.ingest_events import IngestSettings

    dataset_spec, workspace = load_spec(dataset), Workspace(root)
    with closing(EventLabelLog(workspace.event_labels(dataset_spec.name))) as label_log:
        label_log.append([EventLabel(event_id, False) for event_id in event_ids])
    suites_dir = IngestSettings(root=root).suites_dir
    intake_report = IntakeReport()
    with dataset_lock(workspace, dataset_spec.name):
        intake = Intake(dataset_spec, workspace, suites_dir, FeedbackConfig())
        release_labelled(intake, dict.fromkeys(event_ids, False), intake_report)
    return intake_report.n_new


def _fields(held_event: "HeldEvent") -> dict[str, object]:
    row = held_event.batch.rows.select(
        ["event_id", "user_id", "item_id", "occurred_at"]
    ).to_pylist()[0]
    return {
        **row,
        "occurred_at": row["occurred_at"].isoformat(),
        "reasons": list(held_event.reasons),
    }
