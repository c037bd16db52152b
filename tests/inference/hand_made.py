"""A champion whose answers are constants, in a root with a small lake: no training."""

from pathlib import Path

import numpy as np
import onnx
import pyarrow as pa
from onnx import TensorProto, helper, numpy_helper

from chronotope.artifact.bundle import MODEL, write_bundle
from chronotope.lake import Lake
from chronotope.registry.mlflow_store import open_store
from chronotope.registry.model_versions import register_version
from chronotope.registry.promotion import promote
from chronotope.runtime.workspace import Workspace
from chronotope.testing.recommender_suite import N_ITEMS, sample_catalog

SCORES = np.r_[99.0, np.linspace(3.0, 0.0, N_ITEMS)].astype(np.float32)  # index 0 must never win
MU, SIGMA = np.log(10.0), 0.5  # hours
WHEN = np.array([[0.0], [MU], [np.log(SIGMA)]], np.float32)  # one lognormal
DAY = 86_400
LAST_S = 1_600_000_000


def write_graph(path: Path) -> None:
    """The inputs of a recommender; the outputs do not depend on them, one row a query."""
    whole, real = TensorProto.INT64, TensorProto.FLOAT
    histories = ("item_idx", "occurred_s", "utc_offset_min", "place_idx")
    moments = ("request_s", "request_offset_min", "request_place_idx")
    inputs = [helper.make_tensor_value_info(n, whole, ["B", 8]) for n in histories]
    inputs += [helper.make_tensor_value_info(n, whole, ["B"]) for n in moments]
    inputs.append(helper.make_tensor_value_info("time_given", real, ["B"]))
    values = {"item_scores": SCORES[None], "when": WHEN[None], "place_scores": SCORES[None]}
    stored = [numpy_helper.from_array(v, f"{name}_") for name, v in values.items()]
    nodes = [helper.make_node("Shape", ["request_s"], ["B"])]
    for name, value in values.items():
        stored.append(numpy_helper.from_array(np.array(value.shape[1:]), f"{name}_of"))
        nodes.append(helper.make_node("Concat", ["B", f"{name}_of"], [f"{name}_B"], axis=0))
        nodes.append(helper.make_node("Expand", [f"{name}_", f"{name}_B"], [name]))
    shapes = {name: ["B", *value.shape[1:]] for name, value in values.items()}
    outputs = [helper.make_tensor_value_info(n, real, of) for n, of in shapes.items()]
    graph = helper.make_graph(nodes, "hand_made", inputs, outputs, stored)
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)


def write_hand_made_bundle(folder: Path) -> Path:
    folder.mkdir(parents=True)
    write_graph(folder / MODEL)
    about = {"name": "hand", "dataset": "city", "data_version": "1", "history_len": 8}
    write_bundle(folder, sample_catalog(), trained_until_s=LAST_S - 30 * DAY, **about)
    return folder


def fill_lake(root: Path) -> None:
    """u00: i01 twice, then i02 at LAST_S; u01: i02 then i03; u02: i04; later u00: i09."""
    rows = [
        ("u00", "i01", LAST_S - 3 * DAY),
        ("u00", "i01", LAST_S - 2 * DAY),
        ("u00", "i02", LAST_S),
        ("u01", "i02", LAST_S - 5 * DAY),
        ("u01", "i03", LAST_S - 4 * DAY),
        ("u02", "i04", LAST_S - 4 * DAY),
        ("u00", "i09", LAST_S + 9 * DAY),
    ]
    user, item, second = (list(column) for column in zip(*rows, strict=True))
    instants = pa.array([s * 1_000_000 for s in second], pa.timestamp("us", tz="UTC"))
    columns = {"event_id": [f"e{n}" for n in range(len(rows))], "user_id": user, "item_id": item}
    columns |= {"place_id": item, "event_type": ["visit"] * len(rows), "occurred_at": instants}
    lake = Lake(Workspace(root).lake("city"))
    lake.merge_events(pa.table(columns))
    catalog = sample_catalog()
    located = {"lat": catalog.item_lat[1:], "lon": catalog.item_lon[1:]}
    lake.upsert_items(pa.table({"item_id": catalog.items.ids, **located}))


def register_twice(root: Path, *, champion: bool = True) -> None:
    """Versions 1 and 2, the first of which is champion."""
    bundle, store = write_hand_made_bundle(root / "bundle"), open_store(Workspace(root).mlruns)
    with store.run("city", "hand") as tracker:
        for _ in range(2):
            register_version(store, name="city", bundle_dir=bundle, run_id=tracker.run_id, tags={})
    if champion:
        promote(store, "city", "1", expected_champion=None, key="first", reason="first")
