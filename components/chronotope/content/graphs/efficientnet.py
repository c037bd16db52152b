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


def build_efficientnet(weight_arrays: Weights) -> bytes:
    """ONNX model: ``images`` (B, 3, 224, 224), normalised, to ``features`` (B, 1280).

    Args:
        weight_arrays: Parameters by the names of the original implementation.
    """
    graph_builder = GraphBuilder()
    hidden_states = _convolve(graph_builder, weight_arrays, "_conv_stem", "_bn0", IMAGES, stride=2)
    for block_idx in range(_N_BLOCKS):
        hidden_states = _block(
            graph_builder, weight_arrays, f"_blocks.{block_idx}", hidden_states, block_idx
        )
    hidden_states = _convolve(graph_builder, weight_arrays, "_conv_head", "_bn1", hidden_states)
    pooled_states = graph_builder.node("GlobalAveragePool", hidden_states)
    graph_builder.node("Flatten", pooled_states, output=FEATURES, axis=1)
    return graph_builder.to_bytes(
        [(IMAGES, TensorProto.FLOAT, ["B", 3, IMAGE_SIZE, IMAGE_SIZE])],
        [(FEATURES, TensorProto.FLOAT, ["B", DIM])],
    )


def _block(
    graph_builder: GraphBuilder,
    weight_arrays: Weights,
    name_prefix: str,
    inputs: str,
    block_idx: int,
) -> str:
    """Inverted residual block."""
    hidden_states = inputs
    if f"{name_prefix}._expand_conv.weight" in weight_arrays:
        hidden_states = _convolve(
            graph_builder,
            weight_arrays,
            f"{name_prefix}._expand_conv",
            f"{name_prefix}._bn0",
            hidden_states,
        )
    stride = 2 if block_idx in _STRIDED_BLOCKS else 1
    hidden_states = _convolve(
        graph_builder,
        weight_arrays,
        f"{name_prefix}._depthwise_conv",
        f"{name_prefix}._bn1",
        hidden_states,
        stride=stride,
    )
    hidden_states = _convolve(
        graph_builder,
        weight_arrays,
        f"{name_prefix}._project_conv",
        f"{name_prefix}._bn2",
        hidden_states,
        activated=False,
    )
    first_kernel = weight_arrays.get(
        f"{name_prefix}._expand_conv.weight", weight_arrays[f"{name_prefix}._depthwise_conv.weight"]
    )
    n_in = (
        first_kernel.shape[1]
        if f"{name_prefix}._expand_conv.weight" in weight_arrays
        else len(first_kernel)
    )
    n_out = len(weight_arrays[f"{name_prefix}._project_conv.weight"])
    return (
        graph_builder.node("Add", hidden_states, inputs)
        if stride == 1 and n_in == n_out
        else hidden_states
    )


def _convolve(
    graph_builder: GraphBuilder,
    weight_arrays: Weights,
    kernel_name: str,
    norm_name: str,
    inputs: str,
    *,
    stride: int = 1,
    activated: bool = True,
) -> str:
    """Convolution with its batch normalisation folded in, then ReLU6."""
    conv_kernel = weight_arrays[f"{kernel_name}.weight"]
    norm_variance = weight_arrays[f"{norm_name}.running_var"] + np.float32(_EPSILON)
    norm_scale = weight_arrays[f"{norm_name}.weight"] / np.sqrt(norm_variance)
    norm_shift = (
        weight_arrays[f"{norm_name}.bias"] - weight_arrays[f"{norm_name}.running_mean"] * norm_scale
    )
    kernel_size = conv_kernel.shape[-1]
    hidden_states = graph_builder.node(
        "Conv",
        inputs,
        graph_builder.weight(conv_kernel * norm_scale[:, None, None, None]),
        graph_builder.weight(norm_shift),
        kernel_shape=[kernel_size, kernel_size],
        strides=[stride, stride],
        auto_pad="SAME_UPPER",
        group=len(conv_kernel) if "depthwise" in kernel_name else 1,
    )
    if not activated:
        return hidden_states
    clip_bounds = [graph_builder.weight(np.array(bound, np.float32)) for bound in (0.0, 6.0)]
    return graph_builder.node("Clip", hidden_states, *clip_bounds)
