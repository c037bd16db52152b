"""Command ``chronotope classify``: predict missing categories of the items of a dataset."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from chronotope.cli.flow_server import flow_server
from chronotope.cli.output.console import print_json, run_command
from chronotope.cli.output.terminal import TerminalConsole

if TYPE_CHECKING:
    from chronotope.content.labels.label_report import LabelSummary


def classify(
    dataset: Annotated[str, typer.Argument(help="Name in conf/datasets, or a YAML file")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data files; overrides the dataset's YAML")
    ] = None,
    root: Annotated[
        Path, typer.Option(help="Project root; all files are written below it")
    ] = Path(),
    retrain: Annotated[bool, typer.Option(help="Train the classifiers again")] = False,
    dry_run: Annotated[
        bool, typer.Option(help="Count what the stored classifiers would predict, write nothing")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the counts as JSON")] = False,
) -> None:
    """Predict missing categories of the items in the lake, with a confidence.

    The first run trains a classifier on the items that have a category. What to predict is
    configured under items.content.classify in the dataset's YAML.
    """
    with run_command(f"Classifying the items of {dataset}") as terminal, ExitStack() as exit_stack:
        from chronotope.datasets.loading import load_spec

        load_spec(dataset, data_dir=data)  # reports an invalid YAML before a server starts
        exit_stack.enter_context(flow_server(root, "flows.classify_items", validates=False))
        from flows.classify_items import ClassifySettings, classify_items

        label_summary = classify_items(
            dataset, ClassifySettings(root=root, data_dir=data, retrain=retrain, dry_run=dry_run)
        )
    if as_json:
        print_json(label_summary.model_dump(mode="json"))
    else:
        show_labels(terminal, label_summary)


def show_labels(terminal: TerminalConsole, summary: "LabelSummary") -> None:
    """Print how many labels were predicted, and why others were not.

    Args:
        terminal: Where to print.
        summary: Result of the flow.
    """
    count_table = Table(title=f"{summary.dataset}: labels of the items")
    count_table.add_column("column", overflow="fold")
    for column_name in ("given", "predicted", "without", "classified now", "macro-F1"):
        count_table.add_column(column_name, justify="right")
    for column_report in summary.columns:
        label_counts = (
            column_report.n_given,
            column_report.n_predicted,
            column_report.n_missing,
            column_report.n_classified,
        )
        macro_f1 = f"{column_report.metrics['macro_f1']:.3f}" if column_report.metrics else "-"
        count_table.add_row(column_report.column, *(f"{n:,}" for n in label_counts), macro_f1)
    terminal.print(count_table)
    for column_report in summary.columns:
        if column_report.skipped:
            terminal.print(
                f"{column_report.column} was left out: {column_report.skipped}", soft_wrap=True
            )
        elif column_report.min_confidence is None:
            terminal.print(
                f"{column_report.column}: no confidence gives the wanted precision on held-back "
                "items; lower min_precision in the YAML, or set min_confidence",
                soft_wrap=True,
            )
        for missing_reason, n_items in column_report.reasons.items():
            terminal.print(f"{column_report.column}: {n_items:,} without a label: {missing_reason}")
