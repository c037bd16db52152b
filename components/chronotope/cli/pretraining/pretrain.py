"""Command ``chronotope pretrain``: one network over several logs, to start others from."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from chronotope.cli.flow_server import flow_server
from chronotope.cli.output.console import print_json, run_command
from chronotope.cli.output.terminal import TerminalConsole

if TYPE_CHECKING:
    from chronotope.pipelines.pretraining.results import PretrainingResult


def pretrain(
    datasets: Annotated[
        str, typer.Option(help="Comma-separated names in conf/datasets, or YAML files")
    ],
    data: Annotated[
        Path | None, typer.Option(help="Folder that holds a folder for each downloaded data set")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML of settings, e.g. conf/pretraining/shipped.yaml")
    ] = None,
    root: Annotated[
        Path, typer.Option(help="Project root; all files are written below it")
    ] = Path(),
    output: Annotated[
        Path | None, typer.Option(help="Also copy the checkpoint to this file, its card beside it")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON")] = False,
    dry_run: Annotated[bool, typer.Option(help="Check and show the settings only")] = False,
) -> None:
    """Pretrain one network over several logs and register it; train starts from it.

    A run that was killed resumes after its last finished step or epoch.
    """
    dataset_names = [name.strip() for name in datasets.split(",") if name.strip()]
    with (
        run_command(f"Pretraining on {len(dataset_names)} logs") as terminal,
        ExitStack() as exit_stack,
    ):
        from chronotope.datasets.loading import load_spec
        from chronotope.pipelines.pretraining.settings import read_pretrain_settings

        settings = read_pretrain_settings(config, root)
        for name in dataset_names:
            load_spec(name)
        if dry_run:
            terminal.print_json(settings.model_dump_json(), highlight=False, ensure_ascii=True)
            return
        exit_stack.enter_context(flow_server(root, "flows.pretrain_model", validates=True))
        from flows.ingest_events import IngestSettings
        from flows.pretrain_model import pretrain_model

        result = pretrain_model(dataset_names, settings, IngestSettings(root=root, data_dir=data))
        if output is not None:
            copy_checkpoint(result, output)
    if as_json:
        print_json(result.model_dump(mode="json"))
    else:
        show_pretraining(terminal, result)


def copy_checkpoint(result: "PretrainingResult", output: Path) -> None:
    """Copy the checkpoint, and its card with the suffix ``.md``.

    Args:
        result: Result of the flow.
        output: File to write.
    """
    from chronotope.pipelines.pretraining.steps import CARD_FILE
    from chronotope.runtime.durable_files import replacing

    source = result.checkpoint.path
    copies = {output: source, output.with_suffix(".md"): source.parent / CARD_FILE}
    for target, content in copies.items():
        with replacing(target) as draft:
            draft.write_bytes(content.read_bytes())


def show_pretraining(terminal: TerminalConsole, result: "PretrainingResult") -> None:
    """Print the metrics on each log, and how to start from the checkpoint.

    Args:
        terminal: Where to print.
        result: Result of the flow.
    """
    metrics_table = Table(title="Later events of each log: full catalogue, request time given")
    for column in ("log", "model", "acc_1", "acc_10", "ndcg_10", "mrr"):
        metrics_table.add_column(column, no_wrap=column == "log")
    for source in result.evaluation.sources:
        for model_name, metrics in source.metrics.items():
            cells = (f"{value:.3f}" for value in metrics.values())
            metrics_table.add_row(source.dataset, model_name, *cells)
    terminal.print(metrics_table)
    if result.search.params:
        values = ", ".join(f"{name} {value:.3g}" for name, value in result.search.params.items())
        terminal.print(f"Searched: {values} (trial {result.search.trial_number})", soft_wrap=True)
    registered, checkpoint = result.registered, result.checkpoint
    terminal.print(
        f"Version {registered.version} of {registered.name}, {checkpoint.n_bytes:,} bytes, "
        f"SHA-256 {checkpoint.sha256}\n"
        f"Start from it: training.init: mlflow:/{registered.name}/{registered.version}",
        soft_wrap=True,
    )
