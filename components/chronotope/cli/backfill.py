"""``chronotope backfill``: replay a period in chunks, and see how well it was foreseen."""

import re
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from pydantic import ValidationError
from rich.table import Table

from chronotope.cli.output.console import print_json, run_command
from chronotope.contracts.errors import ConfigError
from chronotope.datasets.loading import load_spec

if TYPE_CHECKING:
    from chronotope.pipelines.backtest import BacktestConfig
    from chronotope.pipelines.results import BacktestSummary

SHOWN: Final = {
    "n_new": "new rows",
    "n_targets": "targets",
    "acc_1": "Acc@1",
    "acc_10": "Acc@10",
    "ndcg_10": "NDCG@10",
    "mrr": "MRR",
    "return_acc_10": "seen @10",
    "discovery_acc_10": "new @10",
}
_HOURS: Final = {"h": 1, "d": 24, "w": 168}


def backfill(
    dataset: Annotated[str, typer.Option(help="Name in conf/datasets, or a YAML file")],
    start: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First day, UTC")],
    end: Annotated[
        datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="Day after the last one, UTC")
    ],
    chunk: Annotated[str, typer.Option(help="Length of a chunk: 12h, 7d, 4w")] = "7d",
    version: Annotated[
        str | None, typer.Option(help="Registered version that predicts, instead of the champion")
    ] = None,
    hidden: Annotated[bool, typer.Option(help="Do not tell the moment of each event")] = False,
    max_targets: Annotated[
        int, typer.Option(min=50, help="Events of a chunk that are predicted, at most")
    ] = 20_000,
    root: Annotated[Path, typer.Option(help="Everything written lies below it")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON")] = False,
    dry_run: Annotated[bool, typer.Option(help="Show the chunks; take nothing in")] = False,
) -> None:
    """Replay a period of the log in chunks: ingest, then predict each event, then learn of it.

    Chunks that begin before the end of what the model was trained on are marked. Running it
    again is safe; a run that was killed goes on after its last finished chunk.
    """
    with run_command(f"Replaying {dataset}") as console, ExitStack() as stack:
        told = {"start": start.date(), "end": end.date(), "chunk_h": parse_hours(chunk)}
        told |= {"version": version, "time_given": not hidden, "max_targets": max_targets}
        period, name = _period(told), load_spec(dataset).name
        if dry_run:
            plan = _plan(root, name, period)
            content = plan
        else:
            from flows.backfill_events import backfill_events
            from flows.ingest_events import IngestSettings
            from flows.private_server import run_by_hand

            stack.enter_context(run_by_hand(root))
            result = backfill_events(dataset, period, IngestSettings(root=root))
            content = result.model_dump(mode="json")
    if as_json:
        print_json(content | {"dry_run": dry_run})
        return
    if dry_run:
        console.print(_planned(plan))
        return
    console.print(_table(result))
    lines = (f"Page    {result.files.page}", f"Table   {result.files.table}")
    console.print("\n".join(lines), soft_wrap=True)


def parse_hours(text: str) -> int:
    """Hours of a length such as ``12h``, ``7d`` or ``4w``.

    Raises:
        ConfigError: It is none.
    """
    found = re.fullmatch(r"([1-9]\d{0,4})([hdw])", text.strip())
    if found is None:
        raise ConfigError(
            "The length of a chunk cannot be read", received=text, way_out="Write 12h, 7d or 4w"
        )
    return int(found[1]) * _HOURS[found[2]]


def _period(told: dict[str, Any]) -> "BacktestConfig":
    from chronotope.pipelines.backtest import BacktestConfig

    try:
        return BacktestConfig.model_validate(told)
    except ValidationError as error:
        why = "; ".join(found["msg"] for found in error.errors(include_url=False))
        raise ConfigError(
            "The period cannot be replayed", received=why, way_out="Correct --from, --to, --chunk"
        ) from error


def _plan(root: Path, name: str, period: "BacktestConfig") -> dict[str, Any]:
    """The chunks, and which of them the predictor was trained on."""
    from chronotope.pipelines.backtest import (
        format_minute,
        resolve_predictor,
        seen_in_training,
        split_period,
    )

    who = resolve_predictor(root, name, period.version)
    chunks = [
        {
            "start": format_minute(chunk.start_s),
            "end": format_minute(chunk.end_s),
            "seen": seen_in_training(chunk, who),
        }
        for chunk in split_period(period)
    ]
    return {"dataset": name, "version": who.version, "chunks": chunks}


def _planned(plan: dict[str, Any]) -> Table:
    table = Table(
        "from", "to", "seen in training", title=f"Version {plan['version']} would predict"
    )
    for chunk in plan["chunks"]:
        table.add_row(chunk["start"], chunk["end"], "yes" if chunk["seen"] else "")
    return table


def _table(result: "BacktestSummary") -> Table:
    table = Table("from", *SHOWN.values(), title=f"Predict, then update: version {result.version}")
    for chunk in result.chunks:
        seen, row = " (seen in training)" if chunk.metrics.seen else "", chunk.row()
        table.add_row(chunk.start + seen, *map(_cell, (row[name] for name in SHOWN)))
    table.add_section()
    table.add_row("not seen", *map(_cell, (result.mean_metrics.get(name) for name in SHOWN)))
    return table


def _cell(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.3f}" if isinstance(value, float) and value <= 1 else f"{value:,.0f}"
