"""``chronotope serve``: the champion answers over HTTP, in real time."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from chronotope.cli.console import command, print_json
from chronotope.cli.processes import is_taken
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
    with command(f"Opening the champion of {dataset}") as console:
        from chronotope.serving.run import serve as run
        from chronotope.serving.settings import ServeSettings
        from chronotope.steps.champion import require_dataset
        from chronotope.steps.experiment import Exploration, read_experiment

        require_dataset(root, dataset)
        key = _api_key(host, api_key_env)
        settings = ServeSettings(
            dataset=dataset,
            root=root,
            api_key=key,
            rate_per_s=rate,
            poll_s=poll,
            exploration=Exploration(share=explore),
            experiment=None if experiment is None else read_experiment(experiment),
            **filled_in(dataset),
            workers=workers,
            store=store or None,
        )
        refuse_taken_port(host, port)
        address = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    if as_json:
        print_json({"dataset": dataset, "address": address})
    else:
        console.print(f"{dataset} answers at {address}, described at {address}/docs; Ctrl-C ends")
    with command("Answering"):
        run(settings, host=host, port=port)


def refuse_taken_port(host: str, port: int) -> None:
    """Look whether the service can listen, before it says where it answers.

    Raises:
        ConfigError: The port is taken, or the address is none of this machine.
    """
    if is_taken(port, host):
        raise ConfigError(
            "The service cannot listen there: the port is taken, or the address is not of "
            "this machine",
            received=f"{host}:{port}",
            way_out=f"Choose another: --port {port + 1 if port < 65535 else port - 1}",
        )


def filled_in(dataset: str) -> dict[str, Any]:
    """What ingestion fills in where an event leaves it out; a champion needs no YAML.

    Raises:
        ConfigError: There is a YAML, and it is wrong.
    """
    from chronotope.datasets.loading import dataset_names, load_spec

    if dataset not in dataset_names():
        return {}
    names = {"event_type", "local_zone", "cell_resolution"}
    return load_spec(dataset).model_dump(include=names)


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
