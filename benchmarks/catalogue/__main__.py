"""Ranking a catalogue of a million items: size, recall, and time an answer.

    python -m benchmarks.catalogue --items 1000000 --rate 50 --json catalogue.json

Each method ranks the same queries on one thread, one after the other; ``cpu`` is processor time,
which other programs on the machine disturb less than wall time. ``recall`` is the share of the
ten and hundred best by the float32 table that a method finds. ``exact`` is the share of queries
whose pruned result, items and scores, equals that of scoring every code. Under load, another
process sends ``--rate`` HTTP requests a second without waiting for responses.
"""

import argparse
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime
from onnx import TensorProto, helper
from rich import box
from rich.console import Console
from rich.table import Table as Shown
from threadpoolctl import threadpool_limits

from benchmarks.catalogue.tables import Table, drawn, grocer
from benchmarks.rows import Row, at_least_one, read_rows, write_rows
from benchmarks.serving.servers import ask, cpu_s, free_port, running, times
from chronotope.artifact.item_index import ItemIndex
from chronotope.artifact.residuals import N_CANDIDATES, Residuals
from chronotope.compression.build_index import IndexConfig, build_index
from chronotope.contracts.event_log import Float32, Int64

COLUMNS: Final = (
    "bytes_per_item",
    "times_smaller",
    "recall_10",
    "recall_100",
    "exact",
    "scored_share",
    "p50_ms",
    "p99_ms",
    "cpu_ms",
    "load_p50_ms",
    "load_p99_ms",
    "load_cpu_ms",
    "failed",
)
RERANKED: Final = "codes, then residuals"
N_BRUTE: Final = 30
"""Queries that the slow ways are asked."""

N_RECALL: Final = 100
"""Queries that recall is measured on."""

Rank = Callable[[Float32, int], Int64]


@dataclass(frozen=True)
class Bench:
    """Table of items, its index, and the settings of the load test.

    Attributes:
        table: Items and queries.
        index: Index of the items, as read from the folder.
        rest: Residuals of its codes, on disk.
        folder: Folder of the served files.
        rate: Requests a second under load.
        repeats: Measurements of each method under load; the median is reported.
    """

    table: Table
    index: ItemIndex
    rest: Residuals
    folder: Path
    rate: float
    repeats: int

    @cached_property
    def best(self) -> list[Int64]:
        """The hundred best items by the float32 table, of each of ``N_RECALL`` queries."""
        return [self._numpy(query, 100) for query in self.table.queries[:N_RECALL]]

    @classmethod
    def make(cls, table: Table, folder: Path, told: argparse.Namespace) -> tuple["Bench", float]:
        """Build the index, write and read it; also returns the processor seconds."""
        used_s = time.process_time()
        config = IndexConfig(n_codes=told.codes, block_items=told.block_items)
        made = build_index(
            table.vectors,
            item_groups=table.group,
            sample_queries=table.sample,
            config=config,
        )
        used_s = time.process_time() - used_s
        made.save(folder / "items.npz")
        Residuals.from_vectors(made, table.vectors).save(folder / "residuals.npy")
        np.save(folder / "queries.npy", table.queries)
        index = ItemIndex.load(folder / "items.npz")
        rest = Residuals.load(folder / "residuals.npy", index)
        return cls(table, index, rest, folder, told.rate, told.repeats), used_s

    def ways(self) -> dict[str, tuple[Rank, int]]:
        """Ranking methods, and the bytes that each needs."""
        float32 = self.table.vectors[1:].nbytes
        codes = (self.folder / "items.npz").stat().st_size
        rest = (self.folder / "residuals.npy").stat().st_size
        return {
            "float32, numpy": (self._numpy, float32),
            "float32, ONNX TopK": (_onnx_top_k(self.table.vectors), float32),
            "codes, all": (self._all_codes, codes),
            "codes, pruned": (lambda q, k: self.index.top_k(q, k).item_idx, codes),
            RERANKED: (self._again, codes + rest),
        }

    def measured(self, way: str, rank: Rank, n_bytes: int) -> Row:
        """Size, recall and times of one method."""
        table, n = self.table, len(self.table.vectors) - 1
        slow = way.startswith("float32") or way == "codes, all"
        row = _timed(rank, table.queries[: N_BRUTE if slow else None])
        row |= {"bytes_per_item": round(n_bytes / n, 1)}
        row["times_smaller"] = round(table.vectors[1:].nbytes / n_bytes, 1)
        if not slow:
            row |= {f"recall_{k}": round(self._recall(rank, k), 3) for k in (10, 100)}
        if way == "codes, pruned":
            row |= self._pruned(table.queries[:N_BRUTE])
        return row

    def under_load(self, n_candidates: int) -> Row:
        """Times over HTTP, of the index alone or with residuals."""
        port, runs = free_port(), []
        told = ["--port", str(port), "--candidates", str(n_candidates)]
        module = ["-m", "benchmarks.catalogue.served", "--folder", str(self.folder)]
        command = [sys.executable, *module, *told]
        bodies: list[Any] = [{"query": n, "k": 10} for n in range(len(self.table.queries))]
        with running(command, port) as group:
            address = f"http://127.0.0.1:{port}/recommend"
            ask(address, bodies[:100])  # warm
            for _ in range(self.repeats):
                used_s = cpu_s(group)
                loaded = ask(address, bodies, "--rate", str(self.rate))
                used = {"load_cpu_ms": round(1000 * (cpu_s(group) - used_s) / len(bodies), 3)}
                row = times("load", loaded["seconds"]) | used
                runs.append(row | {"failed": loaded["failed"]})
        return {
            name: sum(run[name] for run in runs) if name == "failed" else _median(runs, name)
            for name in runs[0]
        } | {"load_p99_ms_each": [run["load_p99_ms"] for run in runs]}

    def _recall(self, rank: Rank, k: int) -> float:
        """Share of the k best by the float32 table among the k best of a method."""
        asked = zip(self.table.queries, self.best, strict=False)
        return float(np.mean([len(np.intersect1d(rank(q, k), of[:k])) / k for q, of in asked]))

    def _numpy(self, query: Float32, k: int) -> Int64:
        scores = self.table.vectors @ query
        scores[0] = -np.inf
        some = np.argpartition(-scores, k)[:k]
        return np.asarray(some[np.lexsort((some, -scores[some]))])

    def _all_codes(self, query: Float32, k: int) -> Int64:
        scores = self.index.scores(query)
        some = np.argpartition(-scores, k)[:k]
        return np.asarray(some[np.lexsort((some, -scores[some]))])

    def _again(self, query: Float32, k: int) -> Int64:
        found = self.index.top_k(query, max(N_CANDIDATES, 2 * k))
        return self.rest.rerank(found, self.index.projection @ query, k).item_idx

    def _pruned(self, asked: Float32) -> Row:
        """Whether pruning changed a result, and the share of items scored."""
        exact, scored = 0, []
        for query in asked:
            found, every = self.index.top_k(query, 10), self.index.scores(query)
            order = np.lexsort((np.arange(len(every)), -every))[:10]
            same = np.array_equal(order, found.item_idx)
            exact += same and np.array_equal(every[order], found.score)
            scored.append(found.n_scored / len(self.index))
        share = {"scored_share": round(float(np.mean(scored)), 4)}
        return share | {"exact": exact / len(asked), "scored_most": round(max(scored), 4)}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure every method on every table, print and store the rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.catalogue", description=__doc__)
    parser.add_argument("--json", type=Path, help="store the rows in this file")
    parser.add_argument("--items", type=at_least_one, default=1_000_000)
    parser.add_argument("--real", action="store_true", help="also the grocer's 68,509 products")
    parser.add_argument("--queries", type=at_least_one, default=1000)
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second under load")
    parser.add_argument("--repeats", type=at_least_one, default=3)
    parser.add_argument("--codes", type=at_least_one, default=8, help="bytes an item")
    parser.add_argument("--block-items", type=at_least_one, default=256)
    told = parser.parse_args(arguments)
    threadpool_limits(1, user_api="blas")
    tables: list[Callable[[], Table]] = [partial(drawn, told.items, told.queries)]
    tables += [partial(grocer, told.queries)] if told.real else []
    rows = read_rows(told.json) if told.json else []
    for table in tables:
        with tempfile.TemporaryDirectory() as scratch:
            for row in _rows(table(), Path(scratch), told):
                key = (row["table"], row["n_items"], row["way"])
                rows = [o for o in rows if (o["table"], o["n_items"], o["way"]) != key] + [row]
                if told.json:
                    write_rows(rows, told.json)
    Console(width=200).print(_shown(rows, told.rate))


def _rows(table: Table, folder: Path, told: argparse.Namespace) -> list[Row]:
    bench, used_s = Bench.make(table, folder, told)
    built = {"build_cpu_s": round(used_s, 1), "n_blocks": len(bench.index.block_groups)}
    rows = []
    for way, (rank, n_bytes) in bench.ways().items():
        row = bench.measured(way, rank, n_bytes)
        if way in ("codes, pruned", RERANKED):
            row |= built | bench.under_load(0 if way == "codes, pruned" else N_CANDIDATES)
        about = {"table": table.name, "n_items": len(table.vectors) - 1, "way": way}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        rows.append(about | {"codes": told.codes, "peak_mb": peak} | row)
    return rows


def _timed(rank: Rank, asked: Float32) -> Row:
    for query in asked[:5]:  # warm
        rank(query, 10)
    seconds, used_s = [], time.process_time()
    for query in asked:
        started = time.perf_counter()
        rank(query, 10)
        seconds.append(time.perf_counter() - started)
    cpu_ms = 1000 * (time.process_time() - used_s) / len(asked)
    p50, p99 = np.quantile(1000 * np.array(seconds), (0.5, 0.99)).round(3).tolist()
    return {"p50_ms": p50, "p99_ms": p99, "cpu_ms": round(cpu_ms, 3)}


def _onnx_top_k(vectors: Float32) -> Rank:
    """Product and TopK as one graph; the table is an input and not copied."""
    real, whole = TensorProto.FLOAT, TensorProto.INT64
    told = [helper.make_tensor_value_info("vectors", real, ["N", "D"])]
    told.append(helper.make_tensor_value_info("query", real, ["D"]))
    told.append(helper.make_tensor_value_info("k", whole, [1]))
    made = [helper.make_tensor_value_info("items", whole, ["k"])]
    nodes = [
        helper.make_node("MatMul", ["vectors", "query"], ["scores"]),
        helper.make_node("TopK", ["scores", "k"], ["best", "items"]),
    ]
    graph = helper.make_graph(nodes, "top_k", told, made)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    known = vectors[1:]

    def rank(query: Float32, k: int) -> Int64:
        feed = {"vectors": known, "query": query, "k": np.array([k])}
        return np.asarray(session.run(None, feed)[0] + 1)

    return rank


def _median(runs: list[Row], name: str) -> float:
    return float(np.median([run[name] for run in runs]))


def _shown(rows: list[Row], rate: float) -> Shown:
    shown = Shown(title=f"Catalogue; load: {rate:g} requests a second", box=box.SIMPLE_HEAD)
    for name in ("table", "n items", "way", *COLUMNS):
        shown.add_column(name.replace("_", " "), justify="right")
    for row in rows:
        about = [str(row["table"]), f"{row['n_items']:,}", str(row["way"])]
        shown.add_row(*about, *(str(row.get(name, "")) for name in COLUMNS))
    return shown


if __name__ == "__main__":
    main()
