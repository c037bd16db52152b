"""Audio encoder: an ONNX file of the user's own, from a waveform to a vector."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from chronotope.content.encoder import Modality, Vectors, unit_vectors
from chronotope.content.encoders.onnx_session import input_names, open_encoder_session
from chronotope.content.encoders.pretrained_text import joined_digest
from chronotope.content.inputs.audio_reading import SAMPLE_RATE, Samples
from chronotope.contracts.errors import ArtifactError, ConfigError


@dataclass(frozen=True)
class OnnxAudioEncoder:
    """Audio encoder that runs in ONNX Runtime.

    Attributes:
        name: Name of the encoder.
        digest: Digest of its file and of the sampling rate.
        session: The graph: samples (1, n_samples) to a vector (1, dim), or to frames (1, T, dim),
            whose mean is taken.
    """

    name: str
    digest: str
    session: onnxruntime.InferenceSession
    modality: Modality = Modality.AUDIO

    @cached_property
    def dim(self) -> int:
        """Length of a vector."""
        return len(self._run(np.zeros(SAMPLE_RATE, dtype=np.float32)))

    def encode(self, batch: Sequence[Samples]) -> Vectors:
        """Vectors of unit length, shape (n, dim).

        Args:
            batch: Mono samples at 16 kHz.
        """
        row_vectors = np.zeros((len(batch), self.dim), dtype=np.float64)
        for row, samples in zip(row_vectors, batch, strict=True):
            row[:] = self._run(samples)
        return unit_vectors(row_vectors)

    def _run(self, samples: Samples) -> npt.NDArray[np.float32]:
        """Vector of one sound, shape (dim,)."""
        try:
            model_output = self.session.run(None, {input_names(self.session)[0]: samples[None]})[0]
        except Exception as error:  # its own classes share no base but Exception
            raise ArtifactError(
                "The graph is not that of an audio encoder",
                received=str(error).partition("\n")[0],
                way_out="It has to read float32 samples at 16 kHz, shape (1, n_samples)",
            ) from error
        frame_vectors = np.asarray(model_output, dtype=np.float32)
        return np.asarray(frame_vectors.reshape(-1, frame_vectors.shape[-1]).mean(axis=0))


def open_audio_encoder(model_path: Path, *, n_threads: int | None = None) -> OnnxAudioEncoder:
    """Encoder of an ONNX file.

    Args:
        model_path: The file.
        n_threads: Threads of ONNX Runtime.

    Raises:
        ConfigError: The file is missing.
        ArtifactError: It is no model.
    """
    if not model_path.is_file():
        raise ConfigError(
            "The file of the audio encoder is missing",
            received=model_path,
            way_out="Name an ONNX file that reads float32 samples at 16 kHz",
        )
    file_digest = hashlib.sha256(model_path.read_bytes()).hexdigest()
    session = open_encoder_session(str(model_path), n_threads=n_threads)
    return OnnxAudioEncoder(model_path.stem, joined_digest(file_digest, SAMPLE_RATE), session)
