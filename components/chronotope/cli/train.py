"""``chronotope train``: from a log to a champion."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from chronotope.cli.output.console import print_json, run_command
from chronotope.cli.output.terminal import TerminalConsole
from chronotope.datasets.loading import load_spec
from chronotope.pipelines.results import TrainingResult
from chronotope.pipelines.settings import read_train_settings
from chronotope.runtime.step_cache import StepCost
from chronotope.runtime.store_urls import mask_password, mlflow_url
from chronotope.runtime.workspace import Workspace

SHOWN = {
    "acc_1": "Acc@1",
    "acc_10": "Acc@10",
    "ndcg_10": "NDCG@10",
    "mrr": "MRR",
    "return_acc_10": "seen @10",
    "discovery_acc_10": "new @10",
}


def train(
    dataset: Annotated[str, typer.Argument(help="Name in conf/datasets, or a YAML file")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data, instead of what the YAML says")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML of training settings, e.g. conf/training/quick.yaml")
    ] = None,
    root: Annotated[Path, typer.Option(help="Everything written lies below it")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON")] = False,
    dry_run: Annotated[bool, typer.Option(help="Check everything and show the settings")] = False,
) -> None:
    """Ingest what is new, then tune, train, compress, judge and promote.

    A run that was killed goes on after its last finished step.
    """
    with run_command(f"Training on {dataset}") as console, ExitStack() as stack:
        settings = read_train_settings(config, root)
        load_spec(dataset, data_dir=data)
        if dry_run:
            console.print_json(settings.model_dump_json(), highlight=False, ensure_ascii=True)
            return
        from flows.ingest_events import IngestSettings
        from flows.private_server import run_by_hand
        from flows.train_model import train_model

        stack.enter_context(run_by_hand(root))
        result = train_model(dataset, settings, IngestSettings(root=root, data_dir=data))
    if as_json:
        print_json(result.model_dump(mode="json"))
    else:
        print_summary(console, result, root)


def print_summary(console: TerminalConsole, result: TrainingResult, root: Path) -> None:
    """Print the challenger beside every baseline, the costs, and links."""
    metrics = result.evaluation.metrics
    table = Table("model", *SHOWN.values(), title="Holdout: later time, full catalogue, time given")
    for model_name in sorted(metrics, key=lambda name: metrics[name]["ndcg_10"]):
        label = "chronotope" if model_name == "challenger" else model_name
        cells = (metrics[model_name].get(metric) for metric in SHOWN)
        table.add_row(label, *("–" if cell is None else f"{cell:.3f}" for cell in cells))  # noqa: RUF001
    console.print(table)
    console.print(_cost_table(result.costs))
    promotion = result.promotion
    if promotion.promoted:
        console.print(f"Version {promotion.version} of {promotion.name} is the champion.")
    else:
        console.print(f"Version {promotion.version} stays challenger:", *promotion.reasons)
    store_url = mask_password(mlflow_url(Workspace(root).mlruns))
    link_lines = (
        f"Report      {result.report.report}",
        f"MLflow UI   mlflow ui --backend-store-uri {store_url}",
        "Prefect UI  prefect server start",
    )
    console.print("\n".join(link_lines), soft_wrap=True)


def _cost_table(costs: dict[str, StepCost]) -> Table:
    """Seconds and peak memory of each step."""
    table = Table("step", "seconds", "peak MB", title="Cost of each step")
    for step_name, cost in costs.items():
        table.add_row(step_name, f"{cost.seconds:.1f}", f"{cost.peak_mb:,.0f}")
    total_s = sum(cost.seconds for cost in costs.values())
    table.add_row("all", f"{total_s:.1f}", "")
    return table
