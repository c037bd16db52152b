"""Weights put into a graph template: graph inputs become initializers, without a new trace."""

from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
from onnx import helper, numpy_helper

Array = npt.NDArray[np.generic]

MAX_FOLDED_VALUES: Final = 1024
"""Values of a result that is stored in place of its weight, such as the exponential of a decay."""

_FOLDED_OPERATORS: Final = ("Exp", "Neg", "Reciprocal")


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
        numpy_helper.from_array(np.ascontiguousarray(weights[name]), name)
        for name in sorted(weights.keys() & _read_names(graph.node))
    )
    _fold_weights(model)
    helper.set_model_props(model, dict(metadata))
    return model


def _fold_weights(model: onnx.ModelProto) -> None:
    """Store transposed weights, and small results of one weight, in place of the weight.

    A layer's weight is then a constant of its matrix product, as the quantiser requires.
    """
    graph = model.graph
    table_sizes = {table.name: int(np.prod(table.dims)) for table in graph.initializer}
    folded_nodes = [node for node in graph.node if _is_folded(node, table_sizes)]
    if not folded_nodes:
        return
    tables = [*graph.initializer, *_compute(folded_nodes, model)]
    folded_names = {node.output[0] for node in folded_nodes}
    nodes = [node for node in graph.node if node.output[0] not in folded_names]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    read_names = _read_names(nodes)
    graph.initializer.extend(table for table in tables if table.name in read_names)


def _is_folded(node: onnx.NodeProto, table_sizes: Mapping[str, int]) -> bool:
    if len(node.input) != 1 or node.input[0] not in table_sizes:
        return False
    is_small = table_sizes[node.input[0]] <= MAX_FOLDED_VALUES
    return node.op_type == "Transpose" or (node.op_type in _FOLDED_OPERATORS and is_small)


def _compute(nodes: Sequence[onnx.NodeProto], model: onnx.ModelProto) -> list[onnx.TensorProto]:
    """Outputs of nodes that read initializers alone."""
    output_names, read_names = [node.output[0] for node in nodes], _read_names(nodes)
    graph = helper.make_graph(
        nodes,
        "weights",
        [],
        [onnx.ValueInfoProto(name=output_name) for output_name in output_names],
        [table for table in model.graph.initializer if table.name in read_names],
    )
    weights_model = helper.make_model(
        graph, opset_imports=model.opset_import, ir_version=model.ir_version
    )
    session_options = onnxruntime.SessionOptions()
    session_options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        weights_model.SerializeToString(), session_options, providers=["CPUExecutionProvider"]
    )
    outputs: list[Array] = session.run(output_names, {})
    return [
        numpy_helper.from_array(output, output_name)
        for output_name, output in zip(output_names, outputs, strict=True)
    ]


def _read_names(nodes: Sequence[onnx.NodeProto]) -> set[str]:
    return {name for node in nodes for name in node.input}
