"""Tables of many rows as int4 or product codes, unpacked only where rows are gathered.

An int4 row has one scale, and the numbers q - 8 of two columns share a byte. A product-coded
row is one byte for every few columns: the index of the nearest of 256 codewords. Where a graph
only gathers rows of a table, packed rows are gathered and then unpacked, so memory shrinks with
the file; otherwise the whole table is unpacked when the graph is loaded.

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

from chronotope.artifact.graph_files import load_graph, save_graph
from chronotope.artifact.item_index import N_WORDS
from chronotope.compression.tables.kmeans import kmeans, nearest_centroid
from chronotope.contracts.event_log import Float32

Coding = Literal["int4", "pq"]

MIN_ROWS = 4 * N_WORDS
"""Minimum rows of a packed table: below, a codebook takes more space than it saves."""

TABLE_WIDTHS = range(8, 1025)
"""Widths of tables whose rows are embeddings, of items for example."""

SUBSPACE_WIDTH = 4
"""Columns that share a code, if the width allows: 16 times smaller than float32."""


class PackedTable(NamedTuple):
    """A table in fewer bits: arrays of its rows, and arrays that all rows share.

    Attributes:
        row_arrays: Stored arrays whose first axis is that of the table.
        shared_arrays: Other stored arrays.
    """

    row_arrays: dict[str, npt.NDArray[np.generic]]
    shared_arrays: dict[str, npt.NDArray[np.generic]]


def pack_tables(source_path: Path, target_path: Path, coding: Coding) -> None:
    """Write a graph with its tables of many rows packed.

    Args:
        source_path: A float32 graph as exported.
        target_path: The file to write.
        coding: ``int4`` or ``pq``.
    """
    model = load_graph(source_path)
    graph = model.graph
    large_tables = [tensor for tensor in graph.initializer if _is_large_table(tensor)]
    for table in large_tables:
        graph.initializer.remove(table)
        _pack_table(graph, table, coding)
    save_graph(model, target_path)


def pack_int4(table: Float32) -> PackedTable:
    """Four bits a number, one scale a row; the error is at most half of max |row| / 7."""
    max_abs = np.abs(table).max(1, keepdims=True)
    row_scale = np.maximum(max_abs / np.float32(7), np.float32(1e-12))
    numbers = (np.rint(table / row_scale) + 8).astype(np.uint8)
    numbers = np.pad(numbers, ((0, 0), (0, numbers.shape[1] % 2)), constant_values=8)
    low_bits, high_bits = np.split(numbers, 2, axis=1)
    packed = low_bits | high_bits << np.uint8(4)
    return PackedTable({"packed": packed, "scale": row_scale}, {})


def pack_product_codes(table: Float32, *, n_rounds: int = 8, seed: int = 0) -> PackedTable:
    """The nearest of 256 codewords for every few columns."""
    width = _subspace_width(table.shape[1])
    subspaces = torch.split(torch.from_numpy(np.array(table)), width, dim=1)  # m x (n, s)
    codebooks = [
        kmeans(rows.contiguous(), N_WORDS, n_rounds=n_rounds, seed=seed) for rows in subspaces
    ]
    code_columns = [
        nearest_centroid(rows, codebook)
        for rows, codebook in zip(subspaces, codebooks, strict=True)
    ]
    codes = torch.stack(code_columns, 1).to(torch.uint8).numpy()  # (n, m)
    return PackedTable({"codes": codes}, {"words": torch.cat(codebooks).numpy()})


def _subspace_width(table_width: int) -> int:
    return next(width for width in (SUBSPACE_WIDTH, 2, 1) if table_width % width == 0)


def _is_large_table(tensor: onnx.TensorProto) -> bool:
    n_rows, width = tensor.dims if len(tensor.dims) == 2 else (0, 0)
    is_float = tensor.data_type == TensorProto.FLOAT
    return is_float and n_rows >= MIN_ROWS and width in TABLE_WIDTHS


def _pack_table(graph: onnx.GraphProto, table: onnx.TensorProto, coding: Coding) -> None:
    """Store a table packed; unpack gathered rows, or all rows if other nodes read it."""
    table_array, table_name = numpy_helper.to_array(table).astype(np.float32), table.name
    packed = pack_int4(table_array) if coding == "int4" else pack_product_codes(table_array)
    for part_name, stored_array in (packed.row_arrays | packed.shared_arrays).items():
        tensor = numpy_helper.from_array(stored_array, f"{table_name}.{part_name}")
        graph.initializer.append(tensor)
    graph.initializer.extend(_unpack_constants(table_name, table_array.shape[1], coding))
    nodes = list(graph.node)
    reader_nodes = [node for node in nodes if table_name in node.input]
    is_output = any(graph_output.name == table_name for graph_output in graph.output)
    if is_output or not all(_is_row_gather(node, table_name) for node in reader_nodes):
        part_names = {part: f"{table_name}.{part}" for part in packed.row_arrays}
        nodes[:0] = _unpack_nodes(table_name, part_names, table_name, coding)
    else:
        for gather_node in reader_nodes:
            node_idx = nodes.index(gather_node)
            nodes[node_idx : node_idx + 1] = _gather_packed_nodes(
                gather_node, table_name, list(packed.row_arrays), coding
            )
    del graph.node[:]
    graph.node.extend(nodes)


def _gather_packed_nodes(
    gather_node: onnx.NodeProto, table_name: str, row_parts: list[str], coding: Coding
) -> list[onnx.NodeProto]:
    """Nodes that gather packed rows and unpack them into the output of the former gather."""
    output_name, row_indices = gather_node.output[0], gather_node.input[1]
    part_names = {part: f"{output_name}.{part}" for part in row_parts}
    gather_nodes = [
        helper.make_node("Gather", [f"{table_name}.{part}", row_indices], [part_name], axis=0)
        for part, part_name in part_names.items()
    ]
    return gather_nodes + _unpack_nodes(table_name, part_names, output_name, coding)


def _is_row_gather(node: onnx.NodeProto, table_name: str) -> bool:
    axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 0)
    return node.op_type == "Gather" and axis == 0 and list(node.input).index(table_name) == 0


def _unpack_constants(table_name: str, table_width: int, coding: Coding) -> list[onnx.TensorProto]:
    constants: dict[str, npt.NDArray[np.generic]] = {
        "zero": np.array([0], np.int64),
        "last": np.array([-1], np.int64),
        "flat": np.array([table_width], np.int64),
    }
    if coding == "pq":
        n_codes = table_width // _subspace_width(table_width)
        constants["begin"] = (N_WORDS * np.arange(n_codes)).astype(np.int32)
    else:
        constants["four"], constants["sixteen"] = np.array(4, np.uint8), np.array(16, np.uint8)
        constants["eight"] = np.array(8, np.float32)
    return [
        numpy_helper.from_array(constant, f"{table_name}.{constant_name}")
        for constant_name, constant in constants.items()
    ]


def _unpack_nodes(
    table_name: str, part_names: dict[str, str], output_name: str, coding: Coding
) -> list[onnx.NodeProto]:
    """Nodes from packed rows, with any leading shape, to float32 rows."""
    is_product = coding == "pq"
    unpack_steps = (
        _product_code_steps(part_names["codes"]) if is_product else _int4_steps(part_names)
    )
    table_constants = {"begin", "zero", "last", "flat", "four", "sixteen", "eight", "words"}

    def full_name(argument: str) -> str:
        if argument in table_constants:
            return f"{table_name}.{argument}"
        if argument == "out":
            return output_name
        return argument if argument in part_names.values() else f"{output_name}.{argument}"

    unpack_nodes = []
    for op_type, arguments, result_name, attributes in unpack_steps:
        input_names = [full_name(argument) for argument in arguments]
        node = helper.make_node(op_type, input_names, [full_name(result_name)])
        node.attribute.extend(
            helper.make_attribute(attribute_name, attribute)
            for attribute_name, attribute in attributes.items()
        )
        unpack_nodes.append(node)
    return unpack_nodes


_UnpackStep = tuple[str, list[str], str, dict[str, int | str]]


def _int4_steps(part_names: dict[str, str]) -> list[_UnpackStep]:
    packed_name = part_names["packed"]
    return [
        ("Mod", [packed_name, "sixteen"], "low", {}),
        ("BitShift", [packed_name, "four"], "high", {"direction": "RIGHT"}),
        ("Concat", ["low", "high"], "joined", {"axis": -1}),
        ("Slice", ["joined", "zero", "flat", "last"], "number", {}),
        ("Cast", ["number"], "real", {"to": TensorProto.FLOAT}),
        ("Sub", ["real", "eight"], "signed", {}),
        ("Mul", ["signed", part_names["scale"]], "out", {}),
    ]


def _product_code_steps(codes_name: str) -> list[_UnpackStep]:
    return [
        ("Cast", [codes_name], "wide_codes", {"to": TensorProto.INT32}),
        ("Add", ["wide_codes", "begin"], "word_idx", {}),
        ("Gather", ["words", "word_idx"], "row_words", {"axis": 0}),
        ("Shape", [codes_name], "shape", {}),
        ("Slice", ["shape", "zero", "last"], "leading_shape", {}),
        ("Concat", ["leading_shape", "flat"], "row_shape", {"axis": 0}),
        ("Reshape", ["row_words", "row_shape"], "out", {}),
    ]
