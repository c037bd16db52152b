"""A graph with the inputs of a recommender and one table, built without an export."""

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from chronotope.artifact.bundle import MODEL, write_bundle
from chronotope.testing.recommender_suite import sample_catalog

ABOUT = {
    "name": "toy",
    "dataset": "sample",
    "data_version": "1",
    "history_len": 8,
    "trained_until_s": 1_600_000_000,
}
HISTORIES = ("item_idx", "occurred_s", "utc_offset_min", "place_idx")
MOMENTS = ("request_s", "request_offset_min", "request_place_idx")


def toy_graph(path: Path, table: np.ndarray, ids: np.ndarray) -> None:
    """Scores are table[ids[last item]] @ weight; ids and a copy of it are int64 tables."""
    whole, real = TensorProto.INT64, TensorProto.FLOAT
    inputs = [helper.make_tensor_value_info(n, whole, ["B", 8]) for n in HISTORIES]
    inputs += [helper.make_tensor_value_info(n, whole, ["B"]) for n in MOMENTS]
    inputs.append(helper.make_tensor_value_info("time_given", real, ["B"]))
    weight = np.random.default_rng(0).normal(size=(table.shape[1], 16)).astype(np.float32)
    nodes = [
        helper.make_node("Gather", ["item_idx", "seven"], ["last"], axis=1),
        helper.make_node("Gather", ["ids", "last"], ["row"]),
        helper.make_node("Gather", ["ids_again", "row"], ["row_again"]),
        helper.make_node("GatherND", ["table", "at"], ["vector"]),
        helper.make_node("Unsqueeze", ["row_again", "one"], ["at"]),
        helper.make_node("MatMul", ["vector", "weight"], ["item_scores"]),
        helper.make_node("Identity", ["vector"], ["when"]),
        helper.make_node("Identity", ["vector"], ["place_scores"]),
    ]
    nodes[3], nodes[4] = nodes[4], nodes[3]
    tables = {"table": table, "ids": ids, "ids_again": ids.copy(), "weight": weight}
    tables |= {"seven": np.array(7), "one": np.array([1])}
    outputs = [
        helper.make_tensor_value_info(name, real, ["B", None])
        for name in ("item_scores", "when", "place_scores")
    ]
    stored = [numpy_helper.from_array(values, name) for name, values in tables.items()]
    graph = helper.make_graph(nodes, "toy", inputs, outputs, stored)
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)


def toy_bundle(folder: Path) -> Path:
    """A bundle around a toy graph of 500 rows."""
    folder.mkdir(parents=True, exist_ok=True)
    table = np.random.default_rng(1).normal(size=(500, 32)).astype(np.float32)
    toy_graph(folder / MODEL, table, np.arange(500))
    write_bundle(folder, sample_catalog(), **ABOUT)
    return folder
