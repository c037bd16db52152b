"""Posted events with and without a detector: latency, rate and processor time of the service.

    python -m benchmarks.anomalies.live --data DIR --dataset card_payments --json live.json

The dataset is ingested, a first champion counted without training (``train --zero-shot``), and a
service measured that receives events one by one. Then a detector is trained, and the same load is
sent to a service that scores each event. Events are the last of the log under new keys, a second
apart. The load generator and the service run in processes of their own.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.rows import Row, at_least_one, write_rows
from benchmarks.serving.servers import ask, cpu_s, free_port, running, times
from chronotope.contracts import columns as c
from chronotope.lake import Lake
from chronotope.registry.champion_lookup import read_champion_record
from chronotope.runtime.workspace import Workspace

COMMAND: Final = str(Path(sys.executable).with_name("chronotope"))
OPEN_RATE: Final = "50"
"""Events a second of the open loop, far below what one process takes."""

CLIENTS: Final = "8"
"""Clients of the closed loop, each sends as soon as its last response came."""


def run_command(root: Path, *arguments: str) -> None:
    """Run a command of ``chronotope`` on a root."""
    subprocess.run([COMMAND, *arguments, "--root", str(root)], check=True)  # noqa: S603 - our own


def posted_events(root: Path, dataset: str, n_events: int, key_prefix: str) -> list[dict[str, Any]]:
    """Bodies of ``POST /events``: the last events of the log, a second apart from its end on."""
    lake = Lake(Workspace(root).lake(dataset))
    stored = set(lake.dataset("events").schema.names)
    names = [c.USER_ID, c.ITEM_ID, c.OCCURRED_AT, *sorted({c.VALUE, c.LAT, c.LON} & stored)]
    latest = lake.read("events", columns=names).sort_by(c.OCCURRED_AT)[-n_events:]
    end = latest[c.OCCURRED_AT][-1].as_py()
    return [
        {name: value for name, value in event.items() if value is not None}
        | {
            "kind": "event",
            "key": f"{key_prefix}-{number}",
            c.OCCURRED_AT: (end + timedelta(seconds=number)).isoformat(),
        }
        for number, event in enumerate(latest.to_pylist())
    ]


def wait_for_detector(port: int) -> None:
    """Wait until the service has loaded the champion detector, as it polls for it.

    Raises:
        RuntimeError: It has none after a minute.
    """
    for _ in range(120):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/anomalies", timeout=10) as reply:
            if json.load(reply)["version"] is not None:
                return
        time.sleep(0.5)
    raise RuntimeError("The service has loaded no detector within a minute")


def measure(root: Path, dataset: str, n_events: int, *, has_detector: bool) -> Row:
    """Latency at a fixed rate, highest rate, and processor time of an event.

    Args:
        root: Root with a champion.
        dataset: Name of the dataset.
        n_events: Events of each loop.
        has_detector: Whether the root has a champion detector.
    """
    model = "with detector" if has_detector else "without detector"
    port = free_port()
    address = f"http://127.0.0.1:{port}/events"
    serve = [COMMAND, "serve", dataset, "--root", str(root), "--port", str(port)]
    load = {name: posted_events(root, dataset, n_events, f"{model}-{name}") for name in "abc"}
    with running(serve, port) as group:
        if has_detector:
            wait_for_detector(port)
        ask(address, load["a"], "--clients", "1")  # warm up
        open_loop = ask(address, load["b"], "--rate", OPEN_RATE)
        used_s = cpu_s(group)
        closed_loop = ask(address, load["c"], "--clients", CLIENTS)
        used_s = cpu_s(group) - used_s
    return {
        "dataset": dataset,
        "model": model,
        "measure": "live",
        "n_failed": open_loop["failed"] + closed_loop["failed"],
        **times("post", open_loop["seconds"]),
        "events_per_s": round(n_events / closed_loop["passed_s"], 1),
        "cpu_ms": round(1000 * used_s / n_events, 2),
    }


def rows_of(root: Path, options: argparse.Namespace) -> list[Row]:
    """A row without and a row with a detector."""
    os.environ["MLFLOW_BACKEND_STORE_URI"] = f"sqlite:///{root}/mlruns/mlflow.db"
    dataset, data = options.dataset, options.data / options.dataset
    run_command(root, "train", dataset, "--data", str(data), "--zero-shot")
    if read_champion_record(Workspace(root).mlruns, dataset) is None:  # the gate is not the subject
        champion = ["--dataset", dataset, "--reason", "A service to be measured"]
        run_command(root, "promote", "1", *champion)
    rows = [measure(root, dataset, options.events, has_detector=False)]
    config = ["--config", str(options.config)]
    run_command(root, "anomalies", "train", dataset, "--data", str(data), *config)
    if read_champion_record(Workspace(root).mlruns, f"{dataset}-anomaly") is None:
        raise SystemExit("No detector became champion: there is nothing to measure")
    return [*rows, measure(root, dataset, options.events, has_detector=True)]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, print, and write rows."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0] if __doc__ else "")
    parser.add_argument("--data", type=Path, default=Path("data/external"))
    parser.add_argument("--dataset", default="card_payments")
    parser.add_argument("--config", type=Path, default=Path("conf/anomaly/card_payments.yaml"))
    parser.add_argument("--events", type=at_least_one, default=1000, help="events of each loop")
    parser.add_argument("--json", type=Path, help="file of rows")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch_dir:
        rows = rows_of(Path(scratch_dir).resolve(), options)
    names = ("model", "post_p50_ms", "post_p99_ms", "events_per_s", "cpu_ms", "n_failed")
    table = Table(*names, box=box.SIMPLE)
    for row in rows:
        table.add_row(*(str(row[name]) for name in names))
    Console().print(table)
    if options.json is not None:
        write_rows(rows, options.json)


if __name__ == "__main__":
    main()
