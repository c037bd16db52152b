"""Weights put into a graph template: graph inputs become initializers, without a new trace."""

from collections.abc import Collection, Iterable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

Array = npt.NDArray[np.generic]

MAX_FOLDED_VALUES: Final = 1024
"""Values of a result that is stored instead of its weight, such as the exponential of a decay."""

_FOLDED_OPERATORS: Final = ("Exp", "Neg", "Reciprocal")


def bind_weights(
    template: onnx.ModelProto,
    weights: Mapping[str, Array],
    metadata: Mapping[str, str],
    replaceable: Collection[str] = (),
) -> onnx.ModelProto:
    """The graph with its weights as initializers.

    Args:
        template: Graph whose weights are inputs; it is not changed.
        weights: Each weight by its name; those that the graph does not read are left out.
        metadata: Metadata of the graph.
        replaceable: Weights that a caller may pass instead; they stay inputs, with a default.
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
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(weights[name], order="C"), name)  # keeps a scalar one
        for name in sorted(weights.keys() & read_names)
    )
    _fold_weights(model)
    helper.set_model_props(model, dict(metadata))
    return model


def _fold_weights(model: onnx.ModelProto) -> None:
    """Store transposed weights, and small results of one weight, instead of the weight.

    A layer's weight is then a constant of its matrix product, as the quantiser requires.
    """
    graph = model.graph
    table_by_name = {table.name: table for table in graph.initializer}
    results: dict[str, Array] = {}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        if _is_folded(node, table_by_name):
            weight = numpy_helper.to_array(table_by_name[node.input[0]])
            outputs = list(ReferenceEvaluator(node).run(None, {node.input[0]: weight}))
            results[node.output[0]] = np.asarray(outputs[0], order="C")
        else:
            nodes.append(node)
    read_names = _read_names(nodes)
    tables = [table for table in graph.initializer if table.name in read_names]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(tables)
    graph.initializer.extend(
        numpy_helper.from_array(result, name) for name, result in results.items()
    )


def _is_folded(node: onnx.NodeProto, table_by_name: Mapping[str, onnx.TensorProto]) -> bool:
    if len(node.input) != 1 or node.input[0] not in table_by_name:
        return False
    n_values = int(np.prod(table_by_name[node.input[0]].dims))
    is_small = node.op_type in _FOLDED_OPERATORS and n_values <= MAX_FOLDED_VALUES
    return node.op_type == "Transpose" or is_small


def _read_names(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    return {name for node in nodes for name in node.input}
