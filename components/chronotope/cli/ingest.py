"""Command ``chronotope ingest``: ingest a dataset into the lake."""

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from chronotope.cli.embed import show_embeddings
from chronotope.cli.flow_server import flow_server
from chronotope.cli.output.console import print_json, run_command
from chronotope.cli.output.event_table import N_SHOWN_EVENTS, first_rows, plain_rows, show_events
from chronotope.cli.output.terminal import TerminalConsole

if TYPE_CHECKING:
    import pyarrow as pa

    from chronotope.pipelines.results import EventsSummary, IngestionSummary, TableCounts


def ingest(
    dataset: Annotated[str, typer.Argument(help="Name in conf/datasets, or a YAML file")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data files; overrides the dataset's YAML")
    ] = None,
    root: Annotated[
        Path, typer.Option(help="Project root; all files are written below it")
    ] = Path(),
    engine: Annotated[
        Literal["local", "processes", "ray"],
        typer.Option(help="Where events are read, checked and stored: see docs/ray.md"),
    ] = "local",
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON")] = False,
    dry_run: Annotated[
        bool, typer.Option(help="Store nothing; show the counts and the first ten events")
    ] = False,
) -> None:
    """Read, validate and store a log; refused rows go to quarantine with their reasons.

    Running it again is safe: events that are already in the lake are not written again.
    """
    with run_command(f"Ingesting {dataset}") as terminal, ExitStack() as exit_stack:
        from chronotope.datasets.loading import load_spec

        load_spec(dataset, data_dir=data)  # reports an invalid YAML before a server starts
        project_root = root
        if dry_run:
            root = Path(exit_stack.enter_context(tempfile.TemporaryDirectory()))
        exit_stack.enter_context(flow_server(root, "flows.ingest_events", validates=True))
        from chronotope.runtime.engine import EngineConfig
        from flows.ingest_events import IngestSettings, ingest_events

        ingest_settings = IngestSettings(
            root=root,
            data_dir=data,
            data_docs=not dry_run,
            engine=EngineConfig(kind=engine),
            suites=IngestSettings(root=project_root).suites_dir,
        )
        ingest_result = ingest_events(dataset, ingest_settings)
        first_events = _first_events(root, ingest_result.events.dataset) if dry_run else None
    if as_json:
        shown_events = {} if first_events is None else {"first_events": plain_rows(first_events)}
        print_json(ingest_result.model_dump(mode="json") | {"dry_run": dry_run} | shown_events)
        return
    _show_counts(terminal, ingest_result)
    if first_events is not None:
        show_events(terminal, first_events)
    outcome_text = (
        "Nothing was stored (dry run)" if dry_run else f"Features: {ingest_result.features.path}"
    )
    terminal.print(outcome_text, soft_wrap=True)
    if ingest_result.embeddings is not None:
        show_embeddings(terminal, ingest_result.embeddings)


def _first_events(root: Path, dataset_name: str) -> "pa.Table":
    """The first events of a lake that one delivery was written to."""
    from chronotope.lake import Lake
    from chronotope.runtime.workspace import Workspace

    stored_events = Lake(Workspace(root).lake(dataset_name)).dataset("events")
    return first_rows(stored_events.head(N_SHOWN_EVENTS))


def _show_counts(terminal: TerminalConsole, ingest_result: "IngestionSummary") -> None:
    from flows.ingest_counts import row_counts

    count_table = Table("outcome", "rows", title=ingest_result.events.dataset)
    count_table.columns[1].justify = "right"
    for row_label, n_rows in row_counts(ingest_result.events, ingest_result.features).items():
        count_table.add_row(row_label, f"{n_rows:,}")
    terminal.print(count_table)
    if ingest_result.events.repeated.n_rows:
        terminal.print(_repeated_text(ingest_result.events), soft_wrap=True)
    for table_name, table_counts in ingest_result.tables.items():
        if table_counts.n_read:
            terminal.print(_catalogue_text(table_name, table_counts), soft_wrap=True)
    for failed_expectation in ingest_result.events.findings:
        finding_text = (
            f"{failed_expectation.severity}: failed expectation: {failed_expectation.expectation}"
        )
        terminal.print(finding_text)
    if ingest_result.events.data_docs_url:
        docs_text = f"Data docs: {ingest_result.events.data_docs_url}"
        terminal.print(docs_text, soft_wrap=True)


def _catalogue_text(table_name: str, table_counts: "TableCounts") -> str:
    """Row counts of items, users or context readings."""
    text = f"{table_name}: {table_counts.n_read:,} rows read, {table_counts.n_good:,} good"
    if table_counts.n_quarantined:
        reason_texts = (f"{reason}: {n_rows:,}" for reason, n_rows in table_counts.reasons.items())
        text += f", {table_counts.n_quarantined:,} quarantined ({'; '.join(reason_texts)})"
    return text


def _repeated_text(events: "EventsSummary") -> str:
    """How many rows were merged into earlier ones of the delivery, and by which columns."""
    repeated = events.repeated
    merged_text = (
        f"{repeated.n_rows:,} rows were merged into earlier rows of the delivery with the same "
        f"identity ({', '.join(events.identity)}); {repeated.n_equal:,} of them equal an earlier "
        "row in every mapped column"
    )
    if repeated.example is None:
        return f"{merged_text}."
    return (
        f"{merged_text}, {repeated.n_differing:,} differ, for example {repeated.example}. If they "
        "are events of their own, set `identity: occurrence` in the dataset's YAML, or list under "
        "`identity` a column that tells them apart."
    )
