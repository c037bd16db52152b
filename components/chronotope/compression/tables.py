"""Store the tables of an ONNX graph in fewer bits; they are widened when it is loaded.

The tables of priors and of the catalogue, not the weights, are most of the file.
A table in fewer bits is followed by a cast back (and a product with its row scales)
that ONNX Runtime folds once at loading: the file shrinks, the latency stays.
"""

from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

TablePrecision = Literal["exact", "float16", "int8"]
Array = npt.NDArray[np.generic]

MIN_TABLE_BYTES = 1024
FLOAT16_MAX = 6e4


def narrow_tables(source: Path, target: Path, precision: TablePrecision) -> None:
    """Write a graph again with equal tables merged and all tables narrowed.

    Args:
        source: An exported graph.
        target: The file to write.
        precision: ``exact`` stores integers in the narrowest type that holds them and
            keeps floats; ``float16`` rounds floats too; ``int8`` stores floats of at
            least two axes as bytes with a scale a row, and rounds the others to float16.
    """
    model = onnx.load(source)
    graph = model.graph
    _merge_equal(graph)
    nodes: list[onnx.NodeProto] = []
    tables = list(graph.initializer)
    del graph.initializer[:]
    for table in tables:
        values = numpy_helper.to_array(table)
        stored, scale = _narrow(values, precision)
        if stored.dtype == values.dtype or values.nbytes < MIN_TABLE_BYTES:
            graph.initializer.append(table)
            continue
        small = f"{table.name}.stored"
        graph.initializer.append(numpy_helper.from_array(stored, small))
        nodes += _widen(graph, small, table, scale)
    rest = list(graph.node)
    del graph.node[:]
    graph.node.extend([*nodes, *rest])
    onnx.save(model, target)


def _narrow(values: Array, precision: TablePrecision) -> tuple[Array, Array | None]:
    """The table in fewer bits, and the scale of each row if it needs one."""
    if values.dtype == np.int64:
        low, high = values.min(initial=0), values.max(initial=0)
        types = (np.uint8, np.uint16, np.int32)
        fits = [t for t in types if np.iinfo(t).min <= low and high <= np.iinfo(t).max]
        return (values.astype(fits[0]) if fits else values), None
    if values.dtype != np.float32 or precision == "exact":
        return values, None
    largest = np.abs(values).max(initial=0)
    if precision == "int8" and values.ndim >= 2 and values.shape[-1] > 4:
        scale = np.abs(values).max(axis=-1, keepdims=True).astype(np.float32) / np.float32(127)
        scale = np.maximum(scale, np.float32(1e-12))
        return np.rint(values / scale).astype(np.int8), scale.astype(np.float32)
    return (values.astype(np.float16) if largest <= FLOAT16_MAX else values), None


def _widen(
    graph: onnx.GraphProto, small: str, table: onnx.TensorProto, scale: Array | None
) -> list[onnx.NodeProto]:
    """Nodes that give the stored table its old name, type and range."""
    wide = table.name if scale is None else f"{table.name}.wide"
    cast = onnx.helper.make_node("Cast", [small], [wide], to=table.data_type)
    if scale is None:
        return [cast]
    graph.initializer.append(numpy_helper.from_array(scale, f"{table.name}.scale"))
    return [cast, onnx.helper.make_node("Mul", [wide, f"{table.name}.scale"], [table.name])]


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
