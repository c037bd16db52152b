"""Command ``chronotope federate``: train over clients that keep their rows."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.table import Table

from chronotope.cli.flow_server import flow_server
from chronotope.cli.output.console import print_json, run_command
from chronotope.cli.output.terminal import TerminalConsole
from chronotope.cli.train import metrics_table

if TYPE_CHECKING:
    from chronotope.pipelines.federated.results import FederatedResult
    from chronotope.pipelines.federated.settings import FederatedSettings


def federate(
    dataset: Annotated[str, typer.Argument(help="Name in conf/datasets, or a YAML file")],
    clients: Annotated[
        int | None, typer.Option(help="Number of clients to simulate or await, 20 by default")
    ] = None,
    by: Annotated[
        str | None,
        typer.Option(
            help="Division of users: random, place, taste, activity, or a column of users or "
            "events, such as a country or store"
        ),
    ] = None,
    rounds: Annotated[int | None, typer.Option(help="Rounds of training")] = None,
    client_roots: Annotated[
        str,
        typer.Option(help="Comma-separated project roots of clients that have lakes of their own"),
    ] = "",
    exchange: Annotated[
        Path | None,
        typer.Option(help="Folder through which a Flower app asks --clients clients"),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="Folder of the data files; overrides the dataset's YAML")
    ] = None,
    config: Annotated[
        Path | None, typer.Option(help="YAML of settings, e.g. conf/federated/robust.yaml")
    ] = None,
    root: Annotated[
        Path, typer.Option(help="Project root of the coordinator; its files are written below it")
    ] = Path(),
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON")] = False,
    dry_run: Annotated[bool, typer.Option(help="Check and show the settings only")] = False,
) -> None:
    """Train one model over clients that send sums of counts and updates, no rows.

    The model is compressed, evaluated and gated on the coordinator's own log. A run that was
    killed continues after its last finished round.
    """
    with run_command(f"Federated training on {dataset}") as terminal, ExitStack() as exit_stack:
        from chronotope.datasets.loading import load_spec
        from chronotope.pipelines.federated.client_roots import require_client_lakes

        roots = tuple(Path(text.strip()) for text in client_roots.split(",") if text.strip())
        options = {"n_clients": clients, "by": by, "clients": roots or None, "exchange": exchange}
        settings = _used_settings(config, root, options, rounds)
        require_client_lakes(settings, load_spec(dataset, data_dir=data).name)
        if dry_run:
            terminal.print_json(settings.model_dump_json(), highlight=False, ensure_ascii=True)
            return
        exit_stack.enter_context(
            flow_server(root, "flows.federated.federated_train", validates=True)
        )
        from flows.federated.federated_train import federated_train
        from flows.ingest_events import IngestSettings

        result = federated_train(dataset, settings, IngestSettings(root=root, data_dir=data))
    if as_json:
        print_json(result.model_dump(mode="json"))
    else:
        show_federation(terminal, result)


def _used_settings(
    config: Path | None, root: Path, options: dict[str, Any], rounds: int | None
) -> "FederatedSettings":
    """Settings with the options of the command line in place of the file's.

    Raises:
        ConfigError: A value is out of bounds, or options contradict each other.
    """
    from pydantic import ValidationError

    from chronotope.contracts.errors import ConfigError
    from chronotope.datasets.yaml_problems import explain_problems
    from chronotope.pipelines.federated.settings import read_federated_settings

    settings = read_federated_settings(config, root)
    if options["exchange"] is not None and options["by"] is not None:
        raise ConfigError(
            "Clients behind an exchange have their users already",
            received="--exchange with --by",
            way_out="Leave out --by",
        )
    if options["clients"] and (options["n_clients"] is not None or options["by"] is not None):
        raise ConfigError(
            "Clients are either simulated or have lakes of their own",
            received="--client-roots with --clients or --by",
            way_out="Leave out --clients and --by",
        )
    content = settings.model_dump()
    content |= {name: value for name, value in options.items() if value is not None}
    if rounds is not None:
        content["federation"]["rounds"] = rounds
    settings_model = type(settings)
    try:
        return settings_model.model_validate(content)
    except ValidationError as error:
        problems = explain_problems(error, settings_model)
        raise ConfigError(
            f"The options of the federated training cannot be used: {problems}",
            way_out="`chronotope federate --help` shows all options",
        ) from error


def show_federation(terminal: TerminalConsole, result: "FederatedResult") -> None:
    """Print the rounds, the metrics, and the decision of the gate.

    Args:
        terminal: Where to print.
        result: Result of the flow.
    """
    federation, promotion = result.federation, result.promotion
    rounds_table = Table(title=f"{federation.n_clients} clients, {federation.aggregation}")
    for column in ("round", "answers", "later loss", "MB a client", "s"):
        rounds_table.add_column(column, no_wrap=True)
    for round_record in federation.rounds:
        if round_record.name.startswith("counts"):
            continue
        later_loss = "" if round_record.later_loss is None else f"{round_record.later_loss:.4f}"
        cell_idx = (f"{round_record.mb_per_client:.2f}", f"{round_record.seconds:.1f}")
        rounds_table.add_row(round_record.name, str(round_record.n_answers), later_loss, *cell_idx)
    terminal.print(rounds_table)
    terminal.print(metrics_table(result.evaluation.metrics))
    decision = "is the champion." if promotion.promoted else "stays challenger:"
    terminal.print(f"Version {promotion.version} of {promotion.name} {decision}")
    terminal.print("\n".join((*promotion.reasons, f"Report  {result.report.report}")),
                   soft_wrap=True)  # fmt: skip
