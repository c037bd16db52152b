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
        name: Name in the graph.
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
        numbers: npt.NDArray[np.float32] = (
            self.stored.astype(np.float32) - self.zero
        ) * np.float32(self.scale)
        return numbers

    def encode(self, values: Array) -> Array:
        """Values in the table's own type; those beyond its range are clipped."""
        limits = np.iinfo(self.stored.dtype.name)
        steps = np.rint(values.astype(np.float64) / self.scale) + self.zero
        codes: Array = np.clip(steps, limits.min, limits.max).astype(self.stored.dtype)
        return codes


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
        values: dict[str, Array] = {}
        for table in sorted(self.tables, key=lambda table: table.name in self.plain):
            plain = self.plain.get(table.name)
            stored = self.quantized[table.name].values() if plain is None else plain
            values[table.source] = np.moveaxis(stored, table.axis, 0)
        return values

    def n_rows(self, table: CatalogueTable) -> int:
        """Size of the growing axis of a table.

        Args:
            table: One of ``tables``.
        """
        plain = self.plain.get(table.name)
        values = self.quantized[table.name].stored if plain is None else plain
        return int(values.shape[table.axis])

    def with_rows(self, rows: Mapping[str, Array]) -> dict[str, Array]:
        """Stored arrays with further rows, by their names in the graph.

        Args:
            rows: Rows by the name of the network's table, the growing axis first.
        """
        arrays: dict[str, Array] = {}
        for table in self.tables:
            new_rows = np.moveaxis(rows[table.source], 0, table.axis)
            if table.name in self.plain:
                values = self.plain[table.name]
                arrays[table.name] = np.concatenate(
                    [values, new_rows.astype(values.dtype)], axis=table.axis
                )
            if table.name in self.quantized:
                form = self.quantized[table.name]
                arrays[f"{table.name}{QUANTIZED}"] = np.concatenate(
                    [form.stored, form.encode(new_rows)], axis=table.axis
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
    entries = [[table.name, table.source, table.size_name, table.axis] for table in tables]
    return json.dumps(sorted(entries), separators=(",", ":"))


def parse_tables(model: onnx.ModelProto) -> tuple[CatalogueTable, ...]:
    """Tables that a graph's metadata lists; none in a graph of an earlier version.

    Args:
        model: The graph.
    """
    metadata = {entry.key: entry.value for entry in model.metadata_props}
    entries = json.loads(metadata.get(CATALOGUE_TABLES, "[]"))
    return tuple(CatalogueTable(*entry) for entry in entries)


def part_of_table(tensor_name: str, table_names: Collection[str]) -> bool:
    """Whether a stored array is one of these tables, or its quantised form, scale or zero.

    Args:
        tensor_name: Name of the stored array.
        table_names: Names of tables.
    """
    endings = ("", QUANTIZED, "_scale", "_zero_point")
    return any(
        tensor_name.endswith(ending) and tensor_name.removesuffix(ending) in table_names
        for ending in endings
    )


def read_tables(model: onnx.ModelProto) -> StoredTables:
    """Stored forms of the tables that the metadata of a graph lists.

    Args:
        model: The graph.

    Raises:
        ArtifactError: A table is stored in a form that is not known here.
    """
    tables = parse_tables(model)
    stored = StoredTables(
        tables,
        _plain_values(model, [table.name for table in tables]),
        dict(_quantized_tables(model, tables)),
    )
    for table in tables:
        if table.name not in stored.plain and table.name not in stored.quantized:
            raise ArtifactError(
                "A table of this bundle is stored in a form that cannot take new items",
                received=f"{table.source}, packed in codes",
                way_out="Train again with the items, or leave int4_gather and pq_gather out of "
                "compression.variants",
            )
    return stored


def _quantized_tables(
    model: onnx.ModelProto, tables: Iterable[CatalogueTable]
) -> Iterator[tuple[str, QuantizedRows]]:
    """Names and int8 forms of the tables that quantised operators read."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    for table in tables:
        part_names = [f"{table.name}{ending}" for ending in (QUANTIZED, "_scale", "_zero_point")]
        if not all(name in stored for name in part_names):
            continue
        rows, scale, zero = (numpy_helper.to_array(stored[name]) for name in part_names)
        if scale.size == 1:
            yield table.name, QuantizedRows(rows, float(scale.flat[0]), int(zero.flat[0]))


def _plain_values(model: onnx.ModelProto, names: list[str]) -> Mapping[str, Array]:
    """Values of stored tables, and of those that nodes compute from stored arrays alone."""
    stored = {tensor.name: tensor for tensor in model.graph.initializer}
    values: dict[str, Array] = {
        name: numpy_helper.to_array(stored[name]) for name in names if name in stored
    }
    producers = {output: node for node in model.graph.node for output in node.output}
    widened = [name for name in dict.fromkeys(names) if name not in stored and name in producers]
    if widened:
        values |= zip(widened, _compute_constants(model, widened, producers), strict=True)
    return values


def _compute_constants(
    model: onnx.ModelProto, names: list[str], producers: Mapping[str, onnx.NodeProto]
) -> list[Array]:
    """Results of nodes that read stored arrays alone, by ONNX Runtime."""
    stored = {tensor.name for tensor in model.graph.initializer}
    needed_nodes: set[str] = set()
    read_names: set[str] = set()
    open_names = list(names)
    while open_names:
        name = open_names.pop()
        if name in stored or not name:
            read_names.add(name)
        elif name not in needed_nodes and name in producers:
            needed_nodes.update(producers[name].output)
            open_names += producers[name].input
    nodes = [node for node in model.graph.node if node.output[0] in needed_nodes]
    outputs = [helper.make_empty_tensor_value_info(name) for name in names]
    tensors = [tensor for tensor in model.graph.initializer if tensor.name in read_names]
    graph = helper.make_graph(nodes, CATALOGUE_TABLES, [], outputs, tensors)
    part = helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level, options.intra_op_num_threads = 3, 1
    session = onnxruntime.InferenceSession(
        part.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return [np.asarray(result) for result in session.run(names, {})]
