"""``chronotope train``: from a log to a champion."""

from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from chronotope.cli.console import command, print_json
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.stores import masked, mlflow_url
from chronotope.contracts.workspace import Workspace
from chronotope.datasets.loading import load_spec
from chronotope.datasets.yaml_files import read_yaml
from chronotope.steps.settings import TrainSettings

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
    with command(f"Training on {dataset}") as console, ExitStack() as stack:
        settings = read_settings(config, root)
        load_spec(dataset, data_dir=data)
        if dry_run:
            console.print_json(settings.model_dump_json())
            return
        from flows import without_heartbeat
        from flows.ingest_events import IngestSettings
        from flows.train_model import train_model

        stack.enter_context(without_heartbeat())
        result = train_model(dataset, settings, IngestSettings(root=root, data_dir=data))
    if as_json:
        print_json(result)
    else:
        show(console, result, root)


def read_settings(config: Path | None, root: Path) -> TrainSettings:
    """Settings from a YAML file, or the defaults.

    Raises:
        ConfigError: The file is missing or a value is out of bounds.
    """
    try:
        told = {} if config is None else read_yaml(config) or {}
        return TrainSettings.model_validate({**told, "root": root})
    except (ValidationError, TypeError) as error:
        raise ConfigError(
            "The training settings cannot be used",
            received=f"{config}: {error}",
            way_out="Correct the file; `chronotope train DATASET --dry-run` shows all settings",
        ) from error


def show(console: Console, result: dict[str, Any], root: Path) -> None:
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
    store = masked(mlflow_url(Workspace(root).mlruns))
    lines = (
        f"Report      {result['report']}",
        f"MLflow UI   mlflow ui --backend-store-uri {store}",
        "Prefect UI  prefect server start",
    )
    console.print("\n".join(lines), highlight=False, soft_wrap=True)


def _costs(costs: dict[str, dict[str, float]]) -> Table:
    """What each step took."""
    table = Table("step", "seconds", "peak MB", title="Cost of each step")
    for step, cost in costs.items():
        table.add_row(step, f"{cost['seconds']:.1f}", f"{cost['peak_mb']:,.0f}")
    total = sum(cost["seconds"] for cost in costs.values())
    table.add_row("all", f"{total:.1f}", "")
    return table
