"""``chronotope serve``: the champion answers over HTTP, in real time."""

import os
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any

import typer

from chronotope.cli.output.console import print_json, run_command
from chronotope.contracts.errors import ConfigError


def serve(
    dataset: Annotated[str, typer.Argument(help="Dataset whose champion answers")],
    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on")] = 8000,
    root: Annotated[Path, typer.Option(help="Project root, below which stores lie")] = Path(),
    api_key_env: Annotated[
        str, typer.Option(help="Environment variable with the key asked of every caller")
    ] = "",
    rate: Annotated[
        float | None, typer.Option(min=0.001, help="Requests a second of one client; no bound")
    ] = None,
    behind_proxy: Annotated[
        list[str] | None,
        typer.Option(
            metavar="ADDRESS",
            help="Address or network of a proxy whose X-Forwarded-For names the client",
        ),
    ] = None,
    max_connections: Annotated[
        int, typer.Option(min=1, help="Open connections of a process, idle ones included")
    ] = 1000,
    poll: Annotated[
        float, typer.Option(min=0.05, help="Seconds between looks for a new champion or new data")
    ] = 5.0,
    experiment: Annotated[
        Path | None, typer.Option(help="YAML of an experiment: arms, shares, exploration")
    ] = None,
    explore: Annotated[
        float, typer.Option(min=0, max=1, help="Share of answers drawn at random, to learn from")
    ] = 0.0,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Processes that answer; each holds the log in memory")
    ] = 1,
    store: Annotated[
        str,
        typer.Option(
            envvar="CHRONOTOPE_STORE",
            help="Redis in which workers share answers, such as redis://127.0.0.1:6379/0",
        ),
    ] = "",
    as_json: Annotated[bool, typer.Option("--json", help="Print the address as JSON")] = False,
) -> None:
    """Answer over HTTP until Ctrl-C: what, when and where; learn of events at once."""
    with run_command(f"Opening the champion of {dataset}") as console:
        from chronotope.experiments.experiment import Exploration, read_experiment
        from chronotope.registry.champion import require_dataset
        from chronotope.serving.server import bind
        from chronotope.serving.server import serve as run
        from chronotope.serving.settings import ServeSettings

        require_dataset(root, dataset)
        key = _api_key(host, api_key_env)
        settings = ServeSettings(
            dataset=dataset,
            root=root,
            api_key=key,
            rate_per_s=rate,
            trusted_proxies=_networks(behind_proxy or []),
            max_connections=max_connections,
            poll_s=poll,
            exploration=Exploration(share=explore),
            experiment=None if experiment is None else read_experiment(experiment),
            **ingestion_defaults(dataset),
            workers=workers,
            store=store or None,
        )
        sockets = bind(settings, host=host, port=port)
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    if as_json:
        print_json({"dataset": dataset, "address": address})
    else:
        console.print(f"{dataset} answers at {address}, described at {address}/docs; Ctrl-C ends")
    with run_command("Answering"):
        run(settings, sockets)


def ingestion_defaults(dataset: str) -> dict[str, Any]:
    """What ingestion fills in where an event leaves it out; a champion needs no YAML.

    Raises:
        ConfigError: There is a YAML, and it is wrong.
    """
    from chronotope.datasets.loading import dataset_names, load_spec

    if dataset not in dataset_names():
        return {}
    names = {"event_type", "local_zone", "cell_resolution"}
    return load_spec(dataset).model_dump(include=names)


def _networks(addresses: list[str]) -> tuple[str, ...]:
    """Proxies that are trusted.

    Raises:
        ConfigError: One of them is neither an address nor a network.
    """
    for address in addresses:
        try:
            ip_network(address)
        except ValueError as error:
            raise ConfigError(
                "A proxy is trusted by its address",
                received=error,
                way_out="Name addresses or networks, such as --behind-proxy 10.0.0.0/8",
            ) from None
    return tuple(addresses)


def _api_key(host: str, variable: str) -> str | None:
    """The key, which is asked for wherever others than this machine can call.

    Raises:
        ConfigError: There is none, and there has to be one.
    """
    if variable:
        key = os.environ.get(variable, "")
        if not key:
            raise ConfigError("The environment variable of the API key is empty", received=variable)
        return key
    if host not in {"127.0.0.1", "localhost", "::1"}:
        raise ConfigError(
            "Beyond this machine the service answers only with an API key",
            received=host,
            way_out="Put one into an environment variable and name it: --api-key-env NAME",
        )
    return None
