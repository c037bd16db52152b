"""A graph of more than two gigabytes, and an index of as many items: sizes, times, memory.

    python -m benchmarks.large_graph --items 10000000 --json FILE

Generates items of ``--width`` columns in 40,000 clusters (seed 0). Part ``graph``: a graph that
gathers the rows of a history of 64 events and scores all items is written with its table in
float32, and as the variant ``int8_tables``; ``open_s`` is the time of opening a session, digest of
the files included; a query is timed on one thread. Part ``index``: the index with eight bytes an
item, its construction and the ten best items of a query, compared with the float32 table. Each
row is a process of its own; ``peak_mb`` is its memory, ``open_mb`` that of a process that only
opens and asks.
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from rich.console import Console

from benchmarks.rows import Row, at_least_one, rows_table, write_rows
from chronotope.artifact.bundle import MODEL, MODEL_DATA
from chronotope.artifact.graph_files import save_graph
from chronotope.artifact.item_index import ItemIndex
from chronotope.artifact.onnx_recommender import open_session
from chronotope.compression.build_index import IndexConfig, build_index
from chronotope.compression.graph_variants import derive_variant
from chronotope.contracts.event_log import Float32, Int32
from chronotope.runtime.step_cache import peak_mb

HISTORY: Final = 64
N_QUERIES: Final = 20
_CHUNK: Final = 500_000
_N_CLUSTERS: Final = 40_000
_N_CATEGORIES: Final = 1_000
_PARTS: Final = ("export", "open-float32", "variant", "open-int8", "index", "open-index")


def make_items(n_items: int, width: int) -> tuple[Float32, Int32]:
    """Rows of items in clusters and their categories, shapes (n_items, width) and (n_items,)."""
    generator = np.random.default_rng(0)
    clusters = generator.standard_normal((_N_CLUSTERS, width), np.float32)
    items = np.empty((n_items, width), np.float32)
    category = np.empty(n_items, np.int32)
    for start in range(0, n_items, _CHUNK):
        rows = slice(start, min(start + _CHUNK, n_items))
        cluster = generator.integers(0, _N_CLUSTERS, rows.stop - rows.start)
        noise = generator.standard_normal((len(cluster), width), np.float32)
        items[rows] = clusters[cluster] + np.float32(0.3) * noise
        category[rows] = cluster % _N_CATEGORIES
    return items, category


def make_model(items: Float32) -> onnx.ModelProto:
    """Scores of all items by the mean of the rows of a history."""
    nodes = [
        helper.make_node("Gather", ["items", "history"], ["rows"]),
        helper.make_node("ReduceMean", ["rows", "axis"], ["query"], keepdims=0),
        helper.make_node("Unsqueeze", ["query", "last"], ["column"]),
        helper.make_node("MatMul", ["items", "column"], ["scores"]),
    ]
    inputs = [helper.make_tensor_value_info("history", TensorProto.INT64, [HISTORY])]
    outputs = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [len(items), 1])]
    graph = helper.make_graph(nodes, "large", inputs, outputs)
    graph.initializer.add().CopyFrom(numpy_helper.from_array(items, "items"))
    for name, axis in (("axis", 0), ("last", 1)):
        graph.initializer.append(numpy_helper.from_array(np.array([axis]), name))
    model = onnx.ModelProto(ir_version=10, opset_import=[helper.make_opsetid("", 20)])
    model.graph.CopyFrom(graph)
    return model


def measure(part: str, folder: Path, n_items: int, width: int) -> Row:
    """Run one part in this process.

    Args:
        part: One of ``_PARTS``.
        folder: Folder of the files.
        n_items: Number of items.
        width: Columns of an item.
    """
    start_s = time.perf_counter(), time.process_time()
    row = _MEASURED[part](folder, n_items, width)
    return row | {
        "part": part,
        "n_items": n_items,
        "seconds": round(time.perf_counter() - start_s[0], 1),
        "cpu_s": round(time.process_time() - start_s[1], 1),
        "peak_mb": round(peak_mb()),
    }


def _export(folder: Path, n_items: int, width: int) -> Row:
    items, _ = make_items(n_items, width)
    model = make_model(items)
    start_s = time.perf_counter()
    (folder / "float32").mkdir()
    save_graph(model, folder / "float32" / MODEL)
    return {"write_s": round(time.perf_counter() - start_s, 1)} | _sizes(folder / "float32")


def _variant(folder: Path, *_: int) -> Row:
    (folder / "int8").mkdir()
    derive_variant(folder / "float32" / MODEL, folder / "int8" / MODEL, "int8_tables")
    return _sizes(folder / "int8")


def _sizes(folder: Path) -> Row:
    size = sum(path.stat().st_size for path in folder.iterdir())
    return {"gigabytes": round(size / 1e9, 2), "second_file": (folder / MODEL_DATA).is_file()}


def _open(name: str) -> Callable[[Path, int, int], Row]:
    def opened(folder: Path, n_items: int, _: int) -> Row:
        start_s = time.perf_counter()
        for path in sorted((folder / name).iterdir()):
            with path.open("rb") as file:
                hashlib.file_digest(file, "sha256")
        session = open_session(folder / name, n_threads=1)
        open_s = time.perf_counter() - start_s
        generator = np.random.default_rng(1)
        histories = generator.integers(0, n_items, (N_QUERIES, HISTORY))
        times = _times_ms(lambda row: session.run(None, {"history": histories[row]}))
        return {"open_s": round(open_s, 1)} | times

    return opened


def _index(folder: Path, n_items: int, width: int) -> Row:
    items, category = make_items(n_items, width)
    queries = items[np.random.default_rng(1).integers(0, n_items, 1000 + N_QUERIES)]
    vectors = np.concatenate([np.zeros((1, width), np.float32), items])  # index 0 is unknown
    del items
    groups = np.concatenate([np.zeros(1, np.int32), category])
    start_s = time.process_time()
    config = IndexConfig(n_codes=8)
    index = build_index(vectors, item_groups=groups, sample_queries=queries[:1000], config=config)
    build_s = time.process_time() - start_s
    (folder / "index").mkdir()
    index.save(folder / "index" / "items.npz")
    np.save(folder / "index" / "queries.npy", queries[1000:])
    n_same = 0
    for query in queries[1000:]:
        exact = np.argpartition(vectors[1:] @ query, -10)[-10:] + 1
        n_same += len(np.intersect1d(exact, index.top_k(query, 100).item_idx))
    size = (folder / "index" / "items.npz").stat().st_size
    recall = n_same / (10 * N_QUERIES)
    return {
        "build_cpu_s": round(build_s, 1),
        "gigabytes": round(size / 1e9, 3),
        "recall_10_in_100": round(recall, 3),
    }


def _open_index(folder: Path, *_: int) -> Row:
    start_s = time.perf_counter()
    index = ItemIndex.load(folder / "index" / "items.npz")
    open_s = time.perf_counter() - start_s
    queries = np.load(folder / "index" / "queries.npy", allow_pickle=False)
    shares = [index.top_k(query, 10).n_scored for query in queries]
    times = _times_ms(lambda row: index.top_k(queries[row], 10))
    return {"open_s": round(open_s, 1), "n_scored": round(float(np.mean(shares)))} | times


def _times_ms(ask: Callable[[int], object]) -> Row:
    """Median wall and mean processor milliseconds of a query, after one to warm up."""
    ask(0)
    seconds, start_cpu_s = [], time.process_time()
    for row in range(N_QUERIES):
        start_s = time.perf_counter()
        ask(row)
        seconds.append(time.perf_counter() - start_s)
    cpu_ms = 1000 * (time.process_time() - start_cpu_s) / N_QUERIES
    return {"p50_ms": round(1000 * float(np.median(seconds)), 1), "cpu_ms": round(cpu_ms, 1)}


_MEASURED: Final[dict[str, Callable[[Path, int, int], Row]]] = {
    "export": _export,
    "open-float32": _open("float32"),
    "variant": _variant,
    "open-int8": _open("int8"),
    "index": _index,
    "open-index": _open_index,
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure each part in a process of its own, print a table, store the rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large_graph", description=__doc__)
    parser.add_argument("--items", type=at_least_one, default=10_000_000)
    parser.add_argument("--width", type=at_least_one, default=64)
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=list(_PARTS))
    parser.add_argument("--json", type=Path, help="store the rows in this file")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.only:
        print(json.dumps(measure(options.only, options.folder, options.items, options.width)))
        return
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as scratch:
        for part in options.parts:
            words = ["--only", part, "--folder", scratch, "--items", str(options.items)]
            command = [sys.executable, "-m", "benchmarks.large_graph", *words]
            command += ["--width", str(options.width)]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)  # noqa: S603
            rows.append(json.loads(done.stdout.strip().splitlines()[-1]))
            if options.json:
                write_rows(rows, options.json)
    columns = ("part", "seconds", "cpu_s", "peak_mb")
    Console(width=160).print(rows_table("Large graph", columns, rows))


if __name__ == "__main__":
    main()
