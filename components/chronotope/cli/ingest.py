"""``chronotope ingest``: take a dataset's log into the lake."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from chronotope.cli.output.console import print_json, run_command
from chronotope.cli.output.terminal import TerminalConsole
from chronotope.datasets.loading import load_spec

if TYPE_CHECKING:
    from chronotope.pipelines.results import IngestionSummary


def ingest(
    dataset: Annotated[str, typer.Argument(help="Name in conf/datasets, or a YAML file")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data, instead of what the YAML says")
    ] = None,
    root: Annotated[Path, typer.Option(help="Everything written lies below it")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON")] = False,
    dry_run: Annotated[
        bool, typer.Option(help="Do it all in a temporary folder and show the counts")
    ] = False,
) -> None:
    """Read, check and store a log; refused rows go to quarantine with their reasons.

    Running it again is safe: events that the lake has are not written twice.
    """
    with run_command(f"Ingesting {dataset}") as console, ExitStack() as stack:
        load_spec(dataset, data_dir=data)  # a mistake is told before anything starts
        from flows.ingest_events import IngestSettings, ingest_events
        from flows.private_server import run_by_hand

        if dry_run:
            root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.enter_context(run_by_hand(root))
        settings = IngestSettings(root=root, data_dir=data, data_docs=not dry_run)
        result = ingest_events(dataset, settings)
    if as_json:
        print_json(result.model_dump(mode="json") | {"dry_run": dry_run})
    else:
        _show(console, result, dry_run=dry_run)


def _show(console: TerminalConsole, result: "IngestionSummary", *, dry_run: bool) -> None:
    from flows.ingest_events import row_counts

    table = Table("what", "rows", title=result.events.dataset)
    table.columns[1].justify = "right"
    for label, n_rows in row_counts(result.events, result.features).items():
        table.add_row(label, f"{n_rows:,}")
    console.print(table)
    for finding in result.events.findings:
        text = f"{finding.severity}: expected that {finding.expectation}"
        console.print(text)
    if result.events.data_docs_url:
        docs = f"Data docs: {result.events.data_docs_url}"
        console.print(docs, soft_wrap=True)
    written = "Nothing was kept (dry run)" if dry_run else f"Features: {result.features.path}"
    console.print(written, soft_wrap=True)
