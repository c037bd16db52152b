"""Text encoder: a Transformer as an ONNX graph, with mean pooling.

Long texts are encoded in overlapping windows; their vectors are averaged with the number of
tokens as weights.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime

from chronotope.content.encoder import Modality, Vectors, unit_vectors
from chronotope.content.encoders.onnx_session import input_names
from chronotope.content.graphs.bert import ATTENTION_MASK, INPUT_IDS
from chronotope.contracts.errors import ArtifactError

_TOKEN_TYPES: Final = "token_type_ids"  # noqa: S105 - an input of the graph
BATCH_TOKENS: Final = 1_024
"""Tokens, with padding, that one call of the graph reads: what its layers pass on then stays
in the cache of a core, and 4,096 take 1.4 times the processor time."""

Tokens = npt.NDArray[np.int64]


class Tokenizer(Protocol):
    """Splitting of texts into tokens of a fixed vocabulary."""

    def encode_batch(self, texts: Sequence[str]) -> list[Tokens]:
        """Token ids of each text, without special tokens."""


@dataclass(frozen=True, slots=True)
class TokenWindows:
    """How a text becomes inputs of a graph.

    Attributes:
        first: Special token before every window, such as ``[CLS]``.
        last: Special token after it, such as ``[SEP]``.
        padding: Token that fills up shorter windows.
        max_tokens: Length of a window with its special tokens.
        overlap: Tokens that two neighbouring windows share.
        prefix: Text in front of every text, as some encoders want it.
    """

    first: int
    last: int
    padding: int
    max_tokens: int = 256
    overlap: int = 32
    prefix: str = ""

    def split(self, tokens: Tokens) -> list[Tokens]:
        """Windows of a text's tokens, with special tokens; one at least."""
        window_size = self.max_tokens - 2
        window_starts = range(0, max(1, len(tokens) - self.overlap), window_size - self.overlap)
        return [
            np.concatenate(
                [[self.first], tokens[window_start : window_start + window_size], [self.last]]
            )
            for window_start in window_starts
        ]


@dataclass(frozen=True)
class OnnxTextEncoder:
    """Text encoder that runs in ONNX Runtime.

    Attributes:
        name: Name of the encoder.
        digest: Digest of its weights, vocabulary and preprocessing.
        session: The graph: token ids and mask to hidden states (B, T, dim), or to vectors (B, dim).
        tokenizer: Its tokenizer.
        windows: How texts become inputs.
        batch_tokens: Tokens, with padding, that one call of the graph reads.
    """

    name: str
    digest: str
    session: onnxruntime.InferenceSession
    tokenizer: Tokenizer
    windows: TokenWindows
    modality: Modality = Modality.TEXT
    batch_tokens: int = BATCH_TOKENS

    @cached_property
    def dim(self) -> int:
        """Length of a vector."""
        return int(self._run([np.array([self.windows.first, self.windows.last])]).shape[1])

    def encode(self, batch: Sequence[str]) -> Vectors:
        """Vectors of unit length, shape (n, dim); zero for an empty text.

        Args:
            batch: Cleaned texts.
        """
        filled_idx = [text_idx for text_idx, item_text in enumerate(batch) if item_text]
        vector_sums = np.zeros((len(batch), self.dim), dtype=np.float64)
        token_lists = self.tokenizer.encode_batch(
            [self.windows.prefix + batch[text_idx] for text_idx in filled_idx]
        )
        token_windows, text_of_window = [], []
        for text_idx, tokens in zip(filled_idx, token_lists, strict=True):
            text_windows = self.windows.split(tokens)
            token_windows += text_windows
            text_of_window += [text_idx] * len(text_windows)
        for window_idx in _batches(token_windows, self.batch_tokens):
            window_vectors = self._run(
                [token_windows[window_position] for window_position in window_idx]
            )
            token_weights = np.array(
                [len(token_windows[window_position]) for window_position in window_idx]
            )
            np.add.at(
                vector_sums,
                [text_of_window[window_position] for window_position in window_idx],
                window_vectors * token_weights[:, None],
            )
        return unit_vectors(vector_sums)

    def _run(self, windows: Sequence[Tokens]) -> npt.NDArray[np.float32]:
        """Mean of the hidden states of each window, shape (n_windows, dim)."""
        n_tokens = np.array([len(token_window) for token_window in windows])
        token_mask = (np.arange(n_tokens.max()) < n_tokens[:, None]).astype(np.int64)  # (B, T)
        token_ids = np.full(token_mask.shape, self.windows.padding, dtype=np.int64)
        for id_row, token_window in zip(token_ids, windows, strict=True):
            id_row[: len(token_window)] = token_window
        available_inputs = {
            INPUT_IDS: token_ids,
            ATTENTION_MASK: token_mask,
            _TOKEN_TYPES: np.zeros_like(token_ids),
        }
        graph_inputs = input_names(self.session)
        if not set(graph_inputs) <= set(available_inputs):
            raise ArtifactError(
                "The graph is not that of a text encoder",
                received=f"inputs {graph_inputs}",
                way_out=f"It may read {list(available_inputs)}, and nothing else",
            )
        hidden_states = self.session.run(
            None, {name: available_inputs[name] for name in graph_inputs}
        )[0]
        if hidden_states.ndim == 2:  # pooled by the graph itself
            return np.asarray(hidden_states)
        token_weights = token_mask[:, :, None].astype(np.float32)
        return np.asarray((hidden_states * token_weights).sum(1) / token_weights.sum(1))


def _batches(windows: Sequence[Tokens], batch_tokens: int) -> Iterator[list[int]]:
    """Positions of windows of similar length, so that little is padding."""
    length_order = sorted(range(len(windows)), key=lambda position: len(windows[position]))
    window_batch: list[int] = []
    for position in length_order:
        if window_batch and len(windows[position]) * (len(window_batch) + 1) > batch_tokens:
            yield window_batch
            window_batch = []
        window_batch.append(position)
    if window_batch:
        yield window_batch
