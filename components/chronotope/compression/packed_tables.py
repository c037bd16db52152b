"""Tables of many rows as four bits a number or as codes, unpacked only where rows are read.

A row in four bits has one scale, and numbers q - 8 of two columns share a byte. A row in codes
(product quantisation) is one byte for every few columns, the nearest of 256 centroids. Where
all that a graph does with a table is to gather rows of it, packed rows are gathered and then
unpacked, so memory shrinks with the file; otherwise the table is unpacked when it is loaded.

Source:
    Jégou et al. (2011), Product Quantization for Nearest Neighbor Search; Petrov and Macdonald
    (2024), RecJPQ: Training Large-Catalogue Sequential Recommenders.
"""

from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from chronotope.artifact.item_index import N_WORDS
from chronotope.compression.kmeans import kmeans, nearest_centroid
from chronotope.contracts.event_log import Float32

Coding = Literal["int4", "pq"]

MIN_ROWS = 4 * N_WORDS
"""Rows of a table at least: a code book has to pay for itself."""

WIDTHS = range(8, 1025)
"""Columns of a table of rows that stand for something, such as items."""

SUB_WIDTH = 4
"""Columns that share a code, if the width allows: 16 times smaller than float32."""


class PackedTable(NamedTuple):
    """A table in fewer bits: what is stored of each row, and what all rows share.

    Attributes:
        rows: Stored arrays whose first axis is that of the table.
        shared: Other stored arrays.
    """

    rows: dict[str, npt.NDArray[np.generic]]
    shared: dict[str, npt.NDArray[np.generic]]


def pack_tables(source: Path, target: Path, coding: Coding) -> None:
    """Write a graph again with its tables of many rows packed.

    Args:
        source: A float32 graph as exported.
        target: The file to write.
        coding: ``int4`` or ``pq``.
    """
    model = onnx.load(source)
    graph = model.graph
    packed = [t for t in graph.initializer if _is_table(t)]
    for table in packed:
        graph.initializer.remove(table)
        _replace(graph, table, coding)
    onnx.save(model, target)


def pack_int4(values: Float32) -> PackedTable:
    """Four bits a number, a scale a row; the error is half a step of max |row| / 7 at most."""
    scale = np.maximum(np.abs(values).max(1, keepdims=True) / np.float32(7), np.float32(1e-12))
    number = (np.rint(values / scale) + 8).astype(np.uint8)
    number = np.pad(number, ((0, 0), (0, number.shape[1] % 2)), constant_values=8)
    low, high = np.split(number, 2, axis=1)
    return PackedTable({"packed": low | high << np.uint8(4), "scale": scale}, {})


def unpack_int4(packed: PackedTable, width: int) -> Float32:
    """What ``pack_int4`` kept."""
    both = packed.rows["packed"].astype(np.uint8)
    number = np.concatenate([both & 15, both >> 4], axis=1)[:, :width]
    scale = np.asarray(packed.rows["scale"], dtype=np.float32)
    unpacked: Float32 = (number.astype(np.float32) - np.float32(8)) * scale
    return unpacked


def pack_product_codes(values: Float32, *, n_rounds: int = 8, seed: int = 0) -> PackedTable:
    """The nearest of 256 centroids for every few columns."""
    width = _sub_width(values.shape[1])
    parts = torch.split(torch.from_numpy(np.array(values)), width, dim=1)
    words = [kmeans(p.contiguous(), N_WORDS, n_rounds=n_rounds, seed=seed) for p in parts]
    codes = [nearest_centroid(p, book) for p, book in zip(parts, words, strict=True)]
    stored = torch.stack(codes, 1).to(torch.uint8).numpy()
    return PackedTable({"codes": stored}, {"words": torch.cat(words).numpy()})


def unpack_product_codes(packed: PackedTable) -> Float32:
    """What ``pack_product_codes`` kept."""
    codes = packed.rows["codes"].astype(np.int64)
    words = packed.shared["words"].astype(np.float32)
    told = words[codes + N_WORDS * np.arange(codes.shape[1])]
    unpacked: Float32 = told.reshape(len(codes), -1)
    return unpacked


def _sub_width(width: int) -> int:
    return next(s for s in (SUB_WIDTH, 2, 1) if width % s == 0)


def _is_table(tensor: onnx.TensorProto) -> bool:
    rows, width = tensor.dims if len(tensor.dims) == 2 else (0, 0)
    return tensor.data_type == TensorProto.FLOAT and rows >= MIN_ROWS and width in WIDTHS


def _replace(graph: onnx.GraphProto, table: onnx.TensorProto, coding: Coding) -> None:
    """Store a table packed; unpack gathered rows, or all of them where more is done with it."""
    values, name = numpy_helper.to_array(table).astype(np.float32), table.name
    packed = pack_int4(values) if coding == "int4" else pack_product_codes(values)
    for part, stored in (packed.rows | packed.shared).items():
        graph.initializer.append(numpy_helper.from_array(stored, f"{name}.{part}"))
    graph.initializer.extend(_constants(name, values.shape[1], coding))
    nodes = list(graph.node)
    readers = [n for n in nodes if name in n.input]
    outside = any(out.name == name for out in graph.output)
    if outside or not all(_gathers(node, name) for node in readers):
        nodes[:0] = _unpack(name, {p: f"{name}.{p}" for p in packed.rows}, name, coding)
    else:
        for node in readers:
            at = nodes.index(node)
            rows = {part: f"{node.output[0]}.{part}" for part in packed.rows}
            gathered = [
                helper.make_node("Gather", [f"{name}.{part}", node.input[1]], [out], axis=0)
                for part, out in rows.items()
            ]
            nodes[at : at + 1] = gathered + _unpack(name, rows, node.output[0], coding)
    del graph.node[:]
    graph.node.extend(nodes)


def _gathers(node: onnx.NodeProto, table: str) -> bool:
    axis = next((a.i for a in node.attribute if a.name == "axis"), 0)
    return node.op_type == "Gather" and axis == 0 and list(node.input).index(table) == 0


def _constants(name: str, width: int, coding: Coding) -> list[onnx.TensorProto]:
    told: dict[str, npt.NDArray[np.generic]] = {
        "zero": np.array([0], np.int64),
        "last": np.array([-1], np.int64),
        "flat": np.array([width], np.int64),
    }
    if coding == "pq":
        n_codes = width // _sub_width(width)
        told["begin"] = (N_WORDS * np.arange(n_codes)).astype(np.int32)
    else:
        told["four"], told["sixteen"] = np.array(4, np.uint8), np.array(16, np.uint8)
        told["eight"] = np.array(8, np.float32)
    return [numpy_helper.from_array(value, f"{name}.{part}") for part, value in told.items()]


def _unpack(name: str, rows: dict[str, str], out: str, coding: Coding) -> list[onnx.NodeProto]:
    """Nodes from packed rows, of any shape in front, to floats."""
    steps = _unpack_codes(rows["codes"]) if coding == "pq" else _unpack_int4(rows)
    constants = {"begin", "zero", "last", "flat", "four", "sixteen", "eight", "words"}

    def full(arg: str) -> str:
        if arg in constants:
            return f"{name}.{arg}"
        return out if arg == "out" else arg if arg in rows.values() else f"{out}.{arg}"

    nodes = []
    for op, args, result, attributes in steps:
        node = helper.make_node(op, [full(arg) for arg in args], [full(result)])
        node.attribute.extend(helper.make_attribute(*told) for told in attributes.items())
        nodes.append(node)
    return nodes


_Step = tuple[str, list[str], str, dict[str, int | str]]


def _unpack_int4(rows: dict[str, str]) -> list[_Step]:
    both = rows["packed"]
    return [
        ("Mod", [both, "sixteen"], "low", {}),
        ("BitShift", [both, "four"], "high", {"direction": "RIGHT"}),
        ("Concat", ["low", "high"], "joined", {"axis": -1}),
        ("Slice", ["joined", "zero", "flat", "last"], "number", {}),
        ("Cast", ["number"], "real", {"to": TensorProto.FLOAT}),
        ("Sub", ["real", "eight"], "signed", {}),
        ("Mul", ["signed", rows["scale"]], "out", {}),
    ]


def _unpack_codes(codes: str) -> list[_Step]:
    return [
        ("Cast", [codes], "whole", {"to": TensorProto.INT32}),
        ("Add", ["whole", "begin"], "word", {}),
        ("Gather", ["words", "word"], "told", {"axis": 0}),
        ("Shape", [codes], "shape", {}),
        ("Slice", ["shape", "zero", "last"], "front", {}),
        ("Concat", ["front", "flat"], "wide", {"axis": 0}),
        ("Reshape", ["told", "wide"], "out", {}),
    ]
