"""Command ``chronotope backfill``: replay a period in chunks and evaluate the predictions."""

import re
from contextlib import ExitStack
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from pydantic import ValidationError
from rich import box
from rich.table import Column, Table

from chronotope.cli.flow_server import flow_server
from chronotope.cli.output.console import print_json, run_command
from chronotope.contracts.errors import ConfigError

if TYPE_CHECKING:
    from chronotope.pipelines.backtest import BacktestConfig
    from chronotope.pipelines.results import BacktestSummary

SHOWN: Final = {
    "n_new": "new\nrows",
    "n_targets": "targets",
    "acc_1": "Acc\n@1",
    "acc_10": "Acc\n@10",
    "ndcg_10": "NDCG\n@10",
    "mrr": "MRR",
    "return_acc_10": "returns\nAcc@10",
    "discovery_acc_10": "discovery\nAcc@10",
}
_HOURS: Final = {"h": 1, "d": 24, "w": 168}


def backfill(
    dataset: Annotated[str, typer.Option(help="Name in conf/datasets, or a YAML file")],
    start: Annotated[datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="First day, UTC")],
    end: Annotated[
        datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="Day after the last one, UTC")
    ],
    chunk: Annotated[str, typer.Option(help="Length of a chunk, such as 12h, 7d or 4w")] = "7d",
    version: Annotated[
        str | None, typer.Option(help="Registered version that predicts; default: the champion")
    ] = None,
    hidden: Annotated[
        bool, typer.Option(help="Hide the time of each event from the model")
    ] = False,
    max_targets: Annotated[
        int, typer.Option(min=50, help="Maximum number of predicted events per chunk")
    ] = 20_000,
    root: Annotated[
        Path, typer.Option(help="Project root; all files are written below it")
    ] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON")] = False,
    dry_run: Annotated[bool, typer.Option(help="Show the chunks; ingest nothing")] = False,
) -> None:
    """Replay a period of the log in chunks: ingest each chunk and predict each of its events.

    Every event is predicted from the events before it. Chunks that begin before the end of the
    model's training data are marked. Running it again is safe; a run that was killed resumes
    after its last finished chunk.
    """
    with run_command(f"Replaying {dataset}") as terminal, ExitStack() as exit_stack:
        from chronotope.datasets.loading import load_spec

        period_values = {"start": start.date(), "end": end.date(), "chunk_h": parse_hours(chunk)}
        period_values |= {"version": version, "time_given": not hidden, "max_targets": max_targets}
        backtest_config, dataset_name = _period(period_values), load_spec(dataset).name
        if dry_run:
            backfill_plan = _plan(root, dataset_name, backtest_config)
            json_content = backfill_plan
        else:
            exit_stack.enter_context(flow_server(root, "flows.backfill_events", validates=True))
            from flows.backfill_events import backfill_events
            from flows.ingest_events import IngestSettings

            backfill_result = backfill_events(dataset, backtest_config, IngestSettings(root=root))
            json_content = backfill_result.model_dump(mode="json")
    if as_json:
        print_json(json_content | {"dry_run": dry_run})
        return
    if dry_run:
        terminal.print(_plan_table(backfill_plan))
        return
    terminal.print(_table(backfill_result))
    output_lines = (
        f"Page    {backfill_result.files.page}",
        f"Table   {backfill_result.files.table}",
    )
    terminal.print("\n".join(output_lines), soft_wrap=True)


def parse_hours(length_text: str) -> int:
    """Number of hours of a length such as ``12h``, ``7d`` or ``4w``.

    Raises:
        ConfigError: The text is not such a length.
    """
    length_match = re.fullmatch(r"([1-9]\d{0,4})([hdw])", length_text.strip())
    if length_match is None:
        raise ConfigError(
            "The length of a chunk cannot be read",
            received=length_text,
            way_out="Write a number of hours, days or weeks, such as 12h, 7d or 4w",
        )
    return int(length_match[1]) * _HOURS[length_match[2]]


def _period(period_values: dict[str, Any]) -> "BacktestConfig":
    from chronotope.datasets.yaml_problems import explain_problems
    from chronotope.pipelines.backtest import BacktestConfig

    try:
        return BacktestConfig.model_validate(period_values)
    except ValidationError as error:
        problems = explain_problems(error, BacktestConfig).removeprefix("file: ")
        raise ConfigError(
            f"The period cannot be replayed: {problems}",
            way_out="Correct --from, --to or --chunk",
        ) from error


def _plan(root: Path, dataset_name: str, backtest_config: "BacktestConfig") -> dict[str, Any]:
    """Chunks of the period, each with a flag whether the predictor was trained on it."""
    from chronotope.pipelines.backtest import (
        format_minute,
        resolve_predictor,
        seen_in_training,
        split_period,
    )

    predictor_info = resolve_predictor(root, dataset_name, backtest_config.version)
    chunk_rows = [
        {
            "start": format_minute(chunk.start_s),
            "end": format_minute(chunk.end_s),
            "seen": seen_in_training(chunk, predictor_info),
        }
        for chunk in split_period(backtest_config)
    ]
    return {"dataset": dataset_name, "version": predictor_info.version, "chunks": chunk_rows}


def _plan_table(backfill_plan: dict[str, Any]) -> Table:
    result_table = Table(
        "from", "to", "seen in training", title=f"Version {backfill_plan['version']} would predict"
    )
    for chunk in backfill_plan["chunks"]:
        result_table.add_row(chunk["start"], chunk["end"], "yes" if chunk["seen"] else "")
    return result_table


def _table(backfill_result: "BacktestSummary") -> Table:
    seen_note = "* seen in training, not in the means"
    result_table = Table(
        Column("from", no_wrap=True),
        *SHOWN.values(),
        title=f"Predict, then update: version {backfill_result.version}",
        caption=seen_note if any(chunk.metrics.seen for chunk in backfill_result.chunks) else None,
        box=box.SIMPLE,
        pad_edge=False,
        collapse_padding=True,  # fits a terminal of 80 columns
    )
    for chunk in backfill_result.chunks:
        seen_mark, chunk_row = "*" if chunk.metrics.seen else "", chunk.row()
        result_table.add_row(
            chunk.start.removesuffix(" 00:00") + seen_mark,
            *map(_cell, (chunk_row[metric_name] for metric_name in SHOWN)),
        )
    result_table.add_section()
    result_table.add_row(
        "mean",
        *map(_cell, (backfill_result.mean_metrics.get(metric_name) for metric_name in SHOWN)),
    )
    return result_table


def _cell(cell_value: float | None) -> str:
    if cell_value is None:
        return ""
    return (
        f"{cell_value:.3f}"
        if isinstance(cell_value, float) and cell_value <= 1
        else f"{cell_value:,.0f}"
    )
