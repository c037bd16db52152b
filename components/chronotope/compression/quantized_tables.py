"""Store the tables of an ONNX graph in fewer bits; they are widened when it is loaded.

The tables of priors and of the catalogue, not the weights, are most of the file.
A table in fewer bits is followed by a cast back (and a product with its row scales)
that ONNX Runtime folds once at loading: the file shrinks, the latency stays.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from onnx.helper import make_node

TablePrecision = Literal["exact", "float16", "int8"]
Array = npt.NDArray[np.generic]

MIN_TABLE_BYTES = 1024
FLOAT16_MAX = 6e4
BYTE = 256
MIN_SCALE = np.float32(1e-7)
"""Of a row of zeros; half precision can say it."""


class QuantizedTable(NamedTuple):
    """A table as it is kept: what lies in the file, and how the graph widens it again."""

    tables: dict[str, Array]
    nodes: list[onnx.NodeProto]


def quantize_tables(source: Path, target: Path, precision: TablePrecision) -> None:
    """Write a graph again with equal tables merged and all tables narrowed.

    Args:
        source: An exported graph.
        target: The file to write.
        precision: ``exact`` stores whole numbers in the narrowest type that holds them,
            what can be worked out not at all, and keeps other floats; ``float16`` rounds
            those too; ``int8`` stores floats of at least two axes as bytes with a scale a
            row, and rounds the others to float16.
    """
    model = onnx.load(source)
    graph = model.graph
    _merge_equal(graph)
    nodes: list[onnx.NodeProto] = []
    tables = list(graph.initializer)
    del graph.initializer[:]
    for table in tables:
        stored = _narrow(table, precision)
        if stored is None:
            graph.initializer.append(table)
            continue
        graph.initializer.extend(numpy_helper.from_array(v, k) for k, v in stored.tables.items())
        nodes += stored.nodes
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
    onnx.save(model, target)


def _narrow(table: onnx.TensorProto, precision: TablePrecision) -> QuantizedTable | None:
    """The table in fewer bits; None if it is small, or nothing is gained."""
    values = numpy_helper.to_array(table)
    if values.nbytes < MIN_TABLE_BYTES:
        return None
    ways: list[Callable[[onnx.TensorProto, Array], QuantizedTable | None]] = [_constant]
    if values.dtype == np.int64:
        ways += [_counting, _narrow_integers]
    if values.dtype == np.float32:
        ways.append(_whole_numbers)
        if precision == "int8":
            ways.append(_bytes_a_row)
        if precision != "exact":
            ways.append(_half)
    found = (way(table, values) for way in ways)
    return next((stored for stored in found if stored is not None), None)


def _constant(table: onnx.TensorProto, values: Array) -> QuantizedTable | None:
    """One value and a shape."""
    if (values != values.flat[0]).any():
        return None
    one, shape = f"{table.name}.value", f"{table.name}.shape"
    parts: dict[str, Array] = {one: values.flat[:1], shape: np.array(values.shape)}
    return QuantizedTable(parts, [make_node("Expand", [one, shape], [table.name])])


def _counting(table: onnx.TensorProto, values: Array) -> QuantizedTable | None:
    """0, 1, 2, ...: its length."""
    if values.ndim != 1 or (values != np.arange(len(values))).any():
        return None
    names = [f"{table.name}.{part}" for part in ("start", "end", "step")]
    parts = (np.array(each, np.int64) for each in (0, len(values), 1))
    return QuantizedTable(
        dict(zip(names, parts, strict=True)), [make_node("Range", names, [table.name])]
    )


def _narrow_integers(table: onnx.TensorProto, values: Array) -> QuantizedTable | None:
    """The narrowest type that holds all."""
    low, high = int(values.min()), int(values.max())
    if low >= 0 and BYTE**2 <= high < BYTE**3:
        return _three_bytes(table, values)
    types = (np.uint8, np.uint16, np.int32)
    fits = [t for t in types if np.iinfo(t).min <= low and high <= np.iinfo(t).max]
    return _cast(table, values.astype(fits[0])) if fits else None


def _three_bytes(table: onnx.TensorProto, values: Array) -> QuantizedTable:
    """Two bytes and one: a quarter less than four."""
    low, high, size = (f"{table.name}.{part}" for part in ("low", "high", "size"))
    wide = [f"{low}.wide", f"{high}.wide", f"{table.name}.upper"]
    parts: dict[str, Array] = {
        low: (values % BYTE**2).astype(np.uint16),
        high: (values // BYTE**2).astype(np.uint8),
        size: np.array(BYTE**2, np.int64),
    }
    nodes = [
        make_node("Cast", [low], [wide[0]], to=table.data_type),
        make_node("Cast", [high], [wide[1]], to=table.data_type),
        make_node("Mul", [wide[1], size], [wide[2]]),
        make_node("Add", [wide[0], wide[2]], [table.name]),
    ]
    return QuantizedTable(parts, nodes)


def _whole_numbers(table: onnx.TensorProto, values: Array) -> QuantizedTable | None:
    """Floats that are whole numbers up to 255, such as masks."""
    if not (values.min() >= 0 and values.max() < BYTE):
        return None
    small = values.astype(np.uint8)
    return _cast(table, small) if (small == values).all() else None


def _bytes_a_row(table: onnx.TensorProto, values: Array) -> QuantizedTable | None:
    """A scale a row, in half precision and rounded up, so that no row is cut off."""
    if values.ndim < 2 or values.shape[-1] <= 4:
        return None
    exact = np.abs(values).max(axis=-1, keepdims=True).astype(np.float32) / np.float32(127)
    if exact.max() > FLOAT16_MAX:
        return None
    near = np.maximum(exact, MIN_SCALE).astype(np.float16)
    scale = np.where(near < exact, np.nextafter(near, np.float16(np.inf)), near)
    rows = np.rint(values / scale.astype(np.float32)).astype(np.int8)
    names = [f"{table.name}.{part}" for part in ("stored", "scale")]
    wide = [f"{name}.wide" for name in names]
    nodes = [
        make_node("Cast", [name], [to], to=table.data_type)
        for name, to in zip(names, wide, strict=True)
    ]
    nodes.append(make_node("Mul", wide, [table.name]))
    return QuantizedTable(dict(zip(names, (rows, scale), strict=True)), nodes)


def _half(table: onnx.TensorProto, values: Array) -> QuantizedTable | None:
    """Eleven bits of precision."""
    return _cast(table, values.astype(np.float16)) if np.abs(values).max() <= FLOAT16_MAX else None


def _cast(table: onnx.TensorProto, stored: Array) -> QuantizedTable:
    """Nodes that give the stored table its old name and type."""
    small = f"{table.name}.stored"
    return QuantizedTable(
        {small: stored}, [make_node("Cast", [small], [table.name], to=table.data_type)]
    )


def _merge_equal(graph: onnx.GraphProto) -> None:
    """Keep one of the tables that hold the same values in the same shape."""
    first: dict[tuple[object, ...], str] = {}
    renamed, kept = {}, []
    for table in graph.initializer:
        values = numpy_helper.to_array(table)
        name = first.setdefault((values.dtype, values.shape, values.tobytes()), table.name)
        if name == table.name:
            kept.append(table)
        else:
            renamed[table.name] = name
    del graph.initializer[:]
    graph.initializer.extend(kept)
    for node in graph.node:
        for position, name in enumerate(node.input):
            node.input[position] = renamed.get(name, name)
