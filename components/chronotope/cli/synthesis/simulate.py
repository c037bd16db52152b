"""Command ``chronotope simulate``: a simulated log with labelled anomalies, as files."""

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from chronotope.cli.output.console import print_json, run_command
from chronotope.cli.output.count_text import count_text

if TYPE_CHECKING:
    from chronotope.datasets.city import CityConfig
    from chronotope.datasets.city_anomalies.best_detection import Detectability


def simulate(
    out: Annotated[Path, typer.Option(help="Folder of the files to write")],
    dataset: Annotated[
        str, typer.Option(help="Simulated city: a name in conf/datasets, or a YAML file")
    ] = "simulated_city",
    name: Annotated[str, typer.Option(help="Name of the written dataset")] = "labelled_city",
    events: Annotated[int | None, typer.Option(help="Number of regular events")] = None,
    users: Annotated[int | None, typer.Option(help="Number of users")] = None,
    items: Annotated[int | None, typer.Option(help="Number of places")] = None,
    days: Annotated[int | None, typer.Option(help="Length of the log in days")] = None,
    seed: Annotated[int | None, typer.Option(help="Random seed")] = None,
    takeover: Annotated[
        float | None, typer.Option(help="Share of events made by strangers on stolen accounts")
    ] = None,
    bot: Annotated[float | None, typer.Option(help="Events of scripts, per regular event")] = None,
    flood: Annotated[
        float | None, typer.Option(help="Events of floods of one place, per regular event")
    ] = None,
    teleport: Annotated[
        float | None, typer.Option(help="Impossible trips, per regular event")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON")] = False,
    dry_run: Annotated[bool, typer.Option(help="Check and show the city's settings only")] = False,
) -> None:
    """Simulate a city with anomalies of known kinds, and state how well they can be detected.

    Writes events.parquet, items.parquet, NAME.yaml for ``chronotope ingest``, labels.parquet (event
    id, user, item, time and kind of each anomaly) and best_detection.json.
    """
    with run_command("Simulating a city") as terminal:
        from chronotope.datasets.city_anomalies.best_detection import best_detection
        from chronotope.datasets.city_anomalies.labelled_log import (
            write_detectability,
            write_labelled_log,
        )

        sizes = {"n_events": events, "n_users": users, "n_items": items, "days": days, "seed": seed}
        rates = {"takeover": takeover, "bot": bot, "flood": flood, "teleport": teleport}
        city_config = _city_config(dataset, sizes, rates)
        if dry_run:
            terminal.print_json(city_config.model_dump_json(), highlight=False, ensure_ascii=True)
            return
        log = write_labelled_log(city_config, out.resolve(), name=name)
        results = best_detection(city_config)
        write_detectability(results, out / "best_detection.json")
    if as_json:
        paths = {key: str(value) for key, value in asdict(log).items() if isinstance(value, Path)}
        recalls = [asdict(result) | {"kind": result.kind.label} for result in results]
        print_json({**asdict(log), **paths, "best_detection": recalls})
        return
    terminal.print(_detection_table(results))
    terminal.print(
        f"{count_text(log.n_events, 'event')}, of them {sum(log.n_anomalies.values()):,} anomalies"
        "\n"
        f"Labels   {log.labels}\nIngest   chronotope ingest {log.dataset}",
        soft_wrap=True,
    )


def _city_config(
    dataset: str, sizes: dict[str, int | None], rates: dict[str, float | None]
) -> "CityConfig":
    """Settings of the city, with the options in place of those of the dataset.

    Raises:
        ConfigError: The dataset is no simulated city, or a value is out of bounds.
    """
    from pydantic import ValidationError

    from chronotope.contracts.errors import ConfigError
    from chronotope.datasets.city import CityConfig
    from chronotope.datasets.loading import load_spec
    from chronotope.datasets.yaml_problems import explain_problems

    city = load_spec(dataset).city
    if city is None:
        raise ConfigError(
            "The dataset is no simulated city",
            received=dataset,
            way_out="Name a dataset whose YAML has `city`, such as simulated_city",
        )
    given_rates = {kind: rate for kind, rate in rates.items() if rate is not None}
    changes = {name: size for name, size in sizes.items() if size is not None}
    planted = city.planted.model_dump() | given_rates
    try:
        return CityConfig.model_validate(city.model_dump() | changes | {"planted": planted})
    except ValidationError as error:
        raise ConfigError(
            f"The simulation cannot be run: {explain_problems(error, CityConfig)}",
            way_out="Correct the options",
        ) from error


def _detection_table(results: "tuple[Detectability, ...]") -> Table:
    """Best reachable recall of each kind."""
    table = Table(
        "kind",
        "events",
        "every law known",
        "tables unknown",
        title="Best reachable recall at 1 % false alarms",
    )
    for result in results:
        recalls = (f"{value:.3f}" for value in (result.recall, result.recall_without_tables))
        table.add_row(result.kind.label, f"{result.n_events:,}", *recalls)
    return table
