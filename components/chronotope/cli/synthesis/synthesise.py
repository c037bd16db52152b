"""Command ``chronotope synthesise``: a log of generated users that can be shared."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.table import Table

from chronotope.cli.flow_server import flow_server
from chronotope.cli.output.console import print_json, run_command
from chronotope.cli.output.count_text import count_text
from chronotope.cli.output.terminal import TerminalConsole

if TYPE_CHECKING:
    from flows.synthesis.synthesise_log import SynthesisResult


def synthesise(
    dataset: Annotated[str, typer.Argument(help="Name in conf/datasets, or a YAML file")],
    users: Annotated[int, typer.Option(min=1, help="Number of users to generate")] = 1_000,
    out: Annotated[
        Path | None, typer.Option(help="Folder of the files; default data/synthetic/DATASET")
    ] = None,
    generator: Annotated[
        Literal["markov_renewal", "gan"],
        typer.Option(help="Markov-renewal process, or adversarially trained network"),
    ] = "markov_renewal",
    seed: Annotated[int, typer.Option(min=0, help="Seed: the same log again")] = 0,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data files; overrides the dataset's YAML")
    ] = None,
    root: Annotated[
        Path, typer.Option(help="Project root; all files are written below it")
    ] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON")] = False,
    dry_run: Annotated[bool, typer.Option(help="Check and show the settings only")] = False,
) -> None:
    """Generate users who were never there, and report fidelity and privacy of their log.

    Writes events.parquet, items.parquet, DATASET_synthetic.yaml, report.json and report.html.
    """
    with run_command(f"Synthesising {dataset}") as terminal, ExitStack() as exit_stack:
        from chronotope.datasets.loading import load_spec
        from chronotope.synthesis import SynthesisSettings

        load_spec(dataset, data_dir=data)
        settings = SynthesisSettings(n_users=users, generator=generator, seed=seed)
        if dry_run:
            terminal.print_json(settings.model_dump_json(), highlight=False, ensure_ascii=True)
            return
        exit_stack.enter_context(
            flow_server(root, "flows.synthesis.synthesise_log", validates=True)
        )
        from flows.ingest_events import IngestSettings
        from flows.synthesis.synthesise_log import SynthesiseSettings, synthesise_log

        result = synthesise_log(
            dataset,
            SynthesiseSettings(out=out, synthesis=settings),
            IngestSettings(root=root, data_dir=data),
        )
    if as_json:
        print_json(result.model_dump(mode="json"))
    else:
        show_synthesis(terminal, result)


def show_synthesis(terminal: TerminalConsole, result: "SynthesisResult") -> None:
    """Print fidelity and privacy, and where the files are.

    Args:
        terminal: Where to print.
        result: Result of the flow.
    """
    figures = result.figures
    table = Table("trained on", "Acc@1", "NDCG@10", "MRR", title="Tested on later real events")
    for utility in figures.utilities:
        cells = (f"{value:.3f}" for value in (utility.acc_1, utility.ndcg_10, utility.mrr))
        table.add_row(utility.trained_on, *cells)
    terminal.print(table)
    worst = figures.worst_attack
    interval = f"{worst.low:.3f} to {worst.high:.3f}"
    terminal.print(
        f"{count_text(figures.n_users, 'user')}, {count_text(figures.n_events, 'event')}\n"
        f"Utility           {figures.utility_ratio:.0%} of training on real events\n"
        f"Membership attack AUC {worst.auc:.3f} ({worst.name}; {interval})\n"
        f"Report            {result.folder / 'report.html'}\n"
        f"Ingest it         chronotope ingest {result.dataset}",
        soft_wrap=True,
    )
