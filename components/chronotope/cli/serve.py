"""Command ``chronotope serve``: HTTP service of the champion."""

import os
from ipaddress import ip_network
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chronotope.cli.output.console import print_json, run_command
from chronotope.contracts.errors import ConfigError

if TYPE_CHECKING:
    import socket
    from collections.abc import Sequence

    from chronotope.serving.settings import ServeSettings

_Dataset = Annotated[str, typer.Argument(help="Dataset whose champion is served")]
_Host = Annotated[str, typer.Option(help="Address to listen on")]
_Port = Annotated[int, typer.Option(min=1, max=65535, help="Port to listen on")]
_Root = Annotated[Path, typer.Option(help="Project root, the parent folder of stores")]
_ApiKeyEnv = Annotated[
    str, typer.Option(help="Environment variable with the API key that every request must send")
]
_Rate = Annotated[
    float | None,
    typer.Option(min=0.001, help="Maximum requests per second of one client; default: no limit"),
]
_BehindProxy = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ADDRESS",
        help="Address or network of a proxy whose X-Forwarded-For header is trusted; repeatable",
    ),
]
_MaxConnections = Annotated[
    int, typer.Option(min=1, help="Maximum open connections per process, including idle ones")
]
_Poll = Annotated[
    float, typer.Option(min=0.05, help="Seconds between polls for a new champion or new data")
]
_ExperimentPath = Annotated[
    Path | None, typer.Option(help="YAML of an experiment: arms, shares, exploration")
]
_Explore = Annotated[
    float, typer.Option(min=0, max=1, help="Share of lists drawn at random for exploration")
]
_ExploreNew = Annotated[
    float,
    typer.Option(min=0, max=1, help="Share of lists that end with a new item, if there are any"),
]
_TailExposure = Annotated[
    float,
    typer.Option(min=0, max=10, help="Bonus of rarer items for users who choose them; 0: none"),
]
_Workers = Annotated[
    int, typer.Option(min=1, max=64, help="Number of worker processes, each with its own memory")
]
_Store = Annotated[
    str,
    typer.Option(
        envvar="CHRONOTOPE_STORE",
        help="Redis address of a response cache shared by workers, e.g. redis://127.0.0.1:6379/0",
    ),
]
_Data = Annotated[
    Path | None,
    typer.Option(help="Folder of the items' pictures; overrides data_dir of the dataset's YAML"),
]
_Traces = Annotated[
    bool,
    typer.Option(
        "--traces",
        envvar="CHRONOTOPE_TRACES",
        help="Send OpenTelemetry traces to OTEL_EXPORTER_OTLP_ENDPOINT, http://127.0.0.1:4318",
    ),
]
_JsonLogs = Annotated[
    bool,
    typer.Option(
        "--json-logs",
        envvar="CHRONOTOPE_JSON_LOGS",
        help="Log requests, swaps and warnings to standard error, one JSON object a line",
    ),
]
_AsJson = Annotated[bool, typer.Option("--json", help="Print the address as JSON")]


def serve(
    dataset: _Dataset,
    host: _Host = "127.0.0.1",
    port: _Port = 8000,
    root: _Root = Path(),
    api_key_env: _ApiKeyEnv = "",
    rate: _Rate = None,
    behind_proxy: _BehindProxy = None,
    max_connections: _MaxConnections = 1000,
    poll: _Poll = 5.0,
    experiment: _ExperimentPath = None,
    explore: _Explore = 0.0,
    explore_new: _ExploreNew = 0.05,
    tail_exposure: _TailExposure = 0.0,
    workers: _Workers = 1,
    store: _Store = "",
    data: _Data = None,
    traces: _Traces = False,
    json_logs: _JsonLogs = False,
    as_json: _AsJson = False,
) -> None:
    """Serve the champion over HTTP until Ctrl-C: recommendations, predictions, event intake."""
    with run_command(f"Starting the service of {dataset}") as console:
        from chronotope.registry.champion import require_dataset

        require_dataset(root, dataset)
        from flows.privacy.secret_keys import provide_lake_keys

        provide_lake_keys(root, dataset)
        from chronotope.experiments.experiment import Exploration, read_experiment
        from chronotope.serving.server import bind
        from chronotope.serving.settings import ServeSettings

        settings = ServeSettings(
            dataset=dataset,
            root=root,
            api_key=_read_api_key(host, api_key_env),
            rate_per_s=rate,
            trusted_proxies=_check_networks(behind_proxy or []),
            max_connections=max_connections,
            poll_s=poll,
            exploration=Exploration(share=explore),
            explore_new=explore_new,
            tail_exposure=tail_exposure,
            experiment=None if experiment is None else read_experiment(experiment),
            **dataset_defaults(dataset, data),
            workers=workers,
            store=store or None,
            traces=traces,
            json_logs=json_logs,
        )
        sockets = bind(settings, host=host, port=port)
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    if as_json:
        print_json({"dataset": dataset, "address": address})
    else:
        console.print(f"Serving {dataset} at {address}, API docs at {address}/docs; Ctrl-C stops")
    _serve_until_stopped(settings, sockets)


def _serve_until_stopped(settings: "ServeSettings", sockets: "Sequence[socket.socket]") -> None:
    """Run the server; Ctrl-C is its ordinary end."""
    from chronotope.serving.server import serve as run_server

    with run_command("Serving"):
        try:
            run_server(settings, sockets)
        except KeyboardInterrupt:  # the server raises it again after it has stopped
            typer.echo("The service is stopped.", err=True)


def dataset_defaults(dataset: str, data_dir: Path | None = None) -> dict[str, Any]:
    """Values from the dataset's YAML: defaults of events, and what items are made of.

    They are empty without a YAML.

    Args:
        dataset: Name of the dataset.
        data_dir: Folder of the pictures; None for that of the YAML.

    Raises:
        ConfigError: The YAML is invalid.
    """
    from chronotope.datasets.loading import dataset_names, load_spec

    if dataset not in dataset_names():
        return {}
    dataset_spec = load_spec(dataset, data_dir=data_dir)
    spec_fields = {"event_type", "local_zone", "cell_resolution"}
    content = dataset_spec.items.content if dataset_spec.items else None
    image = content.image if content else None
    pictures = {"source": image, "data_dir": dataset_spec.data_dir.resolve()} if image else None
    source = {"content": content, "data_dir": dataset_spec.data_dir.resolve()} if content else None
    defaults = dataset_spec.model_dump(include=spec_fields)
    return defaults | {"pictures": pictures, "content": source}


def _check_networks(addresses: list[str]) -> tuple[str, ...]:
    """Addresses and networks of trusted proxies, validated.

    Raises:
        ConfigError: An entry is neither an IP address nor a network.
    """
    for address in addresses:
        try:
            ip_network(address)
        except ValueError as error:
            raise ConfigError(
                "A trusted proxy is not an IP address or network",
                received=error,
                way_out="Write an address or network, such as --behind-proxy 10.0.0.0/8",
            ) from None
    return tuple(addresses)


def _read_api_key(host: str, env_variable: str) -> str | None:
    """API key of the service; None on a loopback address without a configured key.

    Raises:
        ConfigError: The variable is empty, or the key is missing although other machines can
            access the service.
    """
    if env_variable:
        api_key = os.environ.get(env_variable, "")
        if not api_key:
            raise ConfigError(
                "The environment variable of the API key is empty",
                received=env_variable,
                way_out=f"Set it: export {env_variable}=KEY",
            )
        return api_key
    if host not in {"127.0.0.1", "localhost", "::1"}:
        raise ConfigError(
            "A service that other machines can access needs an API key",
            received=f"--host {host}",
            way_out="Set an environment variable to the key and pass its name: --api-key-env NAME",
        )
    return None
