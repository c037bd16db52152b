"""Protocol of content encoders: one vector for a text, an image or a sound."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]


class Modality(StrEnum):
    """Kind of content."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    ATTRIBUTES = "attributes"


@runtime_checkable
class Encoder(Protocol):
    """Frozen map from content to vectors.

    Attributes:
        name: Name of the encoder, such as ``minilm``.
        modality: Kind of content it reads.
        dim: Length of a vector.
        digest: Hexadecimal digest of the weights and of the preprocessing. Vectors of different
            digests are never compared with each other.
    """

    @property
    def name(self) -> str:
        """Name of the encoder."""

    @property
    def modality(self) -> Modality:
        """Kind of content it reads."""

    @property
    def dim(self) -> int:
        """Length of a vector."""

    @property
    def digest(self) -> str:
        """Digest of the weights and of the preprocessing."""

    def encode(self, batch: Sequence[Any]) -> Vectors:
        """Vectors of unit length, shape (n, dim); zero where the content says nothing.

        Args:
            batch: Texts (``str``), images (uint8, shape (height, width, 3)) or sounds (mono
                float32 samples), by the encoder's modality.
        """


def encoder_id(encoder: Encoder) -> str:
    """Name with the digest's beginning, the identity of an encoder in the lake."""
    return f"{encoder.name}@{encoder.digest[:16]}"


def unit_vectors(vectors: npt.NDArray[np.floating]) -> Vectors:
    """Rows scaled to Euclidean length 1; a zero row stays zero.

    Args:
        vectors: Shape (n, dim).

    Example:
        >>> unit_vectors(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
        [[0.6000000238418579, 0.800000011920929], [0.0, 0.0]]
    """
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return np.ascontiguousarray(scaled, dtype=np.float32)
