"""Training of a small classifier, and its export without torch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from chronotope.content.encoders.packaged_weights import MissingWeights
from chronotope.content.encoders.pretrained_text import (
    MINILM_SHAPE,
    minilm_files,
    open_minilm,
    read_safetensors,
)
from chronotope.content.labels.text_classifier import TextClassifier, TokenInputs
from chronotope.contracts.errors import ArtifactError, NotEnoughData
from chronotope.training.text.bert_network import BertNetwork
from chronotope.training.text.config import TextClassifierConfig
from chronotope.training.text.fit_classifier import fit_text_classifier
from chronotope.training.text.labelled_texts import LabelledTexts
from chronotope.training.text.text_batches import TextInputs

SMALL = TextClassifierConfig(
    backbone="own", dim=16, n_layers=1, n_heads=2, max_epochs=6, batch_size=16, max_tokens=16
)
LABELS = ("bread", "tea")


def shop_texts(n_texts: int, seed: int) -> LabelledTexts:
    """Texts whose words give their label away, among words that do not."""
    rng = np.random.default_rng(seed)
    words = {0: ["rye", "loaf", "bun", "roll"], 1: ["leaf", "sencha", "brew", "cup"]}
    label_idx = rng.integers(0, 2, n_texts)
    texts = [
        f"{rng.choice(words[label])} number {rng.integers(1_000)} {rng.choice(words[label])}"
        for label in label_idx
    ]
    return LabelledTexts.of(texts, label_idx)


@pytest.fixture(scope="module")
def classifier() -> TextClassifier:
    return fit_text_classifier(shop_texts(120, 0), shop_texts(60, 1), LABELS, SMALL)


def test_separable_labels_are_learned_and_confidence_is_calibrated(
    classifier: TextClassifier,
) -> None:
    test = shop_texts(80, 2)
    predictions = classifier.predict(test.texts)
    assert (predictions.label_idx == test.label_idx).mean() > 0.95
    assert (predictions.confidence >= 0.5).all()
    assert classifier.metrics["macro_f1"] > 0.95
    assert len(classifier.validation.confidence) == classifier.metrics["n_validation"]


def test_equal_inputs_give_an_equal_classifier_and_another_seed_another(
    classifier: TextClassifier,
) -> None:
    again = fit_text_classifier(shop_texts(120, 0), shop_texts(60, 1), LABELS, SMALL)
    other = fit_text_classifier(
        shop_texts(120, 0), shop_texts(60, 1), LABELS, SMALL.model_copy(update={"seed": 5})
    )
    assert again.digest == classifier.digest
    assert other.digest != classifier.digest


def test_a_stored_classifier_predicts_the_same(classifier: TextClassifier) -> None:
    texts = [*shop_texts(20, 3).texts, "", "ЖЖЖ"]
    restored = TextClassifier.from_bytes(classifier.to_bytes())
    assert restored.digest == classifier.digest
    np.testing.assert_array_equal(restored.probabilities(texts), classifier.probabilities(texts))
    np.testing.assert_allclose(restored.probabilities(texts).sum(1), 1, rtol=1e-5)


def test_a_text_is_classified_alike_alone_and_in_a_batch(classifier: TextClassifier) -> None:
    texts = ["rye", "sencha leaf number 12 in a very long text of many words", "bun bun"]
    together = classifier.probabilities(texts)
    alone = np.concatenate([classifier.probabilities([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_it_predicts_without_torch(classifier: TextClassifier, tmp_path: Path) -> None:
    path = tmp_path / "classifier"
    path.write_bytes(classifier.to_bytes())
    code = (
        "import sys, pathlib; from chronotope.content.labels.text_classifier import *;"
        "c = TextClassifier.from_bytes(pathlib.Path(sys.argv[1]).read_bytes());"
        "print(c.labels[c.predict(['rye loaf']).label_idx[0]], 'torch' in sys.modules)"
    )
    printed = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True
    )
    assert printed.stdout.split() == ["bread", "False"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04nothing", b"x" * 100])
def test_a_damaged_file_is_an_error_with_a_way_out(content: bytes) -> None:
    with pytest.raises(ArtifactError, match="--retrain"):
        TextClassifier.from_bytes(content)


def test_a_single_label_is_too_few() -> None:
    one = LabelledTexts.of(["a", "b"], np.array([0, 0]))
    with pytest.raises(NotEnoughData, match="two labels"):
        fit_text_classifier(one, one, ("only",), SMALL)


def test_equal_texts_are_one_row_and_a_sample_keeps_the_order() -> None:
    texts = LabelledTexts.of(["b", "a", "b", "b"], np.array([1, 0, 1, 0]))
    assert list(texts.texts) == ["b", "a", "b"]
    assert texts.n_items.tolist() == [2, 1, 1]
    many = LabelledTexts.of([f"{row:03d}" for row in range(200)], np.zeros(200, np.int64))
    chosen = many.sample(50, seed=3)
    assert list(chosen.texts) == sorted(chosen.texts)
    assert len(chosen.label_idx) == 50


@pytest.mark.slow
def test_minilm_in_torch_equals_the_encoder_with_and_without_frozen_states() -> None:
    try:
        weight_bytes, tokenizer_json = minilm_files()
    except MissingWeights:
        pytest.skip("chronotope[content] is not installed")
    texts = ["green tea from Japan", "rye bread"]
    tokens = TokenInputs(tokenizer_json, 32)
    bert = BertNetwork.from_weights(
        read_safetensors(weight_bytes), MINILM_SHAPE, n_frozen=4, dropout=0.0
    ).eval()
    from chronotope.content.labels.term_features import TermFeatures

    terms = TermFeatures.fit(texts, max_terms=10).rows(texts)
    inputs = TextInputs(tokens.split(texts), terms, tokens.windows.padding)
    plain = inputs.batch(np.arange(2))
    frozen = inputs.with_frozen_states(bert).batch(np.arange(2))
    with torch.no_grad():
        vectors = torch.nn.functional.normalize(bert(plain.inputs, plain.token_mask)).numpy()
        from_states = torch.nn.functional.normalize(bert(frozen.inputs, frozen.token_mask)).numpy()
    np.testing.assert_allclose(vectors, open_minilm().encode(texts), atol=1e-5)
    np.testing.assert_allclose(from_states, vectors, atol=2e-3)  # stored as float16
