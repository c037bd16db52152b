"""``chronotope train``: from a log to a champion."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.table import Table

from chronotope.cli.output.console import print_json, run_command
from chronotope.cli.output.terminal import TerminalConsole
from chronotope.contracts.errors import ConfigError
from chronotope.datasets.loading import load_spec
from chronotope.datasets.strict_yaml import read_yaml
from chronotope.pipelines.settings import TrainSettings
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
        settings = read_settings(config, root)
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
        print_json(result)
    else:
        print_summary(console, result, root)


def read_settings(config: Path | None, root: Path) -> TrainSettings:
    """Settings from a YAML file, or the defaults.

    Raises:
        ConfigError: The file cannot be read or a value is out of bounds.
    """
    try:
        told = {} if config is None else read_yaml(config) or {}
        return TrainSettings.model_validate({**told, "root": root})
    except (ConfigError, ValidationError, TypeError) as error:
        raise ConfigError(
            "The training settings cannot be used",
            received=f"{config}: {error}",
            way_out="Correct the file; `chronotope train DATASET --dry-run` shows all settings",
        ) from error


def print_summary(console: TerminalConsole, result: dict[str, Any], root: Path) -> None:
    """Champion against every baseline, and where to look next."""
    models = result["judged"]["models"]
    table = Table("model", *SHOWN.values(), title="Holdout: later time, full catalogue, time given")
    for name in sorted(models, key=lambda name: models[name]["ndcg_10"]):
        label = "chronotope" if name == "challenger" else name
        values = (models[name].get(metric) for metric in SHOWN)
        table.add_row(label, *("–" if v is None else f"{v:.3f}" for v in values))  # noqa: RUF001
    console.print(table)
    console.print(_costs(result["costs"]))
    promoted = result["promoted"]
    if promoted["promoted"]:
        console.print(f"Version {promoted['version']} of {promoted['name']} is the champion.")
    else:
        console.print(f"Version {promoted['version']} stays challenger:", *promoted["reasons"])
    store = mask_password(mlflow_url(Workspace(root).mlruns))
    lines = (
        f"Report      {result['report']}",
        f"MLflow UI   mlflow ui --backend-store-uri {store}",
        "Prefect UI  prefect server start",
    )
    console.print("\n".join(lines), soft_wrap=True)


def _costs(costs: dict[str, dict[str, float]]) -> Table:
    """What each step took."""
    table = Table("step", "seconds", "peak MB", title="Cost of each step")
    for step, cost in costs.items():
        table.add_row(step, f"{cost['seconds']:.1f}", f"{cost['peak_mb']:,.0f}")
    total = sum(cost["seconds"] for cost in costs.values())
    table.add_row("all", f"{total:.1f}", "")
    return table
