"""Command ``chronotope embed``: encode texts, images, sounds and attributes of items."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from chronotope.cli.flow_server import flow_server
from chronotope.cli.output.console import print_json, run_command
from chronotope.cli.output.terminal import TerminalConsole

if TYPE_CHECKING:
    from chronotope.content.modality_report import EmbeddingSummary
    from chronotope.content.summaries.summary_report import SummaryReport


def embed(
    dataset: Annotated[str, typer.Argument(help="Name in conf/datasets, or a YAML file")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data files; overrides the dataset's YAML")
    ] = None,
    root: Annotated[
        Path, typer.Option(help="Project root; all files are written below it")
    ] = Path(),
    refit: Annotated[bool, typer.Option(help="Fit the encoders of the catalogue again")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON")] = False,
    dry_run: Annotated[
        bool, typer.Option(help="Encode nothing; count the items that would be encoded")
    ] = False,
) -> None:
    """Encode the content of the items in the lake; only new and changed items are encoded.

    What to encode is configured under items.content in the dataset's YAML.
    """
    with run_command(f"Encoding the items of {dataset}") as terminal, ExitStack() as exit_stack:
        from chronotope.datasets.loading import load_spec

        dataset_spec = load_spec(dataset, data_dir=data)  # an error before a server starts
        if dry_run:
            from chronotope.content.embed_catalogue import embed_catalogue
            from chronotope.runtime.workspace import Workspace

            summary = embed_catalogue(dataset_spec, Workspace(root), refit=refit, dry_run=True)
        else:
            exit_stack.enter_context(flow_server(root, "flows.embed_items", validates=False))
            from flows.embed_items import EmbedSettings, embed_items

            summary = embed_items(dataset, EmbedSettings(root=root, data_dir=data, refit=refit))
    if as_json:
        print_json(summary.model_dump(mode="json") | {"dry_run": dry_run})
        return
    show_embeddings(terminal, summary)
    if dry_run:
        terminal.print("Nothing was encoded (dry run)")


def show_embeddings(terminal: TerminalConsole, summary: "EmbeddingSummary") -> None:
    """Print what was encoded, and what was not and why.

    Args:
        terminal: Where to print.
        summary: Result of the flow.
    """
    count_table = Table(title=f"{summary.dataset}: items by content")
    for column_name in ("modality", "encoder"):
        count_table.add_column(column_name, overflow="fold")
    for column_name in ("encoded", "unchanged", "without", "items/s"):
        count_table.add_column(column_name, justify="right")
    for report in summary.modalities:
        counts = (report.n_encoded, report.n_unchanged, report.n_missing)
        rate = f"{report.items_per_s:,.0f}" if report.n_encoded else "-"
        count_table.add_row(
            report.modality.value, report.encoder or "-", *(f"{n:,}" for n in counts), rate
        )
    terminal.print(count_table)
    for report in summary.modalities:
        if report.skipped:
            skipped_text = f"{report.modality.value} was left out: {report.skipped}"
            terminal.print(skipped_text, soft_wrap=True)
        for reason, n_items in report.reasons.items():
            shown_items = ", ".join(map(repr, report.examples[reason]))
            terminal.print(
                f"{report.modality.value}: {n_items:,} without a vector: {reason}, "
                f"such as {shown_items}",
                soft_wrap=True,
            )
    if summary.summaries is not None:
        show_summaries(terminal, summary.summaries)


def show_summaries(terminal: TerminalConsole, report: "SummaryReport") -> None:
    """Print how many texts were summarised, and why replies of an endpoint were not used.

    Args:
        terminal: Where to print.
        report: Counts of the summaries.
    """
    if report.skipped:
        terminal.print(f"summaries were left out: {report.skipped}")
        return
    generated = f" ({report.n_generated:,} by the endpoint)" if report.n_generated else ""
    terminal.print(
        f"summaries: {report.n_summarised:,} new{generated}, {report.n_unchanged:,} unchanged, "
        f"{report.n_short:,} texts short enough",
        soft_wrap=True,
    )
    for reason, n_items in report.reasons.items():
        terminal.print(
            f"summaries: {n_items:,} not as the endpoint wrote: {reason}", soft_wrap=True
        )
