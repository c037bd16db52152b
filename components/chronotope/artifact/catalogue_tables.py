"""Tables of a graph that have one entry an item: which they are, and what they hold.

The export notes them in the graph's metadata, since a bound graph holds some tables transposed,
and a compressed one in fewer bits: narrowed tables are widened again by nodes of the graph, and
tables of quantised operators are int8 with one scale.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper, numpy_helper

from chronotope.contracts.errors import ArtifactError

CATALOGUE_TABLES: Final = "catalogue_tables"
"""Key of the graph's metadata that lists these tables."""

ITEMS, CELLS, PLACES = "items", "cells", "places"
"""Sizes of a graph that a new item enlarges; of places where the items are the places."""

GROWING_AXES: Final = (ITEMS, CELLS, PLACES)

QUANTIZED: Final = "_quantized"
"""Ending of the int8 form of a table; those of its scale and of its zero are beside it."""

Array = npt.NDArray[np.generic]


@dataclass(frozen=True, slots=True)
class CatalogueTable:
    """One stored table.

    Attributes:
        table_name: Name in the graph.
        source: Name of the network's table that it holds.
        size_name: What the growing axis counts, one of ``GROWING_AXES``.
        axis: The growing axis.
    """

    name: str
    source: str
    size_name: str
    axis: int


@dataclass(frozen=True, slots=True)
class QuantizedRows:
    """Scale and zero of an int8 table: value = (stored - zero) * scale."""

    stored: Array
    scale: float
    zero: int

    def values(self) -> npt.NDArray[np.float32]:
        """The table as numbers."""
        decoded_values: npt.NDArray[np.float32] = (
            self.stored.astype(np.float32) - self.zero
        ) * np.float32(self.scale)
        return decoded_values

    def encode(self, table_values: Array) -> Array:
        """Values in the table's own type; those beyond its range are clipped."""
        type_limits = np.iinfo(self.stored.dtype.name)
        code_steps = np.rint(table_values.astype(np.float64) / self.scale) + self.zero
        clipped_codes: Array = np.clip(code_steps, type_limits.min, type_limits.max).astype(
            self.stored.dtype
        )
        return clipped_codes


@dataclass(frozen=True, slots=True)
class StoredTables:
    """Tables of a graph in the forms that it stores; a table may have both.

    Attributes:
        tables: The tables.
        plain: Values by name.
        quantized: Int8 forms by name.
    """

    tables: tuple[CatalogueTable, ...]
    plain: Mapping[str, Array]
    quantized: Mapping[str, QuantizedRows]

    def by_source(self) -> dict[str, Array]:
        """Values by the name of the network's table, the growing axis first; exact if possible."""
        table_values: dict[str, Array] = {}
        for stored_table in sorted(
            self.tables, key=lambda stored_table: stored_table.name in self.plain
        ):
            plain = self.plain.get(stored_table.name)
            stored_tensors = self.quantized[stored_table.name].values() if plain is None else plain
            table_values[stored_table.source] = np.moveaxis(stored_tensors, stored_table.axis, 0)
        return table_values

    def n_rows(self, stored_table: CatalogueTable) -> int:
        """Size of the growing axis of a table.

        Args:
            stored_table: One of ``tables``.
        """
        plain = self.plain.get(stored_table.name)
        table_values = self.quantized[stored_table.name].stored if plain is None else plain
        return int(table_values.shape[stored_table.axis])

    def with_rows(self, code_rows: Mapping[str, Array]) -> dict[str, Array]:
        """Stored arrays with further rows, by their names in the graph.

        Args:
            code_rows: Rows by the name of the network's table, the growing axis first.
        """
        arrays: dict[str, Array] = {}
        for stored_table in self.tables:
            new_rows = np.moveaxis(code_rows[stored_table.source], 0, stored_table.axis)
            if stored_table.name in self.plain:
                table_values = self.plain[stored_table.name]
                arrays[stored_table.name] = np.concatenate(
                    [table_values, new_rows.astype(table_values.dtype)], axis=stored_table.axis
                )
            if stored_table.name in self.quantized:
                form = self.quantized[stored_table.name]
                arrays[f"{stored_table.name}{QUANTIZED}"] = np.concatenate(
                    [form.stored, form.encode(new_rows)], axis=stored_table.axis
                )
        return arrays


def format_tables(tables: Iterable[CatalogueTable]) -> str:
    """Text of the metadata.

    Args:
        tables: The tables.

    Example:
        >>> format_tables([CatalogueTable("t", "popularity", "items", 0)])
        '[["t","popularity","items",0]]'
    """
    metadata_entries = [
        [stored_table.name, stored_table.source, stored_table.size_name, stored_table.axis]
        for stored_table in tables
    ]
    return json.dumps(sorted(metadata_entries), separators=(",", ":"))


def parse_tables(graph_model: onnx.ModelProto) -> tuple[CatalogueTable, ...]:
    """Tables that a graph's metadata lists; none in a graph of an earlier version.

    Args:
        graph_model: The graph.
    """
    graph_metadata = {
        metadata_entry.key: metadata_entry.value for metadata_entry in graph_model.metadata_props
    }
    metadata_entries = json.loads(graph_metadata.get(CATALOGUE_TABLES, "[]"))
    return tuple(CatalogueTable(*metadata_entry) for metadata_entry in metadata_entries)


def part_of_table(tensor_name: str, table_names: Collection[str]) -> bool:
    """Whether a stored array is one of these tables, or its quantised form, scale or zero.

    Args:
        tensor_name: Name of the stored array.
        table_names: Names of tables.
    """
    name_endings = ("", QUANTIZED, "_scale", "_zero_point")
    return any(
        tensor_name.endswith(name_ending) and tensor_name.removesuffix(name_ending) in table_names
        for name_ending in name_endings
    )


def read_tables(graph_model: onnx.ModelProto) -> StoredTables:
    """Stored forms of the tables that the metadata of a graph lists.

    Args:
        graph_model: The graph.

    Raises:
        ArtifactError: A table is stored in a form that is not known here.
    """
    tables = parse_tables(graph_model)
    stored_tensors = StoredTables(
        tables,
        _plain_values(graph_model, [stored_table.name for stored_table in tables]),
        dict(_quantized_tables(graph_model, tables)),
    )
    for stored_table in tables:
        if (
            stored_table.name not in stored_tensors.plain
            and stored_table.name not in stored_tensors.quantized
        ):
            raise ArtifactError(
                "A table of this bundle is stored in a form that cannot take new items",
                received=f"{stored_table.source}, packed in codes",
                way_out="Train again with the items, or leave int4_gather and pq_gather out of "
                "compression.variants",
            )
    return stored_tensors


def _quantized_tables(
    graph_model: onnx.ModelProto, tables: Iterable[CatalogueTable]
) -> Iterator[tuple[str, QuantizedRows]]:
    """Names and int8 forms of the tables that quantised operators read."""
    stored_tensors = {
        stored_tensor.name: stored_tensor for stored_tensor in graph_model.graph.initializer
    }
    for stored_table in tables:
        part_names = [
            f"{stored_table.name}{name_ending}"
            for name_ending in (QUANTIZED, "_scale", "_zero_point")
        ]
        if not all(table_name in stored_tensors for table_name in part_names):
            continue
        code_rows, scale, zero = (
            numpy_helper.to_array(stored_tensors[table_name]) for table_name in part_names
        )
        if scale.size == 1:
            yield (
                stored_table.name,
                QuantizedRows(code_rows, float(scale.flat[0]), int(zero.flat[0])),
            )


def _plain_values(graph_model: onnx.ModelProto, table_names: list[str]) -> Mapping[str, Array]:
    """Values of stored tables, and of those that nodes compute from stored arrays alone."""
    stored_tensors = {
        stored_tensor.name: stored_tensor for stored_tensor in graph_model.graph.initializer
    }
    table_values: dict[str, Array] = {
        table_name: numpy_helper.to_array(stored_tensors[table_name])
        for table_name in table_names
        if table_name in stored_tensors
    }
    producing_nodes = {
        output: graph_node for graph_node in graph_model.graph.node for output in graph_node.output
    }
    widened_names = [
        table_name
        for table_name in dict.fromkeys(table_names)
        if table_name not in stored_tensors and table_name in producing_nodes
    ]
    if widened_names:
        table_values |= zip(
            widened_names,
            _compute_constants(graph_model, widened_names, producing_nodes),
            strict=True,
        )
    return table_values


def _compute_constants(
    graph_model: onnx.ModelProto,
    table_names: list[str],
    producing_nodes: Mapping[str, onnx.NodeProto],
) -> list[Array]:
    """Results of nodes that read stored arrays alone, by ONNX Runtime."""
    stored_tensors = {stored_tensor.name for stored_tensor in graph_model.graph.initializer}
    needed_nodes: set[str] = set()
    read_names: set[str] = set()
    open_names = list(table_names)
    while open_names:
        table_name = open_names.pop()
        if table_name in stored_tensors or not table_name:
            read_names.add(table_name)
        elif table_name not in needed_nodes and table_name in producing_nodes:
            needed_nodes.update(producing_nodes[table_name].output)
            open_names += producing_nodes[table_name].input
    constant_nodes = [
        graph_node for graph_node in graph_model.graph.node if graph_node.output[0] in needed_nodes
    ]
    output_infos = [helper.make_empty_tensor_value_info(table_name) for table_name in table_names]
    constant_tensors = [
        stored_tensor
        for stored_tensor in graph_model.graph.initializer
        if stored_tensor.name in read_names
    ]
    constant_graph = helper.make_graph(
        constant_nodes, CATALOGUE_TABLES, [], output_infos, constant_tensors
    )
    constant_model = helper.make_model(
        constant_graph, opset_imports=graph_model.opset_import, ir_version=graph_model.ir_version
    )
    session_options = onnxruntime.SessionOptions()
    session_options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session_options.log_severity_level, session_options.intra_op_num_threads = 3, 1
    onnx_session = onnxruntime.InferenceSession(
        constant_model.SerializeToString(), session_options, providers=["CPUExecutionProvider"]
    )
    return [np.asarray(result) for result in onnx_session.run(table_names, {})]
