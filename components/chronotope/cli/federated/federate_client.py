"""Command ``chronotope federate-client``: answer the orders of a federation for one lake."""

import signal
from pathlib import Path
from typing import Annotated

import typer

from chronotope.cli.output.console import print_json, run_command


def federate_client(
    dataset: Annotated[str, typer.Argument(help="Name of the dataset")],
    exchange: Annotated[
        Path,
        typer.Option(help="Folder into which the Flower app beside this client puts its orders"),
    ],
    root: Annotated[Path, typer.Option(help="Project root with the client's lake")] = Path(),
    idle_s: Annotated[
        float | None,
        typer.Option(min=0.1, help="Stop after so many seconds without an order; default: never"),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the number of answers as JSON at the end")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check the lake only; answer nothing")
    ] = False,
) -> None:
    """Answer orders of a federation with counts and parameters; no row leaves the lake.

    Runs until Ctrl-C.
    """
    with run_command(f"Answering orders for {dataset}") as terminal:
        from chronotope.federated.exchange.client_round import ExchangeClient
        from chronotope.federated.exchange.client_service import serve_orders

        exchange_client = ExchangeClient(root.resolve(), dataset)
        n_events = exchange_client.n_events()
        n_orders = {"answered": 0, "failed": 0}
        if not dry_run:
            signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does
            if not as_json:
                terminal.print(f"{n_events:,} events; waiting for orders in {exchange}",
                               soft_wrap=True)  # fmt: skip
            serve_orders(exchange_client, exchange, n_orders, idle_s=idle_s)
    if as_json:
        print_json({"dry_run": dry_run, "n_events": n_events, **n_orders})
    elif dry_run:
        terminal.print(f"{n_events:,} events; would answer orders in {exchange}", soft_wrap=True)
    else:
        terminal.print(f"{n_orders['answered']} orders answered, {n_orders['failed']} failed")
