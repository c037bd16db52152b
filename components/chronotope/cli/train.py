"""Command ``chronotope train``: ingest, search, train, compress, evaluate and promote."""

import shlex
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Column, Table

from chronotope.cli.flow_server import flow_server
from chronotope.cli.output.console import print_json, run_command
from chronotope.cli.output.terminal import TerminalConsole
from chronotope.runtime.store_urls import mask_password, mlflow_url
from chronotope.runtime.workspace import Workspace

if TYPE_CHECKING:
    from chronotope.pipelines.results import TrainingResult
    from chronotope.runtime.step_cache import StepCost

SHOWN = {
    "acc_1": "Acc@1",
    "acc_10": "Acc@10",
    "ndcg_10": "NDCG@10",
    "mrr": "MRR",
    "return_acc_10": "returns\nAcc@10",
    "discovery_acc_10": "discovery\nAcc@10",
    "new_only_acc_10": "new only\nAcc@10",
}


def train(
    dataset: Annotated[str, typer.Argument(help="Name in conf/datasets, or a YAML file")],
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data files; overrides the dataset's YAML")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML of training settings, e.g. conf/training/quick.yaml")
    ] = None,
    root: Annotated[
        Path, typer.Option(help="Project root; all files are written below it")
    ] = Path(),
    zero_shot: Annotated[
        bool,
        typer.Option(help="Count the log and train nothing: parameters of a pretrained network"),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON")] = False,
    dry_run: Annotated[bool, typer.Option(help="Check and show the settings only")] = False,
) -> None:
    """Ingest new events, then search hyper-parameters, train, compress, evaluate and promote.

    A run that was killed resumes after its last finished step.
    """
    with run_command(f"Training on {dataset}") as terminal, ExitStack() as exit_stack:
        from chronotope.datasets.loading import load_spec
        from chronotope.pipelines.settings import read_train_settings

        train_settings = read_train_settings(config, root)
        if zero_shot:
            from chronotope.pipelines.pretraining.start import zero_shot_settings

            train_settings = zero_shot_settings(train_settings)
        load_spec(dataset, data_dir=data)
        if dry_run:
            terminal.print_json(
                train_settings.model_dump_json(), highlight=False, ensure_ascii=True
            )
            return
        exit_stack.enter_context(flow_server(root, "flows.train_model", validates=True))
        from flows.ingest_events import IngestSettings
        from flows.train_model import train_model

        train_result = train_model(
            dataset, train_settings, IngestSettings(root=root, data_dir=data)
        )
    if as_json:
        print_json(train_result.model_dump(mode="json"))
    else:
        print_summary(terminal, train_result, root)


def print_summary(terminal: TerminalConsole, train_result: "TrainingResult", root: Path) -> None:
    """Print the metrics of the challenger and all baselines, the costs of steps, and links."""
    terminal.print(metrics_table(train_result.evaluation.metrics))
    terminal.print(_cost_table(train_result.costs))
    promotion_result = train_result.promotion
    if promotion_result.promoted:
        terminal.print(
            f"Version {promotion_result.version} of {promotion_result.name} is the champion."
        )
    else:
        terminal.print(
            f"Version {promotion_result.version} stays challenger:", *promotion_result.reasons
        )
    link_lines = (
        f"Report      {train_result.report.report}",
        f"MLflow UI   {mlflow_command(root)}",
        "Prefect UI  prefect server start",
    )
    terminal.print("\n".join(link_lines), soft_wrap=True)


def metrics_table(metrics_by_model: Mapping[str, Mapping[str, float]]) -> Table:
    """Metrics of the challenger and all baselines, the best last; fits into 80 characters.

    Args:
        metrics_by_model: Metrics by the name of the model.
    """
    result_table = Table(
        Column("model", no_wrap=True),
        *SHOWN.values(),
        title="Holdout metrics: full catalogue, request time given",
        box=SIMPLE_HEAD,
        padding=0,
    )
    for model_name in sorted(metrics_by_model, key=lambda name: metrics_by_model[name]["ndcg_10"]):
        model_label = "chronotope" if model_name == "challenger" else model_name
        metric_cells = (metrics_by_model[model_name].get(metric_name) for metric_name in SHOWN)
        result_table.add_row(
            model_label,
            *(
                "\N{EN DASH}" if metric_value is None else f"{metric_value:.3f}"
                for metric_value in metric_cells
            ),
        )
    return result_table


def mlflow_command(root: Path) -> str:
    """Shell command that opens the MLflow UI on the store of a root; passwords are masked."""
    store_url = mask_password(mlflow_url(Workspace(root).mlruns))
    return f"mlflow ui --backend-store-uri {shlex.quote(store_url)}"


def _cost_table(step_costs: "dict[str, StepCost]") -> Table:
    """Seconds and peak memory of each step."""
    result_table = Table("step", "seconds", "peak MB", title="Cost of each step")
    for step_name, step_cost in step_costs.items():
        result_table.add_row(step_name, f"{step_cost.seconds:.1f}", f"{step_cost.peak_mb:,.0f}")
    total_s = sum(step_cost.seconds for step_cost in step_costs.values())
    result_table.add_row("total", f"{total_s:.1f}", "")
    return result_table
