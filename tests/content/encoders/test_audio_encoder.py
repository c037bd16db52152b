"""An audio encoder of the user's own."""

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from chronotope.content.encoder import Encoder, Modality
from chronotope.content.encoders.audio_encoder import open_audio_encoder
from chronotope.content.encoders.open_encoder import open_pretrained
from chronotope.content.graphs.graph_builder import GraphBuilder
from chronotope.contracts.errors import ArtifactError, ConfigError


def save_frames_model(model_path: Path, input_shape: list[str | int]) -> None:
    """Frames of four samples as vectors."""
    graph = GraphBuilder()
    graph.node("Reshape", "samples", graph.integers(1, -1, 4), output="frames")
    inputs = [("samples", TensorProto.FLOAT, input_shape)]
    model_path.write_bytes(graph.to_bytes(inputs, [("frames", TensorProto.FLOAT, [1, "T", 4])]))


def test_frames_are_averaged(tmp_path: Path) -> None:
    save_frames_model(tmp_path / "ear.onnx", [1, "n"])
    encoder = open_pretrained(str(tmp_path / "ear.onnx"), Modality.AUDIO, tmp_path)
    assert isinstance(encoder, Encoder)
    assert (encoder.name, encoder.dim) == ("ear", 4)
    sound = np.tile(np.array([3, 0, 4, 0], np.float32), 10)
    vectors = encoder.encode([sound, np.zeros(8, np.float32)])
    np.testing.assert_allclose(vectors, [[0.6, 0, 0.8, 0], [0, 0, 0, 0]], atol=1e-6)


def test_no_file_and_another_graph_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="float32 samples at 16 kHz"):
        open_audio_encoder(tmp_path / "none.onnx")
    save_frames_model(tmp_path / "flat.onnx", [1, 2, 2])
    with pytest.raises(ArtifactError, match="not that of an audio encoder"):
        open_audio_encoder(tmp_path / "flat.onnx").encode([np.zeros(8, np.float32)])
    with pytest.raises(ConfigError, match="or name an ONNX file"):
        open_pretrained("ears", Modality.AUDIO, tmp_path)
