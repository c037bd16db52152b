"""Command ``chronotope ingest``: ingest a dataset into the lake."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from chronotope.cli.embed import show_embeddings
from chronotope.cli.flow_server import flow_server
from chronotope.cli.output.console import print_json, run_command
from chronotope.cli.output.terminal import TerminalConsole

if TYPE_CHECKING:
    from chronotope.pipelines.results import IngestionSummary


def ingest(
    dataset: Annotated[str, typer.Argument(help="Name in conf/datasets, or a YAML file")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data files; overrides the dataset's YAML")
    ] = None,
    root: Annotated[
        Path, typer.Option(help="Project root; all files are written below it")
    ] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON")] = False,
    dry_run: Annotated[
        bool, typer.Option(help="Ingest into a temporary folder and show the counts")
    ] = False,
) -> None:
    """Read, validate and store a log; refused rows go to quarantine with their reasons.

    Running it again is safe: events that are already in the lake are not written again.
    """
    with run_command(f"Ingesting {dataset}") as terminal, ExitStack() as exit_stack:
        from chronotope.datasets.loading import load_spec

        load_spec(dataset, data_dir=data)  # reports an invalid YAML before a server starts
        if dry_run:
            root = Path(exit_stack.enter_context(tempfile.TemporaryDirectory()))
        exit_stack.enter_context(flow_server(root, "flows.ingest_events", validates=True))
        from flows.ingest_events import IngestSettings, ingest_events

        ingest_settings = IngestSettings(root=root, data_dir=data, data_docs=not dry_run)
        ingest_result = ingest_events(dataset, ingest_settings)
    if as_json:
        print_json(ingest_result.model_dump(mode="json") | {"dry_run": dry_run})
    else:
        _show(terminal, ingest_result, dry_run=dry_run)


def _show(terminal: TerminalConsole, ingest_result: "IngestionSummary", *, dry_run: bool) -> None:
    from flows.ingest_events import row_counts

    count_table = Table("outcome", "rows", title=ingest_result.events.dataset)
    count_table.columns[1].justify = "right"
    for row_label, n_rows in row_counts(ingest_result.events, ingest_result.features).items():
        count_table.add_row(row_label, f"{n_rows:,}")
    terminal.print(count_table)
    for failed_expectation in ingest_result.events.findings:
        finding_text = (
            f"{failed_expectation.severity}: failed expectation: {failed_expectation.expectation}"
        )
        terminal.print(finding_text)
    if ingest_result.events.data_docs_url:
        docs_text = f"Data docs: {ingest_result.events.data_docs_url}"
        terminal.print(docs_text, soft_wrap=True)
    outcome_text = (
        "Nothing was stored (dry run)" if dry_run else f"Features: {ingest_result.features.path}"
    )
    terminal.print(outcome_text, soft_wrap=True)
    if ingest_result.embeddings is not None:
        show_embeddings(terminal, ingest_result.embeddings)
