"""A champion whose scores depend on all it is asked, over the small lake of hand_made."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from fastapi import FastAPI
from fastapi.testclient import TestClient
from onnx import TensorProto, helper, numpy_helper

from chronotope.artifact.bundle import INDEX, MODEL, read_vocabulary, write_bundle
from chronotope.artifact.open_bundle import open_bundle
from chronotope.compression.build_index import IndexConfig, build_index
from chronotope.contracts.event_log import Float32
from chronotope.registry.champion import Champion
from chronotope.serving.api.app import create_app
from chronotope.serving.settings import ServeSettings
from chronotope.testing.recommender_suite import N_ITEMS, sample_catalog
from tests.inference.hand_made import DAY, LAST_S, WHEN, fill_lake

WIDTH = 8  # events the graph reads


def write_graph(path: Path, *, boost: float = 0.0, n_items: int = N_ITEMS + 1) -> None:
    """score[i] = sum over events of item i of (1 / (1 + days ago) + offset and place) + base[i]."""
    whole, real = TensorProto.INT64, TensorProto.FLOAT
    histories = ("item_idx", "occurred_s", "utc_offset_min", "place_idx")
    moments = ("request_s", "request_offset_min", "request_place_idx")
    inputs = [helper.make_tensor_value_info(n, whole, ["B", WIDTH]) for n in histories]
    inputs += [helper.make_tensor_value_info(n, whole, ["B"]) for n in moments]
    inputs.append(helper.make_tensor_value_info("time_given", real, ["B"]))
    base = np.linspace(0.05, 0.0, n_items).astype(np.float32)
    base[1] += boost
    stored = {
        "one": np.array([1], np.int64),
        "unit": np.array(1.0, np.float32),
        "day": np.array(DAY, np.float32),
        "per_min": np.array(1e-4, np.float32),
        "per_place": np.array(1e-3, np.float32),
        "depth": np.array(n_items, np.int64),
        "off_on": np.array([0, 1], np.float32),
        "base": base[None],
        "slope": np.linspace(0.0, 0.1, n_items).astype(np.float32)[None],
        "when_": WHEN[None],
        "when_of": np.array(WHEN.shape, np.int64),
    }
    steps = [
        ("Unsqueeze", ["request_s", "one"], "asked"),
        ("Sub", ["asked", "occurred_s"], "ago"),
        ("Cast", ["ago"], "ago_s"),
        ("Div", ["ago_s", "day"], "days"),
        ("Add", ["days", "unit"], "late"),
        ("Div", ["unit", "late"], "weight"),
        ("Cast", ["utc_offset_min"], "offset"),
        ("Mul", ["offset", "per_min"], "offset_w"),
        ("Cast", ["place_idx"], "place"),
        ("Mul", ["place", "per_place"], "place_w"),
        ("Add", ["weight", "offset_w"], "weight_1"),
        ("Add", ["weight_1", "place_w"], "weight_2"),
        ("Unsqueeze", ["weight_2", "one"], "row"),
        ("OneHot", ["item_idx", "depth", "off_on"], "hot"),
        ("MatMul", ["row", "hot"], "sums"),
        ("Squeeze", ["sums", "one"], "own"),
        ("Cast", ["request_place_idx"], "here"),
        ("Cast", ["request_offset_min"], "clock"),
        ("Mul", ["clock", "per_min"], "clock_w"),
        ("Add", ["here", "clock_w"], "here_0"),
        ("Unsqueeze", ["here_0", "one"], "here_1"),
        ("Mul", ["here_1", "slope"], "near"),
        ("Add", ["own", "near"], "own_near"),
        ("Add", ["own_near", "base"], "item_scores"),
        ("Identity", ["item_scores"], "place_scores"),
        ("Shape", ["request_s"], "rows"),
        ("Expand", ["when_", "when_shape"], "when"),
    ]
    nodes = [
        helper.make_node(op, of, [to], **({"to": real} if op == "Cast" else {}))
        for op, of, to in steps
    ]
    # one distribution a query, as in the graph of a trained model
    nodes.insert(-1, helper.make_node("Concat", ["rows", "when_of"], ["when_shape"], axis=0))
    outputs = [
        helper.make_tensor_value_info(n, real, None)
        for n in ("item_scores", "when", "place_scores")
    ]
    kept = [numpy_helper.from_array(value, name) for name, value in stored.items()]
    graph = helper.make_graph(nodes, "town", inputs, outputs, kept)
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)


def write_split_graph(path: Path) -> Float32:
    """The same model as ``write_graph`` for an index; returns the vectors of the items."""
    write_graph(path)
    model = onnx.load(path)
    graph, real, whole = model.graph, TensorProto.FLOAT, TensorProto.INT64
    kept = {part.name: numpy_helper.to_array(part) for part in graph.initializer}
    vectors = np.stack([kept["base"][0], kept["slope"][0]], axis=1)
    left = {"hot", "sums", "own", "near", "own_near", "item_scores", "place_scores"}
    nodes = [node for node in graph.node if not left & set(node.output)]
    steps: tuple[tuple[str, list[str], str], ...] = (
        ("Identity", ["item_idx"], "extra_item"),
        ("Identity", ["weight_2"], "extra"),
        ("Sub", ["here_1", "here_1"], "group"),
        ("Add", ["group", "unit"], "ones"),
        ("MatMul", ["here_1", "slope"], "place_scores"),
    )
    nodes += [helper.make_node(op, of, [to]) for op, of, to in steps]
    nodes.append(helper.make_node("Concat", ["ones", "here_1"], ["query"], axis=1))
    asked = helper.make_tensor_value_info("vectors", real, ["B", WIDTH, vectors.shape[1]])
    names = ("query", "group", "extra_item", "extra", "when", "place_scores")
    told = [
        helper.make_tensor_value_info(name, whole if name == "extra_item" else real, None)
        for name in names
    ]
    split = helper.make_graph(nodes, "split", [*graph.input, asked], told, graph.initializer)
    onnx.save(helper.make_model(split, opset_imports=model.opset_import, ir_version=10), path)
    return vectors


def write_indexed(folder: Path) -> None:
    """The same model as ``write_graph``, its items found by an index."""
    vectors = write_split_graph(folder / MODEL)
    build_index(vectors, config=IndexConfig(n_codes=2, block_items=8)).save(folder / INDEX)


class LocalClient(TestClient):
    """Asks by the name that a service without a key answers to."""

    def __init__(self, app: FastAPI) -> None:
        super().__init__(app, base_url="http://127.0.0.1")


@dataclass
class Town:
    """A root with a lake and a champion that tests can change."""

    root: Path
    version: str | None = "1"
    broken: set[str] = field(default_factory=set)

    @classmethod
    def build(cls, root: Path) -> "Town":
        fill_lake(root)
        town = cls(root)
        town.add("1")
        return town

    def add(self, version: str, **graph: Any) -> None:
        """Another version; ``boost`` puts its first item first."""
        folder = self.root / "versions" / version
        folder.mkdir(parents=True)
        write_graph(folder / MODEL, **graph)
        self._told(folder)

    def add_indexed(self, version: str) -> None:
        """A version whose items are found by an index, with the same scores."""
        folder = self.root / "versions" / version
        folder.mkdir(parents=True)
        write_indexed(folder)
        self._told(folder)

    def _told(self, folder: Path) -> None:
        about = {"name": "town", "dataset": "city", "data_version": "1", "history_len": WIDTH}
        write_bundle(folder, sample_catalog(), trained_until_s=LAST_S - 30 * DAY, **about)

    def load(self, root: Path, dataset: str) -> Champion:
        assert self.version is not None
        return self.load_version(root, dataset, self.version)

    def load_version(self, root: Path, dataset: str, version: str) -> Champion:
        folder = root / "versions" / version
        return Champion(version, open_bundle(folder), read_vocabulary(folder), folder)

    def app(self, **settings: Any) -> FastAPI:
        told = ServeSettings(dataset="city", root=self.root, **settings)
        return create_app(
            told,
            load=self.load,
            champion_version=lambda *_: self.version,
            load_arm=self.load_version,
        )
