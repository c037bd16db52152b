"""Tables of an ONNX graph in fewer bits, cast back to their type when the graph is loaded.

The tables of priors and of the catalogue, not the weights, are most of the file.
A narrowed table is followed by a cast back (and a product with its row scales)
that ONNX Runtime folds once at loading: the file shrinks, the latency stays.
"""

from collections.abc import Callable, Container
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper
from onnx.helper import make_node

from chronotope.artifact.catalogue_tables import parse_tables, part_of_table
from chronotope.artifact.graph_files import append_tensors, load_graph, save_graph

TablePrecision = Literal["exact", "float16", "int8"]
Array = npt.NDArray[np.generic]

MIN_TABLE_BYTES = 1024
FLOAT16_MAX = 6e4
BYTE_VALUES = 256
MIN_SCALE = np.float32(1e-7)
"""Scale of a row of zeros, representable in float16."""


class QuantizedTable(NamedTuple):
    """A narrowed table: its stored arrays, and the nodes that widen them again."""

    stored_arrays: dict[str, Array]
    widen_nodes: list[onnx.NodeProto]


def quantize_tables(source_path: Path, target_path: Path, precision: TablePrecision) -> None:
    """Write a graph with equal tables merged and all tables narrowed.

    Args:
        source_path: An exported graph.
        target_path: The file to write.
        precision: ``exact`` stores whole numbers in the narrowest type that fits,
            constant and counting tables by their shape alone, and other floats unchanged;
            ``float16`` rounds those too; ``int8`` stores floats of at least two axes as int8
            with a scale a row, and rounds the others to float16. Tables that a caller may
            replace stay as they are.
    """
    model = load_graph(source_path)
    graph = model.graph
    replaceable = replaceable_tables(graph)
    _merge_equal_tables(graph, replaceable | _growing_arrays(model))
    widen_nodes: list[onnx.NodeProto] = []
    tables = list(graph.initializer)
    del graph.initializer[:]
    for table in tables:
        quantized = None if table.name in replaceable else _narrow_table(table, precision)
        if quantized is None:
            append_tensors(graph, [table])
            continue
        append_tensors(
            graph,
            (
                numpy_helper.from_array(array, array_name)
                for array_name, array in quantized.stored_arrays.items()
            ),
        )
        widen_nodes += quantized.widen_nodes
    compute_nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*widen_nodes, *compute_nodes])
    save_graph(model, target_path)


def replaceable_tables(graph: onnx.GraphProto) -> set[str]:
    """Tables that a caller may pass as inputs, which must keep their names and types."""
    input_names = {graph_input.name for graph_input in graph.input}
    return {table.name for table in graph.initializer if table.name in input_names}


def _growing_arrays(model: onnx.ModelProto) -> set[str]:
    """Arrays of tables that a new item enlarges: equal ones may differ in the new item's row."""
    names = {table.name for table in parse_tables(model)}
    return {tensor.name for tensor in model.graph.initializer if part_of_table(tensor.name, names)}


def _narrow_table(table: onnx.TensorProto, precision: TablePrecision) -> QuantizedTable | None:
    """The table in fewer bits; None if it is small, or nothing is gained."""
    table_array = numpy_helper.to_array(table)
    if table_array.nbytes < MIN_TABLE_BYTES:
        return None
    encoders: list[Callable[[onnx.TensorProto, Array], QuantizedTable | None]] = [_encode_constant]
    if table_array.dtype == np.int64:
        encoders += [_encode_range, _narrow_integers]
    if table_array.dtype == np.float32:
        encoders.append(_encode_whole_numbers)
        if precision == "int8":
            encoders.append(_encode_int8_rows)
        if precision != "exact":
            encoders.append(_encode_float16)
    encodings = (encode(table, table_array) for encode in encoders)
    return next((encoding for encoding in encodings if encoding is not None), None)


def _encode_constant(table: onnx.TensorProto, table_array: Array) -> QuantizedTable | None:
    """One value and a shape."""
    if (table_array != table_array.flat[0]).any():
        return None
    value_name, shape_name = f"{table.name}.value", f"{table.name}.shape"
    stored_arrays: dict[str, Array] = {
        value_name: table_array.flat[:1],
        shape_name: np.array(table_array.shape),
    }
    expand_node = make_node("Expand", [value_name, shape_name], [table.name])
    return QuantizedTable(stored_arrays, [expand_node])


def _encode_range(table: onnx.TensorProto, table_array: Array) -> QuantizedTable | None:
    """0, 1, 2, ...: its length."""
    if table_array.ndim != 1 or (table_array != np.arange(len(table_array))).any():
        return None
    bounds = {"start": 0, "end": len(table_array), "step": 1}
    stored_arrays: dict[str, Array] = {
        f"{table.name}.{bound_name}": np.array(bound, np.int64)
        for bound_name, bound in bounds.items()
    }
    return QuantizedTable(stored_arrays, [make_node("Range", list(stored_arrays), [table.name])])


def _narrow_integers(table: onnx.TensorProto, table_array: Array) -> QuantizedTable | None:
    """The narrowest integer type that holds all values."""
    min_value, max_value = int(table_array.min()), int(table_array.max())
    if min_value >= 0 and BYTE_VALUES**2 <= max_value < BYTE_VALUES**3:
        return _encode_three_bytes(table, table_array)
    for integer_type in (np.uint8, np.uint16, np.int32):
        type_range = np.iinfo(integer_type)
        if type_range.min <= min_value and max_value <= type_range.max:
            return _cast_back(table, table_array.astype(integer_type))
    return None


def _encode_three_bytes(table: onnx.TensorProto, table_array: Array) -> QuantizedTable:
    """A uint16 and a uint8 table: a quarter less than int32."""
    low_name, high_name, size_name = (f"{table.name}.{part}" for part in ("low", "high", "size"))
    wide_low, wide_high, upper = f"{low_name}.wide", f"{high_name}.wide", f"{table.name}.upper"
    stored_arrays: dict[str, Array] = {
        low_name: (table_array % BYTE_VALUES**2).astype(np.uint16),
        high_name: (table_array // BYTE_VALUES**2).astype(np.uint8),
        size_name: np.array(BYTE_VALUES**2, np.int64),
    }
    widen_nodes = [
        make_node("Cast", [low_name], [wide_low], to=table.data_type),
        make_node("Cast", [high_name], [wide_high], to=table.data_type),
        make_node("Mul", [wide_high, size_name], [upper]),
        make_node("Add", [wide_low, upper], [table.name]),
    ]
    return QuantizedTable(stored_arrays, widen_nodes)


def _encode_whole_numbers(table: onnx.TensorProto, table_array: Array) -> QuantizedTable | None:
    """Floats that are whole numbers up to 255, such as masks, as uint8."""
    if not (table_array.min() >= 0 and table_array.max() < BYTE_VALUES):
        return None
    byte_array = table_array.astype(np.uint8)
    return _cast_back(table, byte_array) if (byte_array == table_array).all() else None


def _encode_int8_rows(table: onnx.TensorProto, table_array: Array) -> QuantizedTable | None:
    """int8 with a float16 scale a row, rounded up, so that no value is clipped."""
    if table_array.ndim < 2 or table_array.shape[-1] <= 4:
        return None
    max_abs = np.abs(table_array).max(axis=-1, keepdims=True).astype(np.float32)
    exact_scale = max_abs / np.float32(127)
    if exact_scale.max() > FLOAT16_MAX:
        return None
    near_scale = np.maximum(exact_scale, MIN_SCALE).astype(np.float16)
    next_scale = np.nextafter(near_scale, np.float16(np.inf))
    row_scale = np.where(near_scale < exact_scale, next_scale, near_scale)
    int8_array = np.rint(table_array / row_scale.astype(np.float32)).astype(np.int8)
    stored_arrays = {f"{table.name}.stored": int8_array, f"{table.name}.scale": row_scale}
    wide_names = [f"{array_name}.wide" for array_name in stored_arrays]
    widen_nodes = [
        make_node("Cast", [array_name], [wide_name], to=table.data_type)
        for array_name, wide_name in zip(stored_arrays, wide_names, strict=True)
    ]
    widen_nodes.append(make_node("Mul", wide_names, [table.name]))
    return QuantizedTable(stored_arrays, widen_nodes)


def _encode_float16(table: onnx.TensorProto, table_array: Array) -> QuantizedTable | None:
    """Eleven bits of precision."""
    if np.abs(table_array).max() > FLOAT16_MAX:
        return None
    return _cast_back(table, table_array.astype(np.float16))


def _cast_back(table: onnx.TensorProto, narrow_array: Array) -> QuantizedTable:
    """The narrow array, and a node that casts it to the table's name and type."""
    stored_name = f"{table.name}.stored"
    cast_node = make_node("Cast", [stored_name], [table.name], to=table.data_type)
    return QuantizedTable({stored_name: narrow_array}, [cast_node])


def _merge_equal_tables(graph: onnx.GraphProto, apart: Container[str]) -> None:
    """Merge tables with the same values and shape into one, except those that stay apart."""
    first_names: dict[tuple[object, ...], str] = {}
    replaced_names, unique_tables = {}, []
    for table in graph.initializer:
        if table.name in apart:
            unique_tables.append(table)
            continue
        table_array = numpy_helper.to_array(table)
        table_key = (table_array.dtype, table_array.shape, table_array.tobytes())
        first_name = first_names.setdefault(table_key, table.name)
        if first_name == table.name:
            unique_tables.append(table)
        else:
            replaced_names[table.name] = first_name
    del graph.initializer[:]
    append_tensors(graph, unique_tables)
    for node in graph.node:
        for input_idx, input_name in enumerate(node.input):
            node.input[input_idx] = replaced_names.get(input_name, input_name)
