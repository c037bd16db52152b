"""ONNX graph of a text classifier: a BERT encoder and TF-IDF terms, added in one output layer."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from chronotope.content.graphs.bert import (
    ATTENTION_MASK,
    INPUT_IDS,
    BertShape,
    add_bert,
    float_mask,
)
from chronotope.content.graphs.graph_builder import GraphBuilder

TERM_IDS: Final = "term_ids"
TERM_WEIGHTS: Final = "term_weights"
PROBABILITIES: Final = "probabilities"

_EPSILON: Final = 1e-5

Array = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ClassifierWeights:
    """Weights of a text classifier.

    Attributes:
        bert: Parameters of the encoder by BERT's names.
        bert_shape: Its layers and heads.
        deep: Output weights of the encoder, shape (n_labels, d).
        bias: Shape (n_labels,).
        terms: Output weights of the terms, shape (n_terms, n_labels).
    """

    bert: Mapping[str, Array]
    bert_shape: BertShape
    deep: Array
    bias: Array
    terms: Array


def build_text_classifier(weights: ClassifierWeights, temperature: float = 1.0) -> bytes:
    """ONNX model: tokens (B, T) and terms (B, K) to probabilities (B, n_labels).

    Args:
        weights: Weights of the classifier.
        temperature: Divisor of the logits, from the calibration.
    """
    graph_builder = GraphBuilder()
    token_mask = float_mask(graph_builder)  # (B, T)
    hidden_states = add_bert(graph_builder, weights.bert, weights.bert_shape, token_mask)
    pooled_states = _mean_of_tokens(graph_builder, hidden_states, token_mask)
    n_dims = weights.deep.shape[1]
    pooled_states = graph_builder.node(
        "LayerNormalization",
        pooled_states,
        graph_builder.weight(np.ones(n_dims, np.float32)),
        graph_builder.weight(np.zeros(n_dims, np.float32)),
        axis=-1,
        epsilon=_EPSILON,
    )
    logit_scale = np.float32(1 / temperature)
    deep_logits = graph_builder.node(
        "Gemm",
        pooled_states,
        graph_builder.weight(weights.deep.T * logit_scale),
        graph_builder.weight(weights.bias * logit_scale),
    )
    term_rows = graph_builder.node(
        "Gather", graph_builder.weight(weights.terms * logit_scale), TERM_IDS
    )
    weighted_rows = graph_builder.node(
        "Mul",
        term_rows,
        graph_builder.node("Unsqueeze", TERM_WEIGHTS, graph_builder.integers(2)),
    )  # (B, K, n_labels)
    wide_logits = graph_builder.node(
        "ReduceSum", weighted_rows, graph_builder.integers(1), keepdims=0
    )
    label_logits = graph_builder.node("Add", deep_logits, wide_logits)
    graph_builder.node("Softmax", label_logits, output=PROBABILITIES, axis=-1)
    return graph_builder.to_bytes(
        [
            (INPUT_IDS, TensorProto.INT64, ["B", "T"]),
            (ATTENTION_MASK, TensorProto.INT64, ["B", "T"]),
            (TERM_IDS, TensorProto.INT64, ["B", "K"]),
            (TERM_WEIGHTS, TensorProto.FLOAT, ["B", "K"]),
        ],
        [(PROBABILITIES, TensorProto.FLOAT, ["B", len(weights.bias)])],
    )


def _mean_of_tokens(graph_builder: GraphBuilder, hidden_states: str, token_mask: str) -> str:
    """Mean of the states where the mask is 1, shape (B, d)."""
    column_mask = graph_builder.node("Unsqueeze", token_mask, graph_builder.integers(2))
    state_sum = graph_builder.node(
        "ReduceSum",
        graph_builder.node("Mul", hidden_states, column_mask),
        graph_builder.integers(1),
        keepdims=0,
    )
    n_tokens = graph_builder.node("ReduceSum", token_mask, graph_builder.integers(1), keepdims=1)
    return graph_builder.node("Div", state_sum, n_tokens)
