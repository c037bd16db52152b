"""Text classifier as one file: ONNX graph, vocabularies, labels and calibration; no torch."""

import hashlib
import io
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, NamedTuple, Self
from zipfile import BadZipFile

import numpy as np
import numpy.typing as npt
import onnxruntime

from chronotope.content.encoders.onnx_session import open_encoder_session
from chronotope.content.encoders.onnx_text_encoder import Tokenizer, Tokens, TokenWindows
from chronotope.content.encoders.tokenizers_adapter import read_tokenizer, token_windows
from chronotope.content.graphs.bert import ATTENTION_MASK, INPUT_IDS
from chronotope.content.graphs.text_classifier import PROBABILITIES, TERM_IDS, TERM_WEIGHTS
from chronotope.content.labels.calibration import ValidationConfidence
from chronotope.content.labels.subword_vocabulary import SubwordVocabulary
from chronotope.content.labels.term_features import TermFeatures
from chronotope.contracts.errors import ArtifactError

_VERSION: Final = 1
_BATCH_TEXTS: Final = 64
"""Texts that one call of the graph reads: bounds its memory."""


class LabelPredictions(NamedTuple):
    """Most probable label of each text.

    Attributes:
        label_idx: Its position in ``labels``, shape (n,).
        confidence: Its probability, shape (n,).
    """

    label_idx: npt.NDArray[np.int64]
    confidence: npt.NDArray[np.float32]


@dataclass(frozen=True)
class TokenInputs:
    """Splitting of texts into the tokens of a classifier.

    Attributes:
        vocabulary: Own vocabulary, or the content of a ``tokenizer.json``.
        max_tokens: Tokens after which a text is cut.
    """

    vocabulary: SubwordVocabulary | bytes
    max_tokens: int

    def split(self, texts: Sequence[str]) -> list[Tokens]:
        """Tokens of each text with special tokens, cut at ``max_tokens``.

        Args:
            texts: Cleaned texts.
        """
        windows = self.windows
        return [
            np.concatenate([[windows.first], tokens[: self.max_tokens - 2], [windows.last]])
            for tokens in self._tokenizer.encode_batch(texts)
        ]

    @cached_property
    def windows(self) -> TokenWindows:
        """Special tokens.

        Raises:
            MissingWeights: The package ``tokenizers`` is needed and not installed.
        """
        if isinstance(self.vocabulary, SubwordVocabulary):
            return self.vocabulary.windows(self.max_tokens)
        return token_windows(read_tokenizer(self.vocabulary), self.max_tokens)

    @cached_property
    def _tokenizer(self) -> Tokenizer:
        if isinstance(self.vocabulary, SubwordVocabulary):
            return self.vocabulary
        return read_tokenizer(self.vocabulary)


@dataclass(frozen=True)
class TextClassifier:
    """Classifier of texts that runs in ONNX Runtime.

    Attributes:
        labels: Labels in the order of the probabilities.
        model: The graph, serialised.
        tokens: Splitting of texts into tokens.
        terms: TF-IDF terms.
        validation: Confidence on held-back items.
        metrics: Metrics on held-back items, by name.
        source: What decides on the texts that it was trained on.
    """

    labels: tuple[str, ...]
    model: bytes
    tokens: TokenInputs
    terms: TermFeatures
    validation: ValidationConfidence
    metrics: dict[str, float]
    source: str = ""

    @cached_property
    def digest(self) -> str:
        """Digest of all that decides on its predictions."""
        content = hashlib.sha256(self.model)
        content.update(json.dumps([_VERSION, self.labels, self.tokens.max_tokens]).encode())
        content.update(self.terms.digest.encode())
        content.update(_vocabulary_bytes(self.tokens.vocabulary))
        return content.hexdigest()

    def predict(self, texts: Sequence[str]) -> LabelPredictions:
        """Most probable label of each text, and its probability.

        Args:
            texts: Cleaned texts.
        """
        label_idx = np.zeros(len(texts), dtype=np.int64)
        confidence = np.zeros(len(texts), dtype=np.float32)
        for rows, probabilities in self._batches(texts):
            label_idx[rows] = probabilities.argmax(axis=1)
            confidence[rows] = probabilities.max(axis=1)
        return LabelPredictions(label_idx, confidence)

    def probabilities(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Probabilities of all labels, shape (n, n_labels).

        Args:
            texts: Cleaned texts.
        """
        probabilities = np.zeros((len(texts), len(self.labels)), dtype=np.float32)
        for rows, batch_probabilities in self._batches(texts):
            probabilities[rows] = batch_probabilities
        return probabilities

    def to_bytes(self) -> bytes:
        """Content of its file; ``from_bytes`` reads it."""
        description: dict[str, Any] = {
            "version": _VERSION,
            "labels": self.labels,
            "terms": self.terms.terms,
            "max_tokens": self.tokens.max_tokens,
            "metrics": self.metrics,
            "source": self.source,
            "own_vocabulary": isinstance(self.tokens.vocabulary, SubwordVocabulary),
        }
        content = io.BytesIO()
        np.savez(
            content,
            description=_byte_array(json.dumps(description).encode()),
            model=_byte_array(self.model),
            vocabulary=_byte_array(_vocabulary_bytes(self.tokens.vocabulary)),
            inverse_frequency=self.terms.inverse_frequency,
            confidence=self.validation.confidence,
            is_right=self.validation.is_right,
        )
        return content.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Classifier of a file's content.

        Raises:
            ArtifactError: It is damaged, or was written by another version.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
                description = json.loads(arrays["description"].tobytes())
                _require_version(description["version"])
                vocabulary = arrays["vocabulary"].tobytes()
                return cls(
                    labels=tuple(description["labels"]),
                    model=arrays["model"].tobytes(),
                    tokens=TokenInputs(
                        SubwordVocabulary(tuple(json.loads(vocabulary)))
                        if description["own_vocabulary"]
                        else vocabulary,
                        int(description["max_tokens"]),
                    ),
                    terms=TermFeatures(tuple(description["terms"]), arrays["inverse_frequency"]),
                    validation=ValidationConfidence(arrays["confidence"], arrays["is_right"]),
                    metrics=description["metrics"],
                    source=description["source"],
                )
        except (OSError, ValueError, KeyError, TypeError, EOFError, BadZipFile) as error:
            raise ArtifactError(
                "The stored text classifier is damaged, or of another version",
                received=error,
                way_out="Train it again: chronotope classify DATASET --retrain",
            ) from error

    def _batches(
        self, texts: Sequence[str]
    ) -> Iterator[tuple[npt.NDArray[np.int64], npt.NDArray[np.float32]]]:
        """Positions and probabilities of texts of similar length."""
        token_lists = self.tokens.split(texts)
        n_tokens = np.array([len(tokens) for tokens in token_lists], dtype=np.int64)
        length_order = np.argsort(n_tokens, kind="stable")
        for start in range(0, len(texts), _BATCH_TEXTS):
            rows = length_order[start : start + _BATCH_TEXTS]
            token_mask = np.arange(n_tokens[rows].max()) < n_tokens[rows][:, None]  # (B, T)
            token_ids = np.full(token_mask.shape, self.tokens.windows.padding, dtype=np.int64)
            token_ids[token_mask] = np.concatenate([token_lists[row] for row in rows])
            term_rows = self.terms.rows([texts[row] for row in rows])
            graph_inputs = {
                INPUT_IDS: token_ids,
                ATTENTION_MASK: token_mask.astype(np.int64),
                TERM_IDS: term_rows.term_ids,
                TERM_WEIGHTS: term_rows.weights,
            }
            yield rows, self._session.run([PROBABILITIES], graph_inputs)[0]

    @cached_property
    def _session(self) -> onnxruntime.InferenceSession:
        return open_encoder_session(self.model)


def _require_version(version: object) -> None:
    if version != _VERSION:
        raise ValueError(f"version {version}, expected {_VERSION}")


def _vocabulary_bytes(vocabulary: SubwordVocabulary | bytes) -> bytes:
    if isinstance(vocabulary, bytes):
        return vocabulary
    return json.dumps(vocabulary.pieces).encode("utf-8", "surrogatepass")


def _byte_array(content: bytes) -> npt.NDArray[np.uint8]:
    return np.frombuffer(content, dtype=np.uint8)
