"""Weights put into a graph template: graph inputs become initializers, without a new trace."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from chronotope.artifact.catalogue_tables import (
    CATALOGUE_TABLES,
    CatalogueTable,
    format_tables,
)
from chronotope.artifact.graph_files import append_tensors

Array = npt.NDArray[np.generic]

MAX_FOLDED_VALUES: Final = 1024
"""Values of a result that is stored instead of its weight, such as the exponential of a decay."""

_FOLDED_OPERATORS: Final = ("Exp", "Neg", "Reciprocal")


def bind_weights(
    template: onnx.ModelProto,
    weights: Mapping[str, Array],
    metadata: Mapping[str, str],
    replaceable: Collection[str] = (),
    catalogue_tables: Sequence[CatalogueTable] = (),
) -> onnx.ModelProto:
    """The graph with its weights as initializers.

    Args:
        template: Graph whose weights are inputs; it is not changed.
        weights: Each weight by its name; those that the graph does not read are left out.
        metadata: Metadata of the graph.
        replaceable: Weights that a caller may pass instead; they stay inputs, with a default.
        catalogue_tables: Weights that a new item enlarges; the metadata of the graph lists them,
            also those that are stored transposed.
    """
    model = onnx.ModelProto()
    model.CopyFrom(template)
    graph = model.graph
    read_names = _read_names(graph.node)
    inputs = [
        graph_input
        for graph_input in graph.input
        if graph_input.name not in weights
        or (graph_input.name in replaceable and graph_input.name in read_names)
    ]
    del graph.input[:]
    graph.input.extend(inputs)
    append_tensors(
        graph,
        (
            numpy_helper.from_array(np.asarray(weights[name], order="C"), name)  # keeps a scalar
            for name in sorted(weights.keys() & read_names)
        ),
    )
    stored_tables = _fold_weights(model, {table.name: table for table in catalogue_tables})
    model_properties = dict(metadata)
    if stored_tables:
        model_properties[CATALOGUE_TABLES] = format_tables(stored_tables)
    helper.set_model_props(model, model_properties)
    return model


def _fold_weights(
    model: onnx.ModelProto, catalogue_tables: Mapping[str, CatalogueTable]
) -> list[CatalogueTable]:
    """Store transposed weights, and small results of one weight, instead of the weight.

    A layer's weight is then a constant of its matrix product, as the quantiser requires.

    Args:
        model: The graph, changed in place.
        catalogue_tables: Weights that a new item enlarges, by name.

    Returns:
        Those that the graph stores, under the names and in the order of axes in which it does.
    """
    graph = model.graph
    table_by_name = {table.name: table for table in graph.initializer}
    results: dict[str, Array] = {}
    nodes: list[onnx.NodeProto] = []
    transposed_tables: list[CatalogueTable] = []
    for node in graph.node:
        if _is_folded(node, table_by_name, catalogue_tables):
            weight = numpy_helper.to_array(table_by_name[node.input[0]])
            outputs = list(ReferenceEvaluator(node).run(None, {node.input[0]: weight}))
            results[node.output[0]] = np.asarray(outputs[0], order="C")
            if node.input[0] in catalogue_tables:
                transposed_tables.append(_transposed_table(node, catalogue_tables[node.input[0]]))
        else:
            nodes.append(node)
    read_names = _read_names(nodes)
    tables = [table for table in graph.initializer if table.name in read_names]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    append_tensors(graph, tables)
    append_tensors(
        graph, (numpy_helper.from_array(result, name) for name, result in results.items())
    )
    return [catalogue_tables[table.name] for table in tables if table.name in catalogue_tables] + (
        transposed_tables
    )


def _is_folded(
    node: onnx.NodeProto,
    table_by_name: Mapping[str, onnx.TensorProto],
    catalogue_tables: Collection[str],
) -> bool:
    if len(node.input) != 1 or node.input[0] not in table_by_name:
        return False
    n_values = int(np.prod(table_by_name[node.input[0]].dims))
    is_small = node.op_type in _FOLDED_OPERATORS and n_values <= MAX_FOLDED_VALUES
    # the result would have to grow with the catalogue
    is_small = is_small and node.input[0] not in catalogue_tables
    return node.op_type == "Transpose" or is_small


def _transposed_table(node: onnx.NodeProto, table: CatalogueTable) -> CatalogueTable:
    """Where the result of a transposition has the axis that grows."""
    axis_order = next(
        (list(entry.ints) for entry in node.attribute if entry.name == "perm"), [1, 0]
    )
    return replace(table, name=node.output[0], axis=axis_order.index(table.axis))


def _read_names(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    return {name for node in nodes for name in node.input}
