"""The text encoder that needs no download."""

import numpy as np
import pytest

from chronotope.content.encoder import Encoder, Modality, encoder_id
from chronotope.content.encoders.tfidf_encoder import TfidfConfig, TfidfEncoder
from chronotope.contracts.errors import ArtifactError, NotEnoughData

TEXTS = [
    *(f"red wine from a small vineyard number {idx}" for idx in range(10)),
    *(f"running shoes for long roads number {idx}" for idx in range(10)),
    *("東京の静かな喫茶店", "京都の静かな喫茶店"),
]


def test_texts_of_one_kind_are_near_each_other() -> None:
    encoder = TfidfEncoder.fit(TEXTS)
    wine, more_wine, shoes, tokyo, kyoto, nothing = encoder.encode(
        ["wine of a vineyard", "red vineyard", "shoes to run", "東京の喫茶店", "京都 静か", "qqq"]
    )
    assert wine @ more_wine > 0.5 > 0.1 > abs(float(wine @ shoes))
    assert tokyo @ kyoto > 0.7
    assert not nothing.any()
    np.testing.assert_allclose(np.linalg.norm([wine, shoes], axis=1), 1, rtol=1e-5)


def test_it_is_an_encoder_and_the_same_every_time() -> None:
    first, second = TfidfEncoder.fit(TEXTS), TfidfEncoder.fit(TEXTS)
    assert isinstance(first, Encoder)
    assert first.modality is Modality.TEXT
    assert first.digest == second.digest
    assert encoder_id(first) == f"tfidf@{first.digest[:16]}"
    assert TfidfEncoder.fit(TEXTS[:-1]).digest != first.digest
    assert TfidfEncoder.fit(TEXTS, TfidfConfig(dim=3)).digest != first.digest


def test_it_is_stored_and_read_again() -> None:
    encoder = TfidfEncoder.fit(TEXTS)
    restored = TfidfEncoder.from_bytes(encoder.to_bytes())
    assert restored.digest == encoder.digest
    np.testing.assert_array_equal(restored.encode(TEXTS), encoder.encode(TEXTS))
    assert restored.encode([]).shape == (0, encoder.dim)


@pytest.mark.parametrize(
    "content", [b"", b"PK", b"x" * 100, TfidfEncoder.fit(TEXTS).to_bytes()[:99]]
)
def test_a_damaged_state_is_refused(content: bytes) -> None:
    with pytest.raises(ArtifactError, match="chronotope embed DATASET --refit"):
        TfidfEncoder.from_bytes(content)


@pytest.mark.parametrize("texts", [[], [""], ["one", "two"], ["!!", "!!"]])
def test_texts_without_a_common_word_are_too_few(texts: list[str]) -> None:
    with pytest.raises(NotEnoughData, match="share no words"):
        TfidfEncoder.fit(texts)


@pytest.mark.parametrize("texts", [["same"] * 3, ["a b", "a b"], ["one two", "two", "two one"]])
def test_a_tiny_catalogue_is_encoded(texts: list[str]) -> None:
    encoder = TfidfEncoder.fit(texts)
    vectors = encoder.encode(texts)
    assert np.isfinite(vectors).all()
    assert vectors.any(axis=1).all()
