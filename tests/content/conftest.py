"""Fixtures of the tests of content."""

import pytest

from chronotope.content.encoders.onnx_text_encoder import OnnxTextEncoder
from chronotope.content.encoders.packaged_weights import MissingWeights
from chronotope.content.encoders.pretrained_text import open_minilm


@pytest.fixture(scope="session")
def minilm() -> OnnxTextEncoder:
    try:
        return open_minilm(n_threads=1)
    except MissingWeights as error:
        pytest.skip(f"needs chronotope[content]: {error}")
