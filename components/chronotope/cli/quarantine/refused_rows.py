"""Commands ``chronotope quarantine show``, ``replay`` and ``discard``."""

import json
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from chronotope.cli.output.console import print_json, run_command
from chronotope.cli.output.terminal import TerminalConsole

if TYPE_CHECKING:
    import pyarrow as pa

    from chronotope.feedback.refused_rows import RefusedReason, ReplayReport
    from chronotope.lake import Lake

_EXAMPLE_CHARS: int = 160

Dataset = Annotated[str, typer.Argument(help="Name in conf/datasets, or a YAML file")]
RunId = Annotated[str | None, typer.Option("--run", help="Only rows that this run refused")]
Reason = Annotated[
    str | None, typer.Option(help="Only rows one of whose reasons contains this text")
]
Root = Annotated[Path, typer.Option(help="Project root")]


def show_rows(
    dataset: Dataset,
    run: RunId = None,
    reason: Reason = None,
    output: Annotated[
        Path | None, typer.Option(help="JSON Lines file to which the rows are written")
    ] = None,
    root: Root = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON")] = False,
) -> None:
    """Count the refused rows of a dataset by source and reason, with the latest of each.

    With --output, every row is written to a file, with its reasons.
    """
    with run_command(f"Quarantine of {dataset}") as terminal:
        from chronotope.feedback.refused_rows import count_reasons, read_refused

        refused = read_refused(_open_lake(dataset, root), run, reason)
        reasons = count_reasons(refused)
        if output is not None:
            _write_rows(refused, output)
    if as_json:
        print_json({"n_rows": len(refused), "reasons": [entry._asdict() for entry in reasons]})
        return
    terminal.print(f"Refused rows of {dataset}: {len(refused):,}")
    for entry in reasons:
        _show_reason(terminal, entry)
    if output is not None:
        terminal.print(f"Rows: {output}", soft_wrap=True)


def replay_rows(
    dataset: Dataset,
    run: RunId = None,
    reason: Reason = None,
    root: Root = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON")] = False,
    dry_run: Annotated[bool, typer.Option(help="Store nothing; show the counts")] = False,
) -> None:
    """Read refused rows again by the YAML and the expectations of today; store those that pass.

    Rows that are refused again stay in quarantine. Lines that are no rows, rows of the items and
    users tables and anomalies are skipped: for the first two, run `chronotope ingest` again; for
    the last, `chronotope anomalies release`.
    """
    with run_command(f"Replaying refused rows of {dataset}") as terminal, ExitStack() as exit_stack:
        from chronotope.datasets.loading import load_spec
        from chronotope.feedback.refused_rows import read_refused, replay_refused
        from chronotope.lake import Lake
        from chronotope.pipelines.ingest_checks import batch_check
        from chronotope.runtime.dataset_lock import dataset_lock
        from chronotope.runtime.workspace import Workspace
        from flows.ingest_events import IngestSettings

        dataset_spec, workspace = load_spec(dataset), Workspace(root)
        suites_dir = IngestSettings(root=root).suites_dir
        event_lake = _open_lake(dataset, root)
        target_lake: Lake | None = None
        if dry_run:
            target_lake = Lake(Path(exit_stack.enter_context(tempfile.TemporaryDirectory())))
        exit_stack.enter_context(dataset_lock(workspace, dataset_spec.name))
        report = replay_refused(
            event_lake,
            dataset_spec,
            read_refused(event_lake, run, reason),
            lambda stored_lake: batch_check(stored_lake, suites_dir),
            target_lake,
        )
    if as_json:
        print_json({**_counts(report), "reasons": dict(report.reasons), "dry_run": dry_run})
        return
    _show_replay(terminal, report)
    if dry_run:
        terminal.print("Nothing was stored (dry run); events that the lake has are not known here")


def discard_rows(
    dataset: Dataset,
    run: RunId = None,
    reason: Reason = None,
    discard_all: Annotated[bool, typer.Option("--all", help="Discard every refused row")] = False,
    root: Root = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the count as JSON")] = False,
    dry_run: Annotated[bool, typer.Option(help="Show how many would be discarded")] = False,
) -> None:
    """Delete refused rows from quarantine, such as those of a file that was corrected since.

    Earlier versions of the table keep them until it is vacuumed.
    """
    with run_command(f"Discarding refused rows of {dataset}") as terminal:
        from chronotope.contracts.errors import ConfigError
        from chronotope.datasets.loading import load_spec
        from chronotope.feedback.refused_rows import discard_refused, read_refused
        from chronotope.runtime.dataset_lock import dataset_lock
        from chronotope.runtime.workspace import Workspace

        if run is None and reason is None and not discard_all:
            raise ConfigError(
                "No rows were chosen",
                received="neither --run nor --reason",
                way_out="`chronotope quarantine show` lists both; --all discards every row",
            )
        event_lake = _open_lake(dataset, root)
        with dataset_lock(Workspace(root), load_spec(dataset).name):
            refused = read_refused(event_lake, run, reason)
            n_discarded = 0 if dry_run else discard_refused(event_lake, refused)
    if as_json:
        print_json({"n_chosen": len(refused), "n_discarded": n_discarded, "dry_run": dry_run})
    else:
        terminal.print(f"Rows chosen: {len(refused):,}; discarded: {n_discarded:,}")


def _open_lake(dataset: str, root: Path) -> "Lake":
    from chronotope.datasets.loading import load_spec
    from chronotope.lake import Lake
    from chronotope.runtime.workspace import Workspace

    return Lake(Workspace(root).lake(load_spec(dataset).name))


def _write_rows(refused: "pa.Table", output: Path) -> None:
    """One JSON object a line: the row as it was read, and its reasons, run and source."""
    from chronotope.runtime.durable_files import write_text

    lines = [
        json.dumps(
            {
                "reasons": row["reasons"],
                "run_id": row["run_id"],
                "source": row["source"],
                "row": json.loads(row["payload"]),
            }
        )
        for row in refused.to_pylist()
    ]
    write_text(output, "".join(f"{line}\n" for line in lines))


def _show_reason(terminal: TerminalConsole, entry: "RefusedReason") -> None:
    example = entry.example
    if len(example) > _EXAMPLE_CHARS:
        example = f"{example[:_EXAMPLE_CHARS]}…"
    terminal.print(f"\n{entry.n_rows:,}  {entry.reason}", soft_wrap=True)
    terminal.print(f"   source {entry.source}, run {entry.run_id}", soft_wrap=True)
    terminal.print(f"   latest {example}", soft_wrap=True)


def _show_replay(terminal: TerminalConsole, report: "ReplayReport") -> None:
    count_table = Table("outcome", "rows")
    count_table.columns[1].justify = "right"
    for name, n_rows in _counts(report).items():
        count_table.add_row(name.removeprefix("n_").replace("_", " "), f"{n_rows:,}")
    terminal.print(count_table)
    for reason, n_rows in report.reasons.most_common():
        terminal.print(f"- {n_rows:,} {reason}", soft_wrap=True)


def _counts(report: "ReplayReport") -> dict[str, int]:
    return {
        "n_rows": report.n_rows,
        "n_new": report.n_new,
        "n_duplicates": report.n_duplicates,
        "n_dropped": report.n_dropped,
        "n_refused_again": report.n_refused,
        "n_skipped": report.n_skipped,
    }
