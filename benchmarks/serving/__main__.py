"""Cost of a served response, against the bare graph and other servers of the same model.

    python -m benchmarks.serving --json serving.json

Each server runs in a process of its own; another process sends requests, first one after the
other (``alone``), then ``--rate`` a second without waiting for responses (``under load``), then
from eight clients at once (requests a second). ``bare`` is ``session.run`` in a loop with prepared
inputs; with ``--codes`` the graph and the search of its index. ``cpu`` is processor time of the
server a response, which other programs on the machine disturb less. Every request is new, except
for ``chronotope, cached``.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from benchmarks.peers.environments import interpreter
from benchmarks.rows import Row, at_least_one, read_rows, some_of, write_rows
from benchmarks.serving.champion import DATASET, Served
from benchmarks.serving.servers import ask, cpu_s, free_port, running, times
from chronotope.artifact.bundle import read_manifest
from chronotope.artifact.indexed_recommender import IndexedRecommender
from chronotope.artifact.open_bundle import open_bundle
from chronotope.contracts.queries import Queries
from chronotope.registry.version_files import BUNDLE

WAYS: Final = (
    "bare",
    "chronotope",
    "chronotope, cached",
    "fastapi + torch",
    "mlflow",
    "litserve",
)
COLUMNS: Final = (
    "alone_p50_ms",
    "alone_p99_ms",
    "overhead_ms",
    "cpu_ms",
    "load_p50_ms",
    "load_p99_ms",
    "req_per_s",
    "recall_10",
    "failed",
)
N_RECALL: Final = 50
CLIENTS: Final = 8
ENVIRONMENTS: Final = Path(".venv-peers")
LIT: Final = Path(__file__).with_name("lit.py")


@dataclass(frozen=True)
class Bench:
    """Settings of the measurements.

    Attributes:
        served: The champion.
        n: Number of requests of a measurement.
        rate: Requests a second under load.
        environments: Folder of the virtual environments of other servers.
    """

    served: Served
    n: int
    rate: float
    environments: Path

    def bare(self) -> Row:
        """Measure the graph alone."""
        model = open_bundle(self.served.bundle)
        threadpool_limits(1, user_api="blas")
        seconds = []
        answers = [model.prepared(queries) for queries in self.served.queries(self.n)]
        used_s = time.process_time()
        for answer in answers:
            started = time.perf_counter()
            answer()
            seconds.append(time.perf_counter() - started)
        cpu_ms = round(1000 * (time.process_time() - used_s) / self.n, 3)
        row = times("alone", seconds)
        row |= {"cpu_ms": cpu_ms, "req_per_s": round(1 / float(np.mean(seconds)), 1)}
        if isinstance(model, IndexedRecommender):
            row["recall_10"] = recall(model, self.served.queries(N_RECALL))
        return row

    def over_http(self, way: str) -> Row:
        """Measure one server."""
        port = free_port()
        command, path = self._command(way, port)
        asked = self._bodies(way)
        with running(command, port) as group:
            address = f"http://127.0.0.1:{port}{path}"
            ask(address, asked[: self.n // 4])  # warm
            fresh = asked if way == "chronotope, cached" else asked[self.n // 4 :]
            used_s = cpu_s(group)
            alone = ask(address, fresh[: self.n])
            used_s = cpu_s(group) - used_s
            loaded = ask(address, fresh[self.n : 2 * self.n], "--rate", str(self.rate))
            most = ask(address, fresh[2 * self.n : 3 * self.n], "--clients", str(CLIENTS))
        row = times("alone", alone["seconds"]) | times("load", loaded["seconds"])
        row["cpu_ms"] = round(1000 * used_s / self.n, 3)
        row["req_per_s"] = round(len(most["seconds"]) / most["passed_s"], 1)
        return row | {"failed": sum(one["failed"] for one in (alone, loaded, most))}

    def _bodies(self, way: str) -> list[Any]:
        n = 3 * self.n + self.n // 4
        if way == "mlflow":
            arrays = (queries.arrays() for queries in self.served.queries(n))
            return [{"inputs": {k: of.tolist() for k, of in told.items()}} for told in arrays]
        if way == "chronotope, cached":
            return self.served.questions(self.n // 4) * 13
        return list(self.served.questions(n))

    def _command(self, way: str, port: int) -> tuple[list[str], str]:
        root = str(self.served.root)
        if way == "mlflow":
            (model,) = (self.served.root / "mlruns").rglob(f"{BUNDLE}/model.onnx")
            mlflow = str(Path(sys.executable).with_name("mlflow"))
            told = ["models", "serve", "-m", str(model.parents[1]), "--env-manager", "local"]
            return [mlflow, *told, "--port", str(port), "--workers", "1"], "/invocations"
        if way == "fastapi + torch":
            told = ["-m", "benchmarks.serving.plain", "--root", root, "--port", str(port)]
            return [sys.executable, *told], "/recommend"
        if way == "litserve":
            histories = self.served.root / "histories.npz"
            self.served.write_histories(histories)
            told = ["--bundle", str(self.served.bundle), "--histories", str(histories)]
            python = str(interpreter(way, self.environments))
            return [python, str(LIT), *told, "--port", str(port)], "/recommend"
        code = "from chronotope.cli.main import run; run()"
        told = ["serve", DATASET, "--root", root, "--port", str(port), "--json"]
        return [sys.executable, "-c", code, *told], "/recommend"


def recall(model: IndexedRecommender, asked: Sequence[Queries], k: int = 10) -> float:
    """Share of the k best items, by codes and residuals, that are found."""
    every, found = np.arange(1, model.index.n_items), 0
    for queries in asked:
        (output,) = model.query_outputs(queries)
        exact = model.index.scores(output.query, group_scores=output.group_scores)
        exact[output.extra_scores.item_idx] += output.extra_scores.score
        if model.residuals is not None:
            exact[every] += model.residuals.scores(every, model.index.projection @ output.query)
        best = np.argpartition(-exact, k)[:k]
        found += len(np.intersect1d(best, model.rank_items(output, k).item_idx))
    return round(found / (k * len(asked)), 4)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the chosen servers, print a table, store the rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--json", type=Path, help="store the rows in this file")
    parser.add_argument("--ways", type=some_of(WAYS), default=list(WAYS), help="comma-separated")
    parser.add_argument(
        "--requests", type=at_least_one, default=1000, help="number of requests of a measurement"
    )
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second under load")
    parser.add_argument("--items", type=at_least_one, default=5000)
    parser.add_argument(
        "--codes", type=int, default=0, help="bytes an item of an index; 0 scores all items"
    )
    parser.add_argument("--history", type=at_least_one, default=1024, help="events the graph reads")
    parser.add_argument("--root", type=Path, help="root of an earlier run, or a new one")
    parser.add_argument(
        "--venvs", type=Path, default=ENVIRONMENTS, help="folder of the virtual environments"
    )
    told = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        served = _served(told.root or Path(scratch), told)
        bench = Bench(served, told.requests, told.rate, told.venvs)
        history = read_manifest(served.bundle).history_len
        rows = read_rows(told.json) if told.json else []
        for way in told.ways:
            row = bench.bare() if way == "bare" else bench.over_http(way)
            about = {"way": way, "n_items": served.catalog.n_items - 1, "history": history}
            rows = [old for old in rows if old["way"] != way] + [about | row]
            _compare(rows)
            if told.json:
                write_rows(rows, told.json)
    Console().print(_table(rows, told.rate))


def _served(root: Path, told: argparse.Namespace) -> Served:
    if (root / "bundle").is_dir():
        return Served.read(root)
    root.mkdir(parents=True, exist_ok=True)
    sizes = {"n_items": told.items, "history_len": told.history, "n_codes": told.codes}
    return Served.make(root, **sizes)


def _compare(rows: list[Row]) -> None:
    bare = next((row["alone_p50_ms"] for row in rows if row["way"] == "bare"), None)
    for row in rows:
        if bare is not None and row["way"] != "bare":
            row["overhead_ms"] = round(row["alone_p50_ms"] - bare, 3)


def _table(rows: list[Row], rate: float) -> Table:
    table = Table(title=f"Serving; load: {rate:g} requests a second", box=box.SIMPLE_HEAD)
    table.add_column("way")
    for name in COLUMNS:
        table.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        table.add_row(str(row["way"]), *(str(row.get(name, "")) for name in COLUMNS))
    return table


if __name__ == "__main__":
    main()
