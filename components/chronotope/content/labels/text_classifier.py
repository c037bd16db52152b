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
        token_windows_used = self.windows
        return [
            np.concatenate(
                [
                    [token_windows_used.first],
                    text_tokens[: self.max_tokens - 2],
                    [token_windows_used.last],
                ]
            )
            for text_tokens in self._tokenizer.encode_batch(texts)
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
        file_content = hashlib.sha256(self.model)
        file_content.update(json.dumps([_VERSION, self.labels, self.tokens.max_tokens]).encode())
        file_content.update(self.terms.digest.encode())
        file_content.update(_vocabulary_bytes(self.tokens.vocabulary))
        return file_content.hexdigest()

    def predict(self, texts: Sequence[str]) -> LabelPredictions:
        """Most probable label of each text, and its probability.

        Args:
            texts: Cleaned texts.
        """
        label_idx = np.zeros(len(texts), dtype=np.int64)
        confidence = np.zeros(len(texts), dtype=np.float32)
        for text_rows, label_probabilities in self._batches(texts):
            label_idx[text_rows] = label_probabilities.argmax(axis=1)
            confidence[text_rows] = label_probabilities.max(axis=1)
        return LabelPredictions(label_idx, confidence)

    def probabilities(self, texts: Sequence[str]) -> npt.NDArray[np.float32]:
        """Probabilities of all labels, shape (n, n_labels).

        Args:
            texts: Cleaned texts.
        """
        label_probabilities = np.zeros((len(texts), len(self.labels)), dtype=np.float32)
        for text_rows, batch_probabilities in self._batches(texts):
            label_probabilities[text_rows] = batch_probabilities
        return label_probabilities

    def to_bytes(self) -> bytes:
        """Content of its file; ``from_bytes`` reads it."""
        file_description: dict[str, Any] = {
            "version": _VERSION,
            "labels": self.labels,
            "terms": self.terms.terms,
            "max_tokens": self.tokens.max_tokens,
            "metrics": self.metrics,
            "source": self.source,
            "own_vocabulary": isinstance(self.tokens.vocabulary, SubwordVocabulary),
        }
        file_content = io.BytesIO()
        np.savez(
            file_content,
            description=_byte_array(json.dumps(file_description).encode()),
            model=_byte_array(self.model),
            vocabulary=_byte_array(_vocabulary_bytes(self.tokens.vocabulary)),
            inverse_frequency=self.terms.inverse_frequency,
            confidence=self.validation.confidence,
            is_right=self.validation.is_right,
        )
        return file_content.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Classifier of a file's content.

        Raises:
            ArtifactError: It is damaged, or was written by another version.
        """
        try:
            with np.load(io.BytesIO(content), allow_pickle=False) as file_arrays:
                file_description = json.loads(file_arrays["description"].tobytes())
                _require_version(file_description["version"])
                vocabulary_bytes = file_arrays["vocabulary"].tobytes()
                return cls(
                    labels=tuple(file_description["labels"]),
                    model=file_arrays["model"].tobytes(),
                    tokens=TokenInputs(
                        SubwordVocabulary(tuple(json.loads(vocabulary_bytes)))
                        if file_description["own_vocabulary"]
                        else vocabulary_bytes,
                        int(file_description["max_tokens"]),
                    ),
                    terms=TermFeatures(
                        tuple(file_description["terms"]), file_arrays["inverse_frequency"]
                    ),
                    validation=ValidationConfidence(
                        file_arrays["confidence"], file_arrays["is_right"]
                    ),
                    metrics=file_description["metrics"],
                    source=file_description["source"],
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
        n_tokens = np.array([len(text_tokens) for text_tokens in token_lists], dtype=np.int64)
        length_order = np.argsort(n_tokens, kind="stable")
        for batch_start in range(0, len(texts), _BATCH_TEXTS):
            text_rows = length_order[batch_start : batch_start + _BATCH_TEXTS]
            token_mask = (
                np.arange(n_tokens[text_rows].max()) < n_tokens[text_rows][:, None]
            )  # (B, T)
            token_ids = np.full(token_mask.shape, self.tokens.windows.padding, dtype=np.int64)
            token_ids[token_mask] = np.concatenate(
                [token_lists[text_row] for text_row in text_rows]
            )
            term_rows = self.terms.rows([texts[text_row] for text_row in text_rows])
            graph_inputs = {
                INPUT_IDS: token_ids,
                ATTENTION_MASK: token_mask.astype(np.int64),
                TERM_IDS: term_rows.term_ids,
                TERM_WEIGHTS: term_rows.weights,
            }
            yield text_rows, self._session.run([PROBABILITIES], graph_inputs)[0]

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
