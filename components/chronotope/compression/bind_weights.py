"""Weights put into a graph template: graph inputs become initializers, without a new trace."""

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

Array = npt.NDArray[np.generic]

MAX_FOLDED_INPUT: Final = 8_192
MAX_FOLDED_OUTPUT: Final = 2**18
"""Values of a result of weights alone, such as the exponential of a decay, that is stored."""


def bind_weights(
    template: onnx.ModelProto, weights: Mapping[str, Array], metadata: Mapping[str, str]
) -> onnx.ModelProto:
    """The graph with its weights as initializers.

    Args:
        template: Graph whose weights are inputs; it is not changed.
        weights: Each weight by its name; those that the graph does not read are left out.
        metadata: Metadata of the graph.
    """
    model = onnx.ModelProto()
    model.CopyFrom(template)
    graph = model.graph
    inputs = [graph_input for graph_input in graph.input if graph_input.name not in weights]
    del graph.input[:]
    graph.input.extend(inputs)
    graph.initializer.extend(
        numpy_helper.from_array(np.asarray(weights[name], order="C"), name)  # keeps a scalar one
        for name in sorted(weights.keys() & _read_names(graph.node))
    )
    _fold_weights(model)
    helper.set_model_props(model, dict(metadata))
    return model


def _fold_weights(model: onnx.ModelProto) -> None:
    """Store small results of weights alone, and transposed weights, instead of their nodes.

    A layer's weight is then a constant of its matrix product, as the quantiser requires.
    """
    graph = model.graph
    sizes = {table.name: int(np.prod(table.dims)) for table in graph.initializer}
    arrays = {
        table.name: numpy_helper.to_array(table)
        for table in graph.initializer
        if sizes[table.name] <= MAX_FOLDED_INPUT or _is_transposed(table.name, graph.node)
    }
    folded: dict[str, Array] = {}
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        result = _result(node, arrays)
        if result is None:
            nodes.append(node)
            continue
        folded[node.output[0]] = result
        if result.size <= MAX_FOLDED_INPUT:
            arrays[node.output[0]] = result
    read_names = _read_names(nodes)
    tables = [table for table in graph.initializer if table.name in read_names]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(tables)
    graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in folded.items() if name in read_names
    )


def _is_transposed(table_name: str, nodes: Iterable[onnx.NodeProto]) -> bool:
    return any(node.op_type == "Transpose" and node.input[0] == table_name for node in nodes)


def _result(node: onnx.NodeProto, arrays: Mapping[str, Array]) -> Array | None:
    """Output of a node whose inputs are all known and small; None of any other."""
    names = [name for name in node.input if name]
    if not names or len(node.output) != 1 or not all(name in arrays for name in names):
        return None
    is_small = all(arrays[name].size <= MAX_FOLDED_INPUT for name in names)
    if not (is_small or node.op_type == "Transpose"):
        return None
    inputs = {name: arrays[name] for name in names}
    (output,) = ReferenceEvaluator(node).run(None, inputs)
    result = np.asarray(output)
    return result if result.size <= MAX_FOLDED_OUTPUT else None


def _read_names(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    return {name for node in nodes for name in node.input}
