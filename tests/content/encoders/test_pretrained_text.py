"""Transformers as text encoders."""

import json
import struct
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime
import pytest

from chronotope.content.encoder import Encoder
from chronotope.content.encoders.onnx_session import open_encoder_session
from chronotope.content.encoders.onnx_text_encoder import OnnxTextEncoder, TokenWindows
from chronotope.content.encoders.pretrained_text import open_local_text_encoder, read_safetensors
from chronotope.content.graphs.bert import BertShape, build_bert
from chronotope.contracts.errors import ArtifactError, ConfigError

DIM, INNER, VOCABULARY = 8, 16, 50
SHAPE = BertShape(n_layers=2, n_heads=2, epsilon=1e-12)


def random_weights() -> dict[str, npt.NDArray[np.float32]]:
    rng = np.random.default_rng(0)
    shapes = {
        "embeddings.word_embeddings.weight": (VOCABULARY, DIM),
        "embeddings.position_embeddings.weight": (64, DIM),
        "embeddings.token_type_embeddings.weight": (2, DIM),
        "embeddings.LayerNorm.weight": (DIM,),
        "embeddings.LayerNorm.bias": (DIM,),
    }
    for layer in range(SHAPE.n_layers):
        prefix = f"encoder.layer.{layer}"
        for name in ("self.query", "self.key", "self.value", "output.dense"):
            shapes[f"{prefix}.attention.{name}.weight"] = (DIM, DIM)
            shapes[f"{prefix}.attention.{name}.bias"] = (DIM,)
        for name, n_out, n_in in (("intermediate", INNER, DIM), ("output", DIM, INNER)):
            shapes[f"{prefix}.{name}.dense.weight"] = (n_out, n_in)
            shapes[f"{prefix}.{name}.dense.bias"] = (n_out,)
        for name in ("attention.output.LayerNorm", "output.LayerNorm"):
            shapes[f"{prefix}.{name}.weight"] = shapes[f"{prefix}.{name}.bias"] = (DIM,)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}


class WordTokenizer:
    """Tokens by the length of a word."""

    def encode_batch(self, texts: list[str]) -> list[npt.NDArray[np.int64]]:
        return [np.array([3 + len(word) % 40 for word in text.split()]) for text in texts]


@pytest.fixture
def encoder() -> OnnxTextEncoder:
    session = open_encoder_session(build_bert(random_weights(), SHAPE), n_threads=1)
    return OnnxTextEncoder("toy", "0" * 64, session, WordTokenizer(), TokenWindows(1, 2, 0, 12, 4))


def test_the_graph_is_bert_as_torch_computes_it() -> None:
    import torch
    from torch.nn import functional

    weights = {name: torch.from_numpy(array) for name, array in random_weights().items()}
    token_ids = torch.tensor([[1, 5, 9, 2], [1, 7, 2, 0]])
    mask = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])

    def dense(prefix: str, hidden: torch.Tensor) -> torch.Tensor:
        return functional.linear(hidden, weights[f"{prefix}.weight"], weights[f"{prefix}.bias"])

    def norm(prefix: str, hidden: torch.Tensor) -> torch.Tensor:
        parameters = (weights[f"{prefix}.weight"], weights[f"{prefix}.bias"])
        return functional.layer_norm(hidden, (DIM,), *parameters, eps=SHAPE.epsilon)

    hidden = weights["embeddings.word_embeddings.weight"][token_ids]
    hidden = hidden + weights["embeddings.position_embeddings.weight"][:4]
    hidden = norm(
        "embeddings.LayerNorm", hidden + weights["embeddings.token_type_embeddings.weight"][0]
    )
    for layer in range(SHAPE.n_layers):
        prefix = f"encoder.layer.{layer}"
        query, key, value = (
            dense(f"{prefix}.attention.self.{name}", hidden).view(2, 4, 2, 4).transpose(1, 2)
            for name in ("query", "key", "value")
        )
        mixed = functional.scaled_dot_product_attention(
            query, key, value, attn_mask=mask[:, None, None].bool()
        )
        attended = dense(
            f"{prefix}.attention.output.dense", mixed.transpose(1, 2).reshape(2, 4, DIM)
        )
        hidden = norm(f"{prefix}.attention.output.LayerNorm", hidden + attended)
        inner = functional.gelu(dense(f"{prefix}.intermediate.dense", hidden))
        hidden = norm(f"{prefix}.output.LayerNorm", hidden + dense(f"{prefix}.output.dense", inner))
    session = open_encoder_session(build_bert(random_weights(), SHAPE), n_threads=1)
    (computed,) = session.run(
        None, {"input_ids": token_ids.numpy(), "attention_mask": mask.numpy()}
    )
    is_token = mask.numpy() == 1
    np.testing.assert_allclose(computed[is_token], hidden.numpy()[is_token], atol=2e-5)


def test_a_batch_is_the_same_as_one_text_at_a_time(encoder: OnnxTextEncoder) -> None:
    texts = ["a", "", "one two three", "b " * 300, "four letters here and there"]
    vectors = encoder.encode(texts)
    assert isinstance(encoder, Encoder)
    assert vectors.shape == (5, DIM)
    assert vectors.dtype == np.float32
    for text, vector in zip(texts, vectors, strict=True):
        np.testing.assert_allclose(encoder.encode([text])[0], vector, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), [1, 0, 1, 1, 1], rtol=1e-5)
    assert encoder.encode([]).shape == (0, DIM)


@pytest.mark.parametrize("n_tokens", [0, 1, 9, 10, 11, 16, 17, 100])
def test_windows_overlap_and_leave_nothing_out(n_tokens: int) -> None:
    tokens = np.arange(10, 10 + n_tokens)
    windows = TokenWindows(1, 2, 0, max_tokens=12, overlap=4).split(tokens)
    assert all(window[0] == 1 and window[-1] == 2 and len(window) <= 12 for window in windows)
    assert set(np.concatenate([window[1:-1] for window in windows])) == set(tokens)
    for left, right in pairwise(windows):
        np.testing.assert_array_equal(left[-5:-1], right[1:5])


def test_safetensors_are_read_and_damaged_ones_refused() -> None:
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    header = json.dumps(
        {
            "__metadata__": {"format": "pt"},
            "a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
            "ids": {"dtype": "I64", "shape": [1], "data_offsets": [24, 32]},
        }
    ).encode()
    content = struct.pack("<Q", len(header)) + header + array.tobytes() + bytes(8)
    read = read_safetensors(content)
    assert list(read) == ["a"]
    np.testing.assert_array_equal(read["a"], array)
    for damaged in (b"", content[:40], content[:-20]):
        with pytest.raises(ArtifactError, match="no safetensors file"):
            read_safetensors(damaged)


def test_minilm_gives_the_published_similarities(minilm: OnnxTextEncoder) -> None:
    sentences = [
        "That is a happy person",
        "That is a happy dog",
        "That is a very happy person",
        "Today is a sunny day",
    ]
    vectors = minilm.encode(sentences)
    assert minilm.dim == 384
    np.testing.assert_allclose(vectors[1:] @ vectors[0], [0.695, 0.943, 0.257], atol=5e-4)


def test_minilm_reads_a_book_and_strange_letters(minilm: OnnxTextEncoder) -> None:
    vectors = minilm.encode(["a quiet place for lunch " * 4_000, "\U0001f600 日本語", "\ue000"])
    assert np.isfinite(vectors).all()
    near, far = minilm.encode(["a quiet place for lunch", "engine oil for lorries"]) @ vectors[0]
    assert near > far + 0.3


def test_a_local_model_is_used_with_its_tokenizer(tmp_path: Path) -> None:
    tokenizers = pytest.importorskip("tokenizers", reason="needs chronotope[content]")
    model_path = tmp_path / "shop_encoder.onnx"
    with pytest.raises(ConfigError, match=r"put its tokenizer.json into the same folder"):
        open_local_text_encoder(model_path)
    model_path.write_bytes(build_bert(random_weights(), SHAPE))
    vocabulary = {name: idx for idx, name in enumerate(["[PAD]", "[CLS]", "[SEP]", "[UNK]", "tea"])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, "[UNK]"))
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    encoder = open_local_text_encoder(model_path)
    assert encoder.name == "shop_encoder"
    assert encoder.encode(["tea", "tea", "?"]).shape == (3, DIM)
    other_prefix = open_local_text_encoder(model_path, prefix="query: ")
    assert other_prefix.digest != encoder.digest
    model_path.write_bytes(b"no model")
    with pytest.raises(ArtifactError, match="cannot be run by ONNX Runtime"):
        open_local_text_encoder(model_path)


def test_a_graph_of_something_else_is_refused(encoder: OnnxTextEncoder) -> None:
    from onnx import TensorProto

    from chronotope.content.graphs.graph_builder import GraphBuilder

    graph = GraphBuilder()
    graph.node("Identity", "pixels", output="same")
    value_infos = [[(name, TensorProto.FLOAT, ["B"])] for name in ("pixels", "same")]
    session: onnxruntime.InferenceSession = open_encoder_session(graph.to_bytes(*value_infos))
    other = OnnxTextEncoder("x", "0", session, encoder.tokenizer, encoder.windows)
    with pytest.raises(ArtifactError, match="not that of a text encoder"):
        other.encode(["tea"])
