"""Comparison of quantised encoders, on vectors and on a tiny encoder."""

import numpy as np
import pytest

from benchmarks.text_quantization import (
    block_model,
    compare,
    cosine_correlation,
    int8_model,
    same_neighbours,
)
from chronotope.content.encoder import unit_vectors
from chronotope.content.encoders.onnx_session import open_encoder_session
from chronotope.content.encoders.onnx_text_encoder import OnnxTextEncoder, TokenWindows
from chronotope.content.graphs.bert import build_bert
from tests.content.encoders.test_pretrained_text import SHAPE, WordTokenizer, random_weights

TEXTS = ["a bb ccc", "dddd a", "eeeee ff", "g hh iii jjjj", "kk l", "mmm nnn", "o", "pp qqqqqq",
         "r sss", "tt uu vvv", "w x yy", "zzz aaaa bb"]  # fmt: skip


def tiny_encoder(model_bytes: bytes) -> OnnxTextEncoder:
    session = open_encoder_session(model_bytes, n_threads=1)
    return OnnxTextEncoder("tiny", "0" * 64, session, WordTokenizer(), TokenWindows(1, 2, 0, 12, 4))


def test_variants_are_compared_with_the_first() -> None:
    model_bytes = build_bert(random_weights(), SHAPE)
    models = {"float32": model_bytes, "int8": int8_model(model_bytes)}
    encoders = {name: tiny_encoder(content) for name, content in models.items()}
    exact, rounded = compare(encoders, TEXTS, repeats=1)
    assert (exact["cosine_correlation"], exact["same_neighbours"]) == (1, 1)
    assert exact["alone_difference"] < 1e-6
    assert 0.9 < rounded["cosine_correlation"] <= 1
    assert rounded["alone_difference"] > 1e-5


def test_blocks_are_a_model_of_the_same_inputs() -> None:
    vectors = [
        tiny_encoder(content).encode(TEXTS)
        for content in (
            build_bert(random_weights(), SHAPE),
            block_model(build_bert(random_weights(), SHAPE)),
        )
    ]
    assert cosine_correlation(*vectors) > 0.9
    assert np.abs(vectors[0] - vectors[1]).max() > 0


def test_unrelated_vectors_share_few_neighbours() -> None:
    rng = np.random.default_rng(0)
    first, second = (unit_vectors(rng.normal(size=(200, 8))) for _ in range(2))
    assert same_neighbours(first, first) == 1
    assert same_neighbours(first, second) < 0.15
    assert abs(cosine_correlation(first, second)) < 0.05
    assert cosine_correlation(first, first) == pytest.approx(1)
