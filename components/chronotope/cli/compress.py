"""``chronotope compress``: the trained model again, for another objective."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from rich.table import Table

from chronotope.cli.output.console import print_json, run_command
from chronotope.cli.output.terminal import TerminalConsole
from chronotope.contracts.errors import ConfigError

if TYPE_CHECKING:
    from chronotope.compression.selection import CompressionConfig
    from chronotope.pipelines.results import (
        CompressionSummary,
        RecompressionResult,
        SelectionPreview,
    )


def compress(
    dataset: Annotated[str, typer.Option(help="Dataset whose model is meant")],
    max_ndcg_loss: Annotated[
        float | None, typer.Option(help="NDCG@10 that may be lost, absolute")
    ] = None,
    max_latency_ms: Annotated[
        float | None, typer.Option(help="Median latency of one query at most")
    ] = None,
    max_size_mb: Annotated[
        float | None, typer.Option(help="Size of the graph's file at most, in 10^6 bytes")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="Candidates tried in all; many search wider")
    ] = None,
    latest: Annotated[
        bool, typer.Option(help="Take the version registered last instead of the champion")
    ] = False,
    root: Annotated[Path, typer.Option(help="Project root, below which stores lie")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON")] = False,
    dry_run: Annotated[
        bool, typer.Option(help="Show what would be chosen of what was measured already")
    ] = False,
) -> None:
    """Compress a trained model again, judge it, and promote it if it holds; nothing is trained.

    What is not told stays as the model was compressed before.
    """
    told = {
        "max_ndcg_loss": max_ndcg_loss,
        "max_latency_ms": max_latency_ms,
        "max_size_mb": max_size_mb,
        "n_trials": trials,
    }
    with run_command(f"Compressing the model of {dataset}") as console, ExitStack() as stack:
        from chronotope.pipelines.recompress import VersionSelector, find_source, preview_selection
        from chronotope.pipelines.run_dir import read_settings

        which: VersionSelector = "latest" if latest else "champion"
        origin = find_source(root, dataset, which)
        objective = override_objective(read_settings(origin.run_dir, root).compression, told)
        if dry_run:
            preview = preview_selection(origin, objective)
            content = preview.model_dump(mode="json")
        else:
            from flows.compress_model import CompressSettings, compress_model
            from flows.private_server import run_by_hand

            stack.enter_context(run_by_hand(root))
            settings = CompressSettings(root=root, which=which, objective=objective)
            result = compress_model(dataset, settings)
            content = result.model_dump(mode="json")
    if as_json:
        print_json(content | {"dry_run": dry_run})
    elif dry_run:
        _show(console, preview)
    else:
        _show(console, result.compression)
        console.print(_fate(result), soft_wrap=True)


def override_objective(kept: "CompressionConfig", told: dict[str, Any]) -> "CompressionConfig":
    """An objective with what was told in place of what was kept.

    Raises:
        ConfigError: A value is out of bounds.
    """
    given = {name: value for name, value in told.items() if value is not None}
    try:
        return type(kept).model_validate(kept.model_dump() | given)
    except ValidationError as error:
        raise ConfigError("The objective cannot be used", received=error) from error


def _show(console: TerminalConsole, found: "CompressionSummary | SelectionPreview") -> None:
    heads = ("candidate", "MB", "p50 ms", "NDCG@10", "Acc@10", "queries/s", "memory MB", "why not")
    table = Table(*heads)
    names = ("size_mb", "p50_ms", "ndcg", "acc", "queries_per_s", "rss_mb")
    for row in found.candidates:
        values = (_cell(getattr(row, name)) for name in names)
        table.add_row(row.name, *values, "chosen" if row.chosen else row.why_not)
    console.print(table)
    console.print(found.reason, soft_wrap=True)


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _fate(result: "RecompressionResult") -> str:
    promotion = result.promotion
    if promotion is None:
        return f"Nothing was registered: {result.stop_reason}."
    if promotion.promoted:
        return f"Version {promotion.version} is the champion."
    return "\n- ".join([f"Version {promotion.version} stays challenger:", *promotion.reasons])
