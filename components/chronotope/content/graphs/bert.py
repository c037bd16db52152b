"""ONNX graph of a BERT encoder (Devlin et al. 2019) from its weights."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from chronotope.content.graphs.graph_builder import GraphBuilder

Weights = Mapping[str, npt.NDArray[np.float32]]

INPUT_IDS: Final = "input_ids"
ATTENTION_MASK: Final = "attention_mask"
LAST_HIDDEN_STATE: Final = "last_hidden_state"

_MASKED: Final = -1e9


@dataclass(frozen=True, slots=True)
class BertShape:
    """Sizes of a BERT encoder.

    Attributes:
        n_layers: Number of layers.
        n_heads: Number of attention heads.
        epsilon: Epsilon of the layer normalisation.
    """

    n_layers: int
    n_heads: int
    epsilon: float = 1e-12


@dataclass(frozen=True, slots=True)
class QuantizedWords:
    """Word embeddings as 4-bit codes with a scale for each block: a quarter of the memory.

    Attributes:
        codes: 0 to 15, uint8, shape (n_words, d); 8 stands for 0.
        scales: Scale of each block of a row, float32, shape (n_words, n_blocks).
    """

    codes: npt.NDArray[np.uint8]
    scales: npt.NDArray[np.float32]


def build_bert(
    weights: Weights, shape: BertShape, quantized_words: QuantizedWords | None = None
) -> bytes:
    """ONNX model: ``input_ids``, ``attention_mask`` (B, T) to ``last_hidden_state`` (B, T, d).

    Args:
        weights: Parameters by the names of the original implementation, such as
            ``encoder.layer.0.attention.self.query.weight``.
        shape: Sizes that the parameters do not show.
        quantized_words: Word embeddings, if they are not among the parameters.
    """
    graph_builder = GraphBuilder()
    words = (
        graph_builder.node(
            "Gather", graph_builder.weight(weights["embeddings.word_embeddings.weight"]), INPUT_IDS
        )
        if quantized_words is None
        else _gather_quantized(graph_builder, quantized_words)
    )
    hidden_states = _embed(graph_builder, weights, words, shape)  # (B, T, d)
    mask = graph_builder.node("Cast", ATTENTION_MASK, to=TensorProto.FLOAT)
    hidden_positions = graph_builder.node(
        "Sub", graph_builder.weight(np.array([1.0], np.float32)), mask
    )
    penalty = graph_builder.node(
        "Mul", hidden_positions, graph_builder.weight(np.array([_MASKED], np.float32))
    )
    penalty = graph_builder.node("Unsqueeze", penalty, graph_builder.integers(1, 2))  # (B, 1, 1, T)
    for layer_idx in range(shape.n_layers):
        prefix = f"encoder.layer.{layer_idx}"
        attended = _attend(
            graph_builder, weights, f"{prefix}.attention", hidden_states, penalty, shape
        )
        hidden_states = _add_and_normalise(
            graph_builder,
            weights,
            f"{prefix}.attention.output.LayerNorm",
            hidden_states,
            attended,
            shape,
        )
        inner = _dense(graph_builder, weights, f"{prefix}.intermediate.dense", hidden_states)
        inner = graph_builder.node("Gelu", inner)
        outer = _dense(graph_builder, weights, f"{prefix}.output.dense", inner)
        hidden_states = _add_and_normalise(
            graph_builder, weights, f"{prefix}.output.LayerNorm", hidden_states, outer, shape
        )
    graph_builder.node("Identity", hidden_states, output=LAST_HIDDEN_STATE)
    dim = weights["embeddings.LayerNorm.weight"].shape[0]
    return graph_builder.to_bytes(
        [(name, TensorProto.INT64, ["B", "T"]) for name in (INPUT_IDS, ATTENTION_MASK)],
        [(LAST_HIDDEN_STATE, TensorProto.FLOAT, ["B", "T", dim])],
    )


def _embed(graph_builder: GraphBuilder, weights: Weights, words: str, shape: BertShape) -> str:
    """Sum of word, position and type embeddings, normalised, shape (B, T, d)."""
    positions_and_type = (
        weights["embeddings.position_embeddings.weight"]
        + weights["embeddings.token_type_embeddings.weight"][0]
    )
    n_tokens = graph_builder.node("Shape", INPUT_IDS, start=1, end=2)
    positions = graph_builder.node(
        "Slice",
        graph_builder.weight(positions_and_type),
        graph_builder.integers(0),
        n_tokens,
        graph_builder.integers(0),
    )  # (T, d)
    return _add_and_normalise(
        graph_builder, weights, "embeddings.LayerNorm", words, positions, shape
    )


def _gather_quantized(graph_builder: GraphBuilder, table: QuantizedWords) -> str:
    """Word embeddings, shape (B, T, d)."""
    n_blocks, dim = table.scales.shape[1], table.codes.shape[1]
    codes = graph_builder.node("Gather", graph_builder.weight(table.codes), INPUT_IDS)
    numbers = graph_builder.node("Cast", codes, to=TensorProto.FLOAT)
    numbers = graph_builder.node("Sub", numbers, graph_builder.weight(np.array([8.0], np.float32)))
    blocks = graph_builder.node(
        "Reshape", numbers, graph_builder.integers(0, 0, n_blocks, dim // n_blocks)
    )
    scales = graph_builder.node("Gather", graph_builder.weight(table.scales), INPUT_IDS)
    scaled = graph_builder.node(
        "Mul", blocks, graph_builder.node("Unsqueeze", scales, graph_builder.integers(3))
    )
    return graph_builder.node("Reshape", scaled, graph_builder.integers(0, 0, dim))


def _attend(
    graph_builder: GraphBuilder,
    weights: Weights,
    prefix: str,
    hidden_states: str,
    penalty: str,
    shape: BertShape,
) -> str:
    """Multi-head self-attention, shape (B, T, d)."""
    dim = weights[f"{prefix}.self.query.bias"].shape[0]
    head_dim = dim // shape.n_heads
    split = graph_builder.integers(0, 0, shape.n_heads, head_dim)

    def heads(projection: str, order: tuple[int, ...]) -> str:
        projected = _dense(graph_builder, weights, f"{prefix}.self.{projection}", hidden_states)
        return graph_builder.node(
            "Transpose", graph_builder.node("Reshape", projected, split), perm=order
        )

    query = heads("query", (0, 2, 1, 3))  # (B, heads, T, d / heads)
    key = heads("key", (0, 2, 3, 1))  # (B, heads, d / heads, T)
    value = heads("value", (0, 2, 1, 3))
    scale = graph_builder.weight(np.array([1 / math.sqrt(head_dim)], np.float32))
    logits = graph_builder.node("Mul", graph_builder.node("MatMul", query, key), scale)
    attention = graph_builder.node("Softmax", graph_builder.node("Add", logits, penalty), axis=-1)
    mixed = graph_builder.node(
        "Transpose", graph_builder.node("MatMul", attention, value), perm=(0, 2, 1, 3)
    )
    joined = graph_builder.node("Reshape", mixed, graph_builder.integers(0, 0, dim))
    return _dense(graph_builder, weights, f"{prefix}.output.dense", joined)


def _dense(graph_builder: GraphBuilder, weights: Weights, prefix: str, inputs: str) -> str:
    product = graph_builder.node(
        "MatMul", inputs, graph_builder.weight(weights[f"{prefix}.weight"].T)
    )
    return graph_builder.node("Add", product, graph_builder.weight(weights[f"{prefix}.bias"]))


def _add_and_normalise(
    graph_builder: GraphBuilder,
    weights: Weights,
    prefix: str,
    left: str,
    right: str,
    shape: BertShape,
) -> str:
    return graph_builder.node(
        "LayerNormalization",
        graph_builder.node("Add", left, right),
        graph_builder.weight(weights[f"{prefix}.weight"]),
        graph_builder.weight(weights[f"{prefix}.bias"]),
        axis=-1,
        epsilon=shape.epsilon,
    )
