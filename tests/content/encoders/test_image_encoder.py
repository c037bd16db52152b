"""EfficientNet-lite0 as an ONNX graph."""

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chronotope.content.encoder import Encoder
from chronotope.content.encoders.image_encoder import ImageEncoder, open_efficientnet
from chronotope.content.encoders.onnx_session import open_encoder_session
from chronotope.content.encoders.packaged_weights import MissingWeights
from chronotope.content.graphs.efficientnet import build_efficientnet
from chronotope.runtime.file_cache import FileCache

_CHANNELS = [32, 16, 24, 24, 40, 40, 80, 80, 80, 112, 112, 112, 192, 192, 192, 192, 320]
_KERNELS = [3, 3, 3, 5, 5, 3, 3, 3, 5, 5, 5, 5, 5, 5, 5, 3]
_STRIDED = (1, 3, 5, 11)


def random_weights() -> dict[str, np.ndarray[Any, Any]]:
    rng = np.random.default_rng(0)
    weights: dict[str, np.ndarray[Any, Any]] = {}

    def convolution(kernel: str, norm: str, shape: tuple[int, ...]) -> None:
        fan_in = np.prod(shape[1:])
        weights[f"{kernel}.weight"] = rng.normal(size=shape) * np.sqrt(2 / fan_in)
        for name, low, high in (("weight", 0.5, 1.5), ("bias", 0, 1), ("running_mean", -1, 1)):
            weights[f"{norm}.{name}"] = rng.uniform(low, high, shape[0])
        weights[f"{norm}.running_var"] = rng.uniform(0.5, 2, shape[0])

    convolution("_conv_stem", "_bn0", (32, 3, 3, 3))
    for idx, (n_in, n_out) in enumerate(pairwise(_CHANNELS)):
        prefix, n_inner = f"_blocks.{idx}", n_in * (6 if idx else 1)
        if idx:
            convolution(f"{prefix}._expand_conv", f"{prefix}._bn0", (n_inner, n_in, 1, 1))
        size = _KERNELS[idx]
        convolution(f"{prefix}._depthwise_conv", f"{prefix}._bn1", (n_inner, 1, size, size))
        convolution(f"{prefix}._project_conv", f"{prefix}._bn2", (n_out, n_inner, 1, 1))
    convolution("_conv_head", "_bn1", (1280, 320, 1, 1))
    return {name: array.astype(np.float32) for name, array in weights.items()}


def torch_features(arrays: dict[str, np.ndarray[Any, Any]], images: Any) -> Any:
    """The published network, its layers as they are trained."""
    import torch
    from torch.nn import functional

    weights = {name: torch.from_numpy(array) for name, array in arrays.items()}

    def convolve(hidden: Any, kernel: str, norm: str, stride: int = 1, active: bool = True) -> Any:
        weight = weights[f"{kernel}.weight"]
        size = weight.shape[-1]
        n_out = -(-hidden.shape[-1] // stride)
        total = max((n_out - 1) * stride + size - hidden.shape[-1], 0)
        before, behind = total // 2, total - total // 2
        hidden = functional.pad(hidden, (before, behind, before, behind))
        groups = weight.shape[0] if "depthwise" in kernel else 1
        hidden = functional.conv2d(hidden, weight, stride=stride, groups=groups)
        hidden = functional.batch_norm(
            hidden,
            *(
                weights[f"{norm}.{name}"]
                for name in ("running_mean", "running_var", "weight", "bias")
            ),
            eps=1e-3,
        )
        return functional.relu6(hidden) if active else hidden

    hidden = convolve(torch.from_numpy(images), "_conv_stem", "_bn0", 2)
    for idx in range(16):
        prefix, inputs = f"_blocks.{idx}", hidden
        if idx:
            hidden = convolve(hidden, f"{prefix}._expand_conv", f"{prefix}._bn0")
        stride = 2 if idx in _STRIDED else 1
        hidden = convolve(hidden, f"{prefix}._depthwise_conv", f"{prefix}._bn1", stride)
        hidden = convolve(hidden, f"{prefix}._project_conv", f"{prefix}._bn2", active=False)
        if stride == 1 and hidden.shape == inputs.shape:
            hidden = hidden + inputs
    return convolve(hidden, "_conv_head", "_bn1").mean((2, 3)).numpy()


def test_the_graph_is_the_network_as_torch_computes_it() -> None:
    weights = random_weights()
    images = np.random.default_rng(1).normal(size=(2, 3, 224, 224)).astype(np.float32)
    session = open_encoder_session(build_efficientnet(weights), n_threads=1)
    (features,) = session.run(["features"], {"images": images})
    expected = torch_features(weights, images)
    np.testing.assert_allclose(features, expected, atol=1e-3 * np.abs(expected).max())


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> ImageEncoder:
    cache_dir: Path = tmp_path_factory.mktemp("cache")
    try:
        return open_efficientnet(FileCache(cache_dir), n_threads=1)
    except MissingWeights as error:
        pytest.skip(f"needs chronotope[content]: {error}")


def test_images_become_vectors_of_unit_length(encoder: ImageEncoder) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (224, 224, 3)).astype(np.uint8)
    images = [noise, np.zeros_like(noise), noise, *([noise] * 20)]
    vectors = encoder.encode(images)
    assert isinstance(encoder, Encoder)
    assert vectors.shape == (23, 1280)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(vectors[0], vectors[2], atol=1e-6)
    assert vectors[0] @ vectors[1] < 0.9
    assert encoder.encode([]).shape == (0, 1280)


def test_the_second_time_the_graph_comes_from_the_cache(
    encoder: ImageEncoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_efficientnet(FileCache(tmp_path))
    monkeypatch.setattr(
        "chronotope.content.encoders.image_encoder._build_graph", lambda _: pytest.fail("built")
    )
    assert open_efficientnet(FileCache(tmp_path)).digest == encoder.digest
