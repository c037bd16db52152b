"""ONNX graphs from the features of events to their anomaly scores.

The graphs hold everything that turns raw features into a score, so that the file that was evaluated
is the file that answers. They are written node by node: tracing a network takes seconds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import TensorProto

from chronotope.anomalies.detector import INPUT_NAME, OUTPUT_NAME
from chronotope.content.graphs.graph_builder import TREES_DOMAIN, GraphBuilder
from chronotope.contracts.event_log import Float32
from chronotope.models.anomaly.dense_layers import DenseLayer


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
        value_spread = values.std(axis=0, dtype=np.float64)
        value_spread = np.where(value_spread > 1e-6, value_spread, 1.0)
        return cls(
            values.mean(axis=0, dtype=np.float64).astype(np.float32),
            value_spread.astype(np.float32),
            max_deviations,
        )

    def apply(self, values: Float32) -> Float32:
        """Clipped deviations, shape (n, n_features)."""
        deviations_node = (values - self.mean) / self.spread
        clipped: Float32 = np.clip(deviations_node, -self.max_deviations, self.max_deviations)
        return clipped


class ScoreGraph(GraphBuilder):
    """Graph from the features of events to their scores, under construction."""

    def standardised(self, standardisation: Standardisation) -> str:
        """Clipped deviations of the input features."""
        centred_node = self.node("Sub", INPUT_NAME, self.weight(standardisation.mean))
        deviations_node = self.node("Div", centred_node, self.weight(standardisation.spread))
        deviation_bound = np.float32(standardisation.max_deviations)
        low, high = (self.weight(np.array(limit)) for limit in (-deviation_bound, deviation_bound))
        return self.node("Clip", deviations_node, low, high)

    def dense(self, input_name: str, layers: Sequence[DenseLayer]) -> str:
        """Layers one after the other."""
        for dense_layer in layers:
            weight, bias = self.weight(dense_layer.weight), self.weight(dense_layer.bias)
            input_name = self.node("Gemm", input_name, weight, bias, transB=1)
            if dense_layer.activation == "silu":
                input_name = self.node("Mul", input_name, self.node("Sigmoid", input_name))
            elif dense_layer.activation == "leaky_relu":
                input_name = self.node("LeakyRelu", input_name, alpha=0.1)
        return input_name

    def row_mean(self, input_name: str) -> str:
        """Mean over the columns, shape (n,)."""
        return self.node("ReduceMean", input_name, self.integers(1), keepdims=0)

    def squared_error(self, deviations_node: str, reconstruction_node: str) -> str:
        """Mean squared difference over the columns, shape (n,)."""
        residual_node = self.node("Sub", deviations_node, reconstruction_node)
        return self.row_mean(self.node("Mul", residual_node, residual_node))

    def weighted(self, input_name: str, weight: float) -> str:
        """Values times a constant."""
        return self.node("Mul", input_name, self.weight(np.array(weight, dtype=np.float32)))

    def serialized(self, score_node: str, n_features: int) -> bytes:
        """The graph from ``features`` to ``score``."""
        self.node("Identity", score_node, output=OUTPUT_NAME)
        return self.to_bytes(
            [(INPUT_NAME, TensorProto.FLOAT, ("n", n_features))],
            [(OUTPUT_NAME, TensorProto.FLOAT, ("n",))],
        )


def autoencoder_graph(standardisation: Standardisation, layers: Sequence[DenseLayer]) -> bytes:
    """Mean squared error of a reconstruction.

    Args:
        standardisation: Scaling of the features.
        layers: Encoder and decoder.
    """
    score_graph = ScoreGraph()
    deviations_node = score_graph.standardised(standardisation)
    score_node = score_graph.squared_error(
        deviations_node, score_graph.dense(deviations_node, layers)
    )
    return score_graph.serialized(score_node, len(standardisation.mean))


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
    score_graph = ScoreGraph()
    deviations_node = score_graph.standardised(standardisation)
    code_node = score_graph.dense(deviations_node, layers.encoder)
    reconstruction_node = score_graph.dense(code_node, layers.generator)
    judged_nodes = [
        score_graph.dense(
            score_graph.node("Concat", features, code_node, axis=1), layers.judge_features
        )
        for features in (deviations_node, reconstruction_node)
    ]
    distance_node = score_graph.row_mean(
        score_graph.node("Abs", score_graph.node("Sub", *judged_nodes))
    )
    error_node = score_graph.squared_error(deviations_node, reconstruction_node)
    score_node = score_graph.node(
        "Add",
        score_graph.weighted(error_node, 1 - discriminator_weight),
        score_graph.weighted(distance_node, discriminator_weight),
    )
    return score_graph.serialized(score_node, len(standardisation.mean))


def column_graph() -> bytes:
    """The value of one feature."""
    score_graph = ScoreGraph()
    return score_graph.serialized(
        score_graph.node("Squeeze", INPUT_NAME, score_graph.integers(1)), 1
    )


def trees_graph(node_columns: Mapping[str, Any], baseline: float, n_features: int) -> bytes:
    """Sum of the leaves of an ensemble of trees.

    Args:
        node_columns: Attributes of ONNX's TreeEnsembleRegressor, by name.
        baseline: Score before the first tree.
        n_features: Number of features.
    """
    score_graph = ScoreGraph()
    leaf_total = score_graph.node(
        "TreeEnsembleRegressor",
        INPUT_NAME,
        domain=TREES_DOMAIN,
        n_targets=1,
        base_values=[baseline],
        post_transform="NONE",
        **node_columns,
    )  # (n, 1)
    return score_graph.serialized(
        score_graph.node("Squeeze", leaf_total, score_graph.integers(1)), n_features
    )
