"""What a served answer costs beside the bare graph, and beside other ways to serve it.

    python -m benchmarks.serving --json serving.json

Each way runs in a process of its own; another process asks it, first one request after the
other (``alone``), then ``--rate`` a second whatever becomes of them (``under load``), then
from eight clients at once (requests a second). ``bare`` is ``session.run`` in a loop, its
inputs at hand. ``cpu`` is processor time of the server an answer, which other programs on the
machine disturb less. Every question is new, but for ``chronotope, asked before``.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.rows import Row, at_least_one, read_rows, some_of, write_rows
from benchmarks.serving.champion import DATASET, Served
from chronotope.artifact.onnx_recommender import OnnxRecommender
from chronotope.registry.pyfunc import BUNDLE

WAYS: Final = ("bare", "chronotope", "chronotope, asked before", "fastapi + torch", "mlflow")
COLUMNS: Final = (
    "alone_p50_ms",
    "alone_p99_ms",
    "overhead_ms",
    "cpu_ms",
    "load_p50_ms",
    "load_p99_ms",
    "req_per_s",
    "failed",
)
PATIENCE_S: Final = 120.0
CLIENTS: Final = 8


@dataclass(frozen=True)
class Bench:
    """What is measured.

    Attributes:
        served: The champion.
        n: Requests a measurement.
        rate: Requests a second under load.
    """

    served: Served
    n: int
    rate: float

    def bare(self) -> Row:
        """The graph alone."""
        model = OnnxRecommender.load(self.served.bundle)
        seconds = []
        feeds = [model.feed(queries) for queries in self.served.queries(self.n)]
        used_s = time.process_time()
        for feed in feeds:
            started = time.perf_counter()
            model.session.run(None, feed)
            seconds.append(time.perf_counter() - started)
        cpu_ms = round(1000 * (time.process_time() - used_s) / self.n, 3)
        return _times("alone", seconds) | {
            "cpu_ms": cpu_ms,
            "req_per_s": round(1 / float(np.mean(seconds)), 1),
        }

    def over_http(self, way: str) -> Row:
        """One way to serve it."""
        port = _free_port()
        command, path = self._command(way, port)
        asked = self._bodies(way)
        with _running(command, port) as group:
            address = f"http://127.0.0.1:{port}{path}"
            _ask(address, asked[: self.n // 4])  # warm
            fresh = asked if way == "chronotope, asked before" else asked[self.n // 4 :]
            used_s = _cpu_s(group)
            alone = _ask(address, fresh[: self.n])
            used_s = _cpu_s(group) - used_s
            loaded = _ask(address, fresh[self.n : 2 * self.n], "--rate", str(self.rate))
            most = _ask(address, fresh[2 * self.n : 3 * self.n], "--clients", str(CLIENTS))
        row = _times("alone", alone["seconds"]) | _times("load", loaded["seconds"])
        row["cpu_ms"] = round(1000 * used_s / self.n, 3)
        row["req_per_s"] = round(len(most["seconds"]) / most["passed_s"], 1)
        return row | {"failed": sum(one["failed"] for one in (alone, loaded, most))}

    def _bodies(self, way: str) -> list[Any]:
        n = 3 * self.n + self.n // 4
        if way == "mlflow":
            arrays = (queries.arrays() for queries in self.served.queries(n))
            return [{"inputs": {k: of.tolist() for k, of in told.items()}} for told in arrays]
        if way == "chronotope, asked before":
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
        code = "from chronotope.cli.main import run; run()"
        told = ["serve", DATASET, "--root", root, "--port", str(port), "--json"]
        return [sys.executable, "-c", code, *told], "/recommend"


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the chosen ways, print a table, keep the rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("--json", type=Path, help="keep the rows in this file")
    parser.add_argument("--ways", type=some_of(WAYS), default=list(WAYS), help="comma-separated")
    parser.add_argument("--requests", type=at_least_one, default=1000, help="a measurement")
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second under load")
    parser.add_argument("--items", type=at_least_one, default=5000)
    parser.add_argument("--history", type=at_least_one, default=1024, help="events it reads")
    parser.add_argument(
        "--root", type=Path, help="a root that an earlier run has made, or a new one"
    )
    told = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as scratch:
        served = _served(told.root or Path(scratch), told.items, told.history)
        bench = Bench(served, told.requests, told.rate)
        rows = read_rows(told.json) if told.json else []
        for way in told.ways:
            row = bench.bare() if way == "bare" else bench.over_http(way)
            about = {"way": way, "n_items": served.catalog.n_items - 1, "history": told.history}
            rows = [old for old in rows if old["way"] != way] + [about | row]
            _compare(rows)
            if told.json:
                write_rows(rows, told.json)
    Console().print(_table(rows, told.rate))


def _served(root: Path, n_items: int, history_len: int) -> Served:
    if (root / "bundle").is_dir():
        return Served.read(root)
    root.mkdir(parents=True, exist_ok=True)
    return Served.make(root, n_items=n_items, history_len=history_len)


def _ask(address: str, bodies: list[Any], *options: str) -> dict[str, Any]:
    """Let another process ask."""
    command = [sys.executable, "-m", "benchmarks.serving.load", address, *options]
    done = subprocess.run(  # noqa: S603 - our own interpreter
        command, input=json.dumps(bodies), capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@contextmanager
def _running(command: list[str], port: int) -> Iterator[int]:
    """The process group of a server, from its first answer to the end of the block."""
    with subprocess.Popen(  # noqa: S603 - commands of this file
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    ) as process:
        try:
            _wait_for(process, port)
            yield process.pid
        finally:
            os.killpg(process.pid, signal.SIGTERM)


def _wait_for(process: "subprocess.Popen[bytes]", port: int) -> None:
    until = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < until:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except urllib.error.HTTPError:  # it answers, though not to this
            return
        except OSError:
            time.sleep(0.2)
    raise RuntimeError(f"No answer on port {port}: {process.args!r}")


def _cpu_s(group: int) -> float:
    """Processor seconds that the processes of a group have used until now."""
    ticks = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            told = path.read_text().rpartition(")")[2].split()
        except OSError:  # it has just ended
            continue
        if int(told[2]) == group:
            ticks += int(told[11]) + int(told[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _times(name: str, seconds: list[float]) -> Row:
    p50, p99 = np.quantile(1000 * np.array(seconds), (0.5, 0.99)).round(3).tolist()
    return {f"{name}_p50_ms": p50, f"{name}_p99_ms": p99}


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
