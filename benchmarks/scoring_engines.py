"""Batch predictions on every engine: seconds, users a second, and whether the tables are equal.

    python -m benchmarks.scoring_engines --events 2000000 --buckets 8 --json FILE

Trains ``simulated_city`` by ``conf/training/quick.yaml`` in a temporary folder, or takes the
champion of ``--root``, whose lake is changed; ingests the city of ``--events`` events, twenty a
user, into ``--buckets`` buckets; and scores all users by each engine, in a process of its own, as
of the same moment.
``block_s`` are the seconds of the blocks, start of workers or cluster included; ``seconds`` those
of the whole run, with loading, validation and the commit, which the driver does alone. ``ratio``
is the users a second of the blocks over those of the engine ``local``, which uses one core.
``worker_cpu_s`` are the processor seconds of the worker processes (not known of Ray's): on a
machine that other programs use as well they say more than the clock.
"""

import argparse
import json
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

import pyarrow as pa
from deltalake import write_deltalake
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.batch_scoring import CITY, after_last_event, train_city
from benchmarks.rows import Row, at_least_one, write_rows
from chronotope.contracts.columns import USER_BUCKET
from chronotope.contracts.data_version import EVENTS
from chronotope.datasets.city import CityConfig
from chronotope.datasets.loading import load_spec
from chronotope.datasets.normalise import normalise
from chronotope.datasets.simulation import simulate_events
from chronotope.lake import Lake
from chronotope.lake.bucketed import with_buckets
from chronotope.runtime.step_cache import peak_mb
from chronotope.runtime.workspace import Workspace
from chronotope.scoring.config import ScoringConfig, ScoringProgress
from chronotope.scoring.score_users import score_users

EVENTS_A_USER: Final = 20
SHOWN: Final = ("n_users", "block_s", "seconds", "users_per_s", "ratio", "peak_mb", "n_rows_equal")
_PROJECT: Final = Path(__file__).parents[1]
_ENGINES: Final = ("local", "processes", "ray")


def add_city(root: Path, n_events: int, n_buckets: int) -> None:
    """Add a larger city to the lake of the small one, and partition the events.

    Args:
        root: Project root.
        n_events: Events of the larger city.
        n_buckets: Number of buckets.
    """
    city_spec = load_spec(CITY)
    city = CityConfig(n_events=n_events, n_users=max(2, n_events // EVENTS_A_USER), seed=7)
    lake = Lake(Workspace(root).lake(CITY))
    with lake.delivery() as delivery:
        for events in simulate_events(city, batch_events=500_000):
            delivery.add(normalise(city_spec, events).rows)
        lake.merge_delivery(delivery)
    if n_buckets > 1:
        rows, address = with_buckets(lake.read(EVENTS), n_buckets), lake.address(EVENTS)
        shutil.rmtree(address)
        write_deltalake(address, rows, partition_by=[USER_BUCKET])


def measure(root: Path, engine: str, moment: datetime) -> Row:
    """Score all users by one engine.

    Args:
        root: Project root.
        engine: Kind of the engine.
        moment: Moment of scoring.
    """
    settings = {"root": root, "scored_at": moment, "rescore_all": True, "engine": engine}
    config = ScoringConfig.model_validate({**settings, "suites": _PROJECT / "expectations"})
    block_times_s: list[float] = []

    def note(progress: ScoringProgress) -> None:
        if progress.n_done in (0, progress.n_users):
            block_times_s.append(time.perf_counter())

    start_s, start_cpu_s = time.perf_counter(), time.process_time()
    result = score_users(CITY, config, on_progress=note)
    block_s = block_times_s[-1] - block_times_s[0]
    children = resource.getrusage(resource.RUSAGE_CHILDREN)  # of `processes`, which has ended
    return {
        "engine": engine,
        "n_users": result.n_scored,
        "block_s": round(block_s, 2),
        "users_per_s": round(result.n_scored / block_s, 1),
        "seconds": round(time.perf_counter() - start_s, 1),
        "cpu_s": round(time.process_time() - start_cpu_s, 1),
        "worker_cpu_s": round(children.ru_utime + children.ru_stime, 1),
        "peak_mb": round(peak_mb()),
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Score by each engine in a process of its own, print a table, store the rows."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.scoring_engines", description=__doc__
    )
    parser.add_argument("--events", type=at_least_one, default=2_000_000)
    parser.add_argument("--buckets", type=at_least_one, default=8)
    parser.add_argument("--engines", nargs="+", choices=_ENGINES, default=list(_ENGINES))
    parser.add_argument("--root", type=Path, help="project root with a champion of the city")
    parser.add_argument("--json", type=Path, help="store the rows in this file")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.only:
        moment = after_last_event(options.root, CITY)
        print(json.dumps(measure(options.root, options.only, moment)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        root = options.root or Path(scratch)
        if options.root is None:
            train_city(root)
        add_city(root, options.events, options.buckets)
        rows = _measured_rows(root, options.engines)
    if options.json:
        write_rows(rows, options.json)
    Console().print(_table(rows))


def _measured_rows(root: Path, engines: Sequence[str]) -> list[Row]:
    rows: list[Row] = []
    first_table: pa.Table | None = None
    for engine in engines:
        command = [sys.executable, "-m", "benchmarks.scoring_engines", "--only", engine]
        command += ["--root", str(root)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
        row: Row = json.loads(done.stdout.strip().splitlines()[-1])
        predictions = Lake(Workspace(root).lake(CITY)).read("predictions")
        predictions = predictions.sort_by([("user_id", "ascending"), ("rank", "ascending")])
        first_table = predictions if first_table is None else first_table
        local_rate = float((rows or [row])[0]["users_per_s"])
        row["ratio"] = round(float(row["users_per_s"]) / local_rate, 2)
        row["n_rows_equal"] = len(predictions) if predictions.equals(first_table) else 0
        rows.append(row)
    return rows


def _table(rows: Sequence[Row]) -> Table:
    table = Table(title="Batch predictions by engine", box=box.SIMPLE_HEAD)
    table.add_column("engine")
    for name in SHOWN:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(str(row["engine"]), *(f"{row[name]:,}" for name in SHOWN))
    return table


if __name__ == "__main__":
    main()
