"""ONNX graphs from the features of events to their anomaly scores.

The graphs hold everything that turns raw features into a score, so that the file that was evaluated
is the file that answers. They are written node by node: tracing a network takes seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from chronotope.contracts.event_log import Float32

INPUT_NAME: Final = "features"
OUTPUT_NAME: Final = "score"
_OPSET: Final = 18
_ML_OPSET: Final = 3
_IR_VERSION: Final = 10


@dataclass(frozen=True, slots=True)
class DenseLayer:
    """A linear layer and its activation.

    Attributes:
        weight: Shape (n_outputs, n_inputs).
        bias: Shape (n_outputs,).
        activation: ``silu``, ``leaky_relu`` or ``none``.
    """

    weight: Float32
    bias: Float32
    activation: str


@dataclass(frozen=True, slots=True)
class Standardisation:
    """Scaling of features to deviations of the training events.

    Attributes:
        mean: Shape (n_features,).
        spread: Standard deviation, shape (n_features,).
        max_deviations: Bound of the deviations.
    """

    mean: Float32
    spread: Float32
    max_deviations: float

    @classmethod
    def of(cls, values: Float32, max_deviations: float) -> "Standardisation":
        """Mean and spread of training events; a constant feature keeps its unit.

        Args:
            values: Features, shape (n, n_features).
            max_deviations: Bound of the deviations.
        """
        spread = values.std(axis=0, dtype=np.float64)
        spread = np.where(spread > 1e-6, spread, 1.0)
        return cls(
            values.mean(axis=0, dtype=np.float64).astype(np.float32),
            spread.astype(np.float32),
            max_deviations,
        )

    def apply(self, values: Float32) -> Float32:
        """Clipped deviations, shape (n, n_features)."""
        deviations = (values - self.mean) / self.spread
        clipped: Float32 = np.clip(deviations, -self.max_deviations, self.max_deviations)
        return clipped


@dataclass(slots=True)
class GraphBuilder:
    """Nodes and constants of a graph under construction."""

    nodes: list[onnx.NodeProto] = field(default_factory=list)
    constants: list[onnx.TensorProto] = field(default_factory=list)

    def add(self, operator: str, inputs: Sequence[str], **attributes: Any) -> str:
        """Append a node; returns the name of its output."""
        output_name = f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [output_name], **attributes))
        return output_name

    def constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        """Append a constant; returns its name."""
        constant_name = f"constant_{len(self.constants)}"
        array = np.asarray(value, dtype=dtype)
        self.constants.append(numpy_helper.from_array(array, constant_name))
        return constant_name

    def standardised(self, standardisation: Standardisation) -> str:
        """Clipped deviations of the input features."""
        centred = self.add("Sub", [INPUT_NAME, self.constant(standardisation.mean)])
        deviations = self.add("Div", [centred, self.constant(standardisation.spread)])
        bound = standardisation.max_deviations
        return self.add("Clip", [deviations, self.constant(-bound), self.constant(bound)])

    def dense(self, input_name: str, layers: Sequence[DenseLayer]) -> str:
        """Layers one after the other."""
        for layer in layers:
            weight, bias = self.constant(layer.weight), self.constant(layer.bias)
            input_name = self.add("Gemm", [input_name, weight, bias], transB=1)
            if layer.activation == "silu":
                input_name = self.add("Mul", [input_name, self.add("Sigmoid", [input_name])])
            elif layer.activation == "leaky_relu":
                input_name = self.add("LeakyRelu", [input_name], alpha=0.1)
        return input_name

    def row_mean(self, input_name: str) -> str:
        """Mean over the columns, shape (n,)."""
        axis = self.constant([1], np.int64)
        return self.add("ReduceMean", [input_name, axis], keepdims=0)

    def serialized(self, output_name: str, n_features: int) -> bytes:
        """The checked graph from ``features`` to ``score``."""
        self.nodes.append(helper.make_node("Identity", [output_name], [OUTPUT_NAME]))
        graph = helper.make_graph(
            self.nodes,
            "anomaly_score",
            [helper.make_tensor_value_info(INPUT_NAME, TensorProto.FLOAT, ["n", n_features])],
            [helper.make_tensor_value_info(OUTPUT_NAME, TensorProto.FLOAT, ["n"])],
            self.constants,
        )
        opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)]
        model = helper.make_model(graph, opset_imports=opsets, ir_version=_IR_VERSION)
        onnx.checker.check_model(model)
        return bytes(model.SerializeToString())


def autoencoder_graph(standardisation: Standardisation, layers: Sequence[DenseLayer]) -> bytes:
    """Mean squared error of a reconstruction.

    Args:
        standardisation: Scaling of the features.
        layers: Encoder and decoder.
    """
    builder = GraphBuilder()
    deviations = builder.standardised(standardisation)
    score = _squared_error(builder, deviations, builder.dense(deviations, layers))
    return builder.serialized(score, len(standardisation.mean))


@dataclass(frozen=True, slots=True)
class BiganLayers:
    """Layers of a trained GAN.

    Attributes:
        encoder: Features to code.
        generator: Code to features.
        judge_features: Discriminator up to its last hidden layer.
    """

    encoder: tuple[DenseLayer, ...]
    generator: tuple[DenseLayer, ...]
    judge_features: tuple[DenseLayer, ...]


def bigan_graph(
    standardisation: Standardisation, layers: BiganLayers, discriminator_weight: float
) -> bytes:
    """Error of G(E(x)), and distance of x and G(E(x)) in the discriminator's features.

    Args:
        standardisation: Scaling of the features.
        layers: The trained networks.
        discriminator_weight: Weight of the distance; that of the error is 1 minus it.
    """
    builder = GraphBuilder()
    deviations = builder.standardised(standardisation)
    code = builder.dense(deviations, layers.encoder)
    reconstruction = builder.dense(code, layers.generator)
    error = _squared_error(builder, deviations, reconstruction)
    judged = [
        builder.dense(builder.add("Concat", [pair, code], axis=1), layers.judge_features)
        for pair in (deviations, reconstruction)
    ]
    distance = builder.row_mean(builder.add("Abs", [builder.add("Sub", judged)]))
    weights = builder.constant(1 - discriminator_weight), builder.constant(discriminator_weight)
    score = builder.add(
        "Add",
        [builder.add("Mul", [error, weights[0]]), builder.add("Mul", [distance, weights[1]])],
    )
    return builder.serialized(score, len(standardisation.mean))


def trees_graph(
    node_columns: Mapping[str, Sequence[Any]], baseline: float, n_features: int
) -> bytes:
    """Sum of the leaves of an ensemble of trees.

    Args:
        node_columns: Attributes of ONNX's TreeEnsembleRegressor, by name.
        baseline: Score before the first tree.
        n_features: Number of features.
    """
    builder = GraphBuilder()
    total = builder.add(
        "TreeEnsembleRegressor",
        [INPUT_NAME],
        domain="ai.onnx.ml",
        n_targets=1,
        base_values=[baseline],
        post_transform="NONE",
        **node_columns,
    )  # (n, 1)
    score = builder.add("Squeeze", [total, builder.constant([1], np.int64)])
    return builder.serialized(score, n_features)


def _squared_error(builder: GraphBuilder, deviations: str, reconstruction: str) -> str:
    residual = builder.add("Sub", [deviations, reconstruction])
    return builder.row_mean(builder.add("Mul", [residual, residual]))
