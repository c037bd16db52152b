"""Command ``chronotope compress``: compress a trained model again, for another objective."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from rich.table import Table

from chronotope.cli.flow_server import flow_server
from chronotope.cli.output.console import print_json, run_command
from chronotope.cli.output.terminal import TerminalConsole
from chronotope.contracts.errors import ConfigError

if TYPE_CHECKING:
    from chronotope.compression.config import CompressionConfig
    from chronotope.pipelines.results import (
        CompressionSummary,
        RecompressionResult,
        SelectionPreview,
    )

_Latest = Annotated[
    bool, typer.Option(help="Compress the latest registered version, not the champion")
]
_DryRun = Annotated[
    bool, typer.Option(help="Select among the candidates measured so far; change nothing")
]


def compress(
    dataset: Annotated[str, typer.Option(help="Dataset of the model")],
    max_ndcg_loss: Annotated[
        float | None, typer.Option(help="Maximum loss of NDCG@10, absolute")
    ] = None,
    max_latency_ms: Annotated[
        float | None, typer.Option(help="Maximum median latency of one query, in milliseconds")
    ] = None,
    max_size_mb: Annotated[
        float | None, typer.Option(help="Maximum size of the ONNX file, in 10^6 bytes")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(help="Number of candidates to evaluate; more search wider")
    ] = None,
    latest: _Latest = False,
    root: Annotated[Path, typer.Option(help="Project root, the parent folder of stores")] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON")] = False,
    dry_run: _DryRun = False,
) -> None:
    """Compress a trained model for another objective, evaluate it, and promote it if it passes.

    Options that are not given keep the value with which the version was compressed.
    """
    requested_bounds = {
        "max_ndcg_loss": max_ndcg_loss,
        "max_latency_ms": max_latency_ms,
        "max_size_mb": max_size_mb,
        "n_trials": trials,
    }
    with run_command(f"Compressing the model of {dataset}") as terminal, ExitStack() as exit_stack:
        from chronotope.pipelines.recompress import VersionSelector, find_source, preview_selection
        from chronotope.pipelines.run_dir import read_settings

        version_selector: VersionSelector = "latest" if latest else "champion"
        compression_source = find_source(root, dataset, version_selector)
        new_objective = override_objective(
            read_settings(compression_source.run_dir, root).compression, requested_bounds
        )
        if dry_run:
            selection_preview = preview_selection(compression_source, new_objective)
            json_content = selection_preview.model_dump(mode="json")
        else:
            exit_stack.enter_context(flow_server(root, "flows.compress_model", validates=False))
            from flows.compress_model import CompressSettings, compress_model

            compress_settings = CompressSettings(
                root=root, which=version_selector, objective=new_objective
            )
            compress_result = compress_model(dataset, compress_settings)
            json_content = compress_result.model_dump(mode="json")
    if as_json:
        print_json(json_content | {"dry_run": dry_run})
    elif dry_run:
        _show(terminal, selection_preview)
    else:
        _show(terminal, compress_result.compression)
        terminal.print(_outcome_text(compress_result), soft_wrap=True)


def override_objective(
    stored_objective: "CompressionConfig", requested_bounds: dict[str, Any]
) -> "CompressionConfig":
    """Objective with the requested values; a value of None keeps the stored one.

    Args:
        stored_objective: Objective with which the version was compressed.
        requested_bounds: New values by field name.

    Raises:
        ConfigError: A value is out of range.
    """
    changed_bounds = {
        bound_name: bound_value
        for bound_name, bound_value in requested_bounds.items()
        if bound_value is not None
    }
    from chronotope.datasets.yaml_problems import explain_problems

    objective_model = type(stored_objective)
    try:
        return objective_model.model_validate(stored_objective.model_dump() | changed_bounds)
    except ValidationError as error:
        problems = explain_problems(error, objective_model)
        raise ConfigError(
            f"The compression objective is invalid: {problems}",
            way_out="`chronotope compress --help` shows all options",
        ) from error


def _show(
    terminal: TerminalConsole, compression_summary: "CompressionSummary | SelectionPreview"
) -> None:
    column_heads = (
        "candidate",
        "MB",
        "p50 ms",
        "NDCG@10",
        "Acc@10",
        "queries/s",
        "memory MB",
        "selection",
    )
    candidate_table = Table(*column_heads)
    column_names = ("size_mb", "p50_ms", "ndcg", "acc", "queries_per_s", "rss_mb")
    for candidate_row in compression_summary.candidates:
        cell_texts = (_cell(getattr(candidate_row, column_name)) for column_name in column_names)
        candidate_table.add_row(
            candidate_row.name,
            *cell_texts,
            "selected" if candidate_row.chosen else candidate_row.why_not,
        )
    terminal.print(candidate_table)
    terminal.print(compression_summary.reason, soft_wrap=True)


def _cell(cell_value: float | None) -> str:
    return "" if cell_value is None else f"{cell_value:.4g}"


def _outcome_text(compress_result: "RecompressionResult") -> str:
    promotion_result = compress_result.promotion
    if promotion_result is None:
        return f"Nothing was registered: {compress_result.stop_reason}."
    if promotion_result.promoted:
        return f"Version {promotion_result.version} is the champion."
    return "\n- ".join(
        [f"Version {promotion_result.version} stays challenger:", *promotion_result.reasons]
    )
