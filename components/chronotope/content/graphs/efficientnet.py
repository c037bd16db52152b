"""ONNX graph of EfficientNet-lite0 (Tan and Le 2019) from its weights.

The lite variant has no squeeze-and-excitation, and ReLU6 in place of swish. Strided convolutions
pad as TensorFlow's ``SAME``: more behind than before.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np
import numpy.typing as npt
from onnx import TensorProto

from chronotope.content.graphs.graph_builder import GraphBuilder

Weights = Mapping[str, npt.NDArray[np.float32]]

IMAGES: Final = "images"
FEATURES: Final = "features"
IMAGE_SIZE: Final = 224
DIM: Final = 1280

_EPSILON: Final = 1e-3
_STRIDED_BLOCKS: Final = (1, 3, 5, 11)
_N_BLOCKS: Final = 16


def build_efficientnet(weights: Weights) -> bytes:
    """ONNX model: ``images`` (B, 3, 224, 224), normalised, to ``features`` (B, 1280).

    Args:
        weights: Parameters by the names of the original implementation.
    """
    graph_builder = GraphBuilder()
    hidden_states = _convolve(graph_builder, weights, "_conv_stem", "_bn0", IMAGES, stride=2)
    for block_idx in range(_N_BLOCKS):
        hidden_states = _block(
            graph_builder, weights, f"_blocks.{block_idx}", hidden_states, block_idx
        )
    hidden_states = _convolve(graph_builder, weights, "_conv_head", "_bn1", hidden_states)
    pooled = graph_builder.node("GlobalAveragePool", hidden_states)
    graph_builder.node("Flatten", pooled, output=FEATURES, axis=1)
    return graph_builder.to_bytes(
        [(IMAGES, TensorProto.FLOAT, ["B", 3, IMAGE_SIZE, IMAGE_SIZE])],
        [(FEATURES, TensorProto.FLOAT, ["B", DIM])],
    )


def _block(
    graph_builder: GraphBuilder, weights: Weights, prefix: str, inputs: str, block_idx: int
) -> str:
    """Inverted residual block."""
    hidden_states = inputs
    if f"{prefix}._expand_conv.weight" in weights:
        hidden_states = _convolve(
            graph_builder, weights, f"{prefix}._expand_conv", f"{prefix}._bn0", hidden_states
        )
    stride = 2 if block_idx in _STRIDED_BLOCKS else 1
    hidden_states = _convolve(
        graph_builder,
        weights,
        f"{prefix}._depthwise_conv",
        f"{prefix}._bn1",
        hidden_states,
        stride=stride,
    )
    hidden_states = _convolve(
        graph_builder,
        weights,
        f"{prefix}._project_conv",
        f"{prefix}._bn2",
        hidden_states,
        activated=False,
    )
    first_kernel = weights.get(
        f"{prefix}._expand_conv.weight", weights[f"{prefix}._depthwise_conv.weight"]
    )
    n_in = (
        first_kernel.shape[1] if f"{prefix}._expand_conv.weight" in weights else len(first_kernel)
    )
    n_out = len(weights[f"{prefix}._project_conv.weight"])
    return (
        graph_builder.node("Add", hidden_states, inputs)
        if stride == 1 and n_in == n_out
        else hidden_states
    )


def _convolve(
    graph_builder: GraphBuilder,
    weights: Weights,
    kernel_name: str,
    norm_name: str,
    inputs: str,
    *,
    stride: int = 1,
    activated: bool = True,
) -> str:
    """Convolution with its batch normalisation folded in, then ReLU6."""
    kernel = weights[f"{kernel_name}.weight"]
    variance = weights[f"{norm_name}.running_var"] + np.float32(_EPSILON)
    scale = weights[f"{norm_name}.weight"] / np.sqrt(variance)
    shift = weights[f"{norm_name}.bias"] - weights[f"{norm_name}.running_mean"] * scale
    size = kernel.shape[-1]
    hidden_states = graph_builder.node(
        "Conv",
        inputs,
        graph_builder.weight(kernel * scale[:, None, None, None]),
        graph_builder.weight(shift),
        kernel_shape=[size, size],
        strides=[stride, stride],
        auto_pad="SAME_UPPER",
        group=len(kernel) if "depthwise" in kernel_name else 1,
    )
    if not activated:
        return hidden_states
    bounds = [graph_builder.weight(np.array(bound, np.float32)) for bound in (0.0, 6.0)]
    return graph_builder.node("Clip", hidden_states, *bounds)
