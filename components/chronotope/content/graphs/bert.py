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
    weight_arrays: Weights, bert_shape: BertShape, quantized_words: QuantizedWords | None = None
) -> bytes:
    """ONNX model: ``input_ids``, ``attention_mask`` (B, T) to ``last_hidden_state`` (B, T, d).

    Args:
        weight_arrays: Parameters by the names of the original implementation, such as
            ``encoder.layer.0.attention.self.query.weight``.
        bert_shape: Sizes that the parameters do not show.
        quantized_words: Word embeddings, if they are not among the parameters.
    """
    graph_builder = GraphBuilder()
    token_mask = float_mask(graph_builder)
    hidden_states = add_bert(graph_builder, weight_arrays, bert_shape, token_mask, quantized_words)
    graph_builder.node("Identity", hidden_states, output=LAST_HIDDEN_STATE)
    dim = weight_arrays["embeddings.LayerNorm.weight"].shape[0]
    return graph_builder.to_bytes(
        [(name, TensorProto.INT64, ["B", "T"]) for name in (INPUT_IDS, ATTENTION_MASK)],
        [(LAST_HIDDEN_STATE, TensorProto.FLOAT, ["B", "T", dim])],
    )


def float_mask(graph_builder: GraphBuilder) -> str:
    """The attention mask as floating-point numbers, shape (B, T).

    Args:
        graph_builder: The graph, which has an input ``attention_mask``.
    """
    return graph_builder.node("Cast", ATTENTION_MASK, to=TensorProto.FLOAT)


def add_bert(
    graph_builder: GraphBuilder,
    weight_arrays: Weights,
    bert_shape: BertShape,
    token_mask: str,
    quantized_words: QuantizedWords | None = None,
) -> str:
    """Add the encoder to a graph with an input ``input_ids``; returns its states (B, T, d).

    Args:
        graph_builder: The graph.
        weight_arrays: Parameters by the names of the original implementation.
        bert_shape: Sizes that the parameters do not show.
        token_mask: Result of ``float_mask``.
        quantized_words: Word embeddings, if they are not among the parameters.
    """
    word_states = (
        graph_builder.node(
            "Gather",
            graph_builder.weight(weight_arrays["embeddings.word_embeddings.weight"]),
            INPUT_IDS,
        )
        if quantized_words is None
        else _gather_quantized(graph_builder, quantized_words)
    )
    hidden_states = _embed(graph_builder, weight_arrays, word_states, bert_shape)  # (B, T, d)
    hidden_positions = graph_builder.node(
        "Sub", graph_builder.weight(np.array([1.0], np.float32)), token_mask
    )
    mask_penalty = graph_builder.node(
        "Mul", hidden_positions, graph_builder.weight(np.array([_MASKED], np.float32))
    )
    mask_penalty = graph_builder.node(
        "Unsqueeze", mask_penalty, graph_builder.integers(1, 2)
    )  # (B, 1, 1, T)
    for layer_idx in range(bert_shape.n_layers):
        hidden_states = _transform(
            graph_builder, weight_arrays, layer_idx, hidden_states, mask_penalty, bert_shape
        )
    return hidden_states


def _embed(
    graph_builder: GraphBuilder, weight_arrays: Weights, word_states: str, bert_shape: BertShape
) -> str:
    """Sum of word, position and type embeddings, normalised, shape (B, T, d)."""
    positions_and_type = (
        weight_arrays["embeddings.position_embeddings.weight"]
        + weight_arrays["embeddings.token_type_embeddings.weight"][0]
    )
    n_tokens = graph_builder.node("Shape", INPUT_IDS, start=1, end=2)
    position_states = graph_builder.node(
        "Slice",
        graph_builder.weight(positions_and_type),
        graph_builder.integers(0),
        n_tokens,
        graph_builder.integers(0),
    )  # (T, d)
    return _add_and_normalise(
        graph_builder,
        weight_arrays,
        "embeddings.LayerNorm",
        word_states,
        position_states,
        bert_shape,
    )


def _transform(
    graph_builder: GraphBuilder,
    weight_arrays: Weights,
    layer_idx: int,
    hidden_states: str,
    mask_penalty: str,
    bert_shape: BertShape,
) -> str:
    """One layer: attention, then a network at each position, shape (B, T, d)."""
    name_prefix = f"encoder.layer.{layer_idx}"
    attended_states = _attend(
        graph_builder,
        weight_arrays,
        f"{name_prefix}.attention",
        hidden_states,
        mask_penalty,
        bert_shape,
    )
    hidden_states = _add_and_normalise(
        graph_builder,
        weight_arrays,
        f"{name_prefix}.attention.output.LayerNorm",
        hidden_states,
        attended_states,
        bert_shape,
    )
    inner_states = _dense(
        graph_builder, weight_arrays, f"{name_prefix}.intermediate.dense", hidden_states
    )
    inner_states = graph_builder.node("Gelu", inner_states)
    outer_states = _dense(graph_builder, weight_arrays, f"{name_prefix}.output.dense", inner_states)
    return _add_and_normalise(
        graph_builder,
        weight_arrays,
        f"{name_prefix}.output.LayerNorm",
        hidden_states,
        outer_states,
        bert_shape,
    )


def _gather_quantized(graph_builder: GraphBuilder, word_table: QuantizedWords) -> str:
    """Word embeddings, shape (B, T, d)."""
    n_blocks, dim = word_table.scales.shape[1], word_table.codes.shape[1]
    word_codes = graph_builder.node("Gather", graph_builder.weight(word_table.codes), INPUT_IDS)
    centred_codes = graph_builder.node("Cast", word_codes, to=TensorProto.FLOAT)
    centred_codes = graph_builder.node(
        "Sub", centred_codes, graph_builder.weight(np.array([8.0], np.float32))
    )
    code_blocks = graph_builder.node(
        "Reshape", centred_codes, graph_builder.integers(0, 0, n_blocks, dim // n_blocks)
    )
    block_scales = graph_builder.node("Gather", graph_builder.weight(word_table.scales), INPUT_IDS)
    scaled_blocks = graph_builder.node(
        "Mul", code_blocks, graph_builder.node("Unsqueeze", block_scales, graph_builder.integers(3))
    )
    return graph_builder.node("Reshape", scaled_blocks, graph_builder.integers(0, 0, dim))


def _attend(
    graph_builder: GraphBuilder,
    weight_arrays: Weights,
    name_prefix: str,
    hidden_states: str,
    mask_penalty: str,
    bert_shape: BertShape,
) -> str:
    """Multi-head self-attention, shape (B, T, d)."""
    dim = weight_arrays[f"{name_prefix}.self.query.bias"].shape[0]
    head_dim = dim // bert_shape.n_heads
    head_shape = graph_builder.integers(0, 0, bert_shape.n_heads, head_dim)

    def heads(projection: str, axis_order: tuple[int, ...]) -> str:
        projected_states = _dense(
            graph_builder, weight_arrays, f"{name_prefix}.self.{projection}", hidden_states
        )
        return graph_builder.node(
            "Transpose",
            graph_builder.node("Reshape", projected_states, head_shape),
            perm=axis_order,
        )

    query_heads = heads("query", (0, 2, 1, 3))  # (B, heads, T, d / heads)
    key_heads = heads("key", (0, 2, 3, 1))  # (B, heads, d / heads, T)
    value_heads = heads("value", (0, 2, 1, 3))
    logit_scale = graph_builder.weight(np.array([1 / math.sqrt(head_dim)], np.float32))
    attention_logits = graph_builder.node(
        "Mul", graph_builder.node("MatMul", query_heads, key_heads), logit_scale
    )
    attention_shares = graph_builder.node(
        "Softmax", graph_builder.node("Add", attention_logits, mask_penalty), axis=-1
    )
    mixed_values = graph_builder.node(
        "Transpose", graph_builder.node("MatMul", attention_shares, value_heads), perm=(0, 2, 1, 3)
    )
    joined_heads = graph_builder.node("Reshape", mixed_values, graph_builder.integers(0, 0, dim))
    return _dense(graph_builder, weight_arrays, f"{name_prefix}.output.dense", joined_heads)


def _dense(
    graph_builder: GraphBuilder, weight_arrays: Weights, name_prefix: str, inputs: str
) -> str:
    matrix_product = graph_builder.node(
        "MatMul", inputs, graph_builder.weight(weight_arrays[f"{name_prefix}.weight"].T)
    )
    return graph_builder.node(
        "Add", matrix_product, graph_builder.weight(weight_arrays[f"{name_prefix}.bias"])
    )


def _add_and_normalise(
    graph_builder: GraphBuilder,
    weight_arrays: Weights,
    name_prefix: str,
    left_states: str,
    right_states: str,
    bert_shape: BertShape,
) -> str:
    return graph_builder.node(
        "LayerNormalization",
        graph_builder.node("Add", left_states, right_states),
        graph_builder.weight(weight_arrays[f"{name_prefix}.weight"]),
        graph_builder.weight(weight_arrays[f"{name_prefix}.bias"]),
        axis=-1,
        epsilon=bert_shape.epsilon,
    )
