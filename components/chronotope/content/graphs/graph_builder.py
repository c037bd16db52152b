"""Building of an ONNX graph node by node."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

_OPSET: Final = 20
_IR_VERSION: Final = 10

TREES_DOMAIN: Final = "ai.onnx.ml"
"""Domain of ONNX's tree ensembles."""

_TREES_OPSET: Final = 3


class GraphBuilder:
    """Nodes and weights of a graph; methods return the names of their results."""

    def __init__(self) -> None:
        """Start an empty graph."""
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[TensorProto] = []

    def weight(self, array: npt.NDArray[Any]) -> str:
        """Add a constant.

        Args:
            array: Its value.
        """
        name = f"w{len(self._weights)}"
        self._weights.append(numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def node(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Add a node with one output.

        Args:
            operator: ONNX operator.
            inputs: Names of its inputs.
            output: Name of its output; made up by default.
            attributes: Attributes of the operator.
        """
        name = output or f"n{len(self._nodes)}"
        self._nodes.append(helper.make_node(operator, inputs, [name], **attributes))
        return name

    def integers(self, *numbers: int) -> str:
        """Add a constant of 64-bit integers, such as a shape."""
        return self.weight(np.array(numbers, dtype=np.int64))

    def to_bytes(
        self,
        inputs: Sequence[tuple[str, int, Sequence[str | int]]],
        outputs: Sequence[tuple[str, int, Sequence[str | int]]],
    ) -> bytes:
        """The model.

        Args:
            inputs: Name, ONNX type and shape of each input.
            outputs: The same of each output.
        """
        graph = helper.make_graph(
            self._nodes,
            "encoder",
            [helper.make_tensor_value_info(*value_info) for value_info in inputs],
            [helper.make_tensor_value_info(*value_info) for value_info in outputs],
            self._weights,
        )
        opsets = [helper.make_opsetid("", _OPSET)]
        if any(node.domain == TREES_DOMAIN for node in self._nodes):
            opsets.append(helper.make_opsetid(TREES_DOMAIN, _TREES_OPSET))
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
        return bytes(model.SerializeToString(deterministic=True))
