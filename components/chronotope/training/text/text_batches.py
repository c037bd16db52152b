"""Batches of texts: tokens or frozen states padded to the longest text, and TF-IDF terms."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from chronotope.content.encoders.onnx_text_encoder import Tokens
from chronotope.content.labels.term_features import TermRows
from chronotope.training.text.bert_network import BertNetwork
from chronotope.training.text.classifier_network import TextBatch

Integers = npt.NDArray[np.int64]

_FROZEN_BATCH: int = 64


class LabelledBatch(NamedTuple):
    """Texts with their labels.

    Attributes:
        texts: The texts.
        label_idx: Label of each, shape (B,).
        weights: Weight of each in the loss, shape (B,).
    """

    texts: TextBatch
    label_idx: Tensor
    weights: Tensor


@dataclass(frozen=True, slots=True)
class TextInputs:
    """Inputs of a network for n texts.

    Attributes:
        tokens: Token ids of each text, special tokens included.
        terms: TF-IDF terms.
        padding: Token that fills up shorter texts.
        states: States of each text after the frozen layers, float16, shape (n_tokens, d) each;
            None if nothing is frozen.
    """

    tokens: Sequence[Tokens]
    terms: TermRows
    padding: int
    states: Sequence[Tensor] | None = None

    def batch(self, text_idx: Integers) -> TextBatch:
        """Batch of some texts.

        Args:
            text_idx: Positions of the texts, shape (B,).
        """
        token_ids, token_mask = self._padded(text_idx)
        batch_inputs = token_ids
        if self.states is not None:
            batch_inputs = torch.nn.utils.rnn.pad_sequence(
                [self.states[text_position] for text_position in text_idx], batch_first=True
            ).float()  # (B, T, d)
        term_width = max(1, int((self.terms.weights[text_idx] > 0).sum(axis=1).max()))
        return TextBatch(
            batch_inputs,
            token_mask,
            torch.from_numpy(self.terms.term_ids[text_idx, :term_width]),
            torch.from_numpy(self.terms.weights[text_idx, :term_width]),
        )

    def with_frozen_states(self, bert: BertNetwork) -> "TextInputs":
        """The same inputs with the states after the frozen layers.

        Args:
            bert: Network whose lower layers are frozen.
        """
        if not bert.n_frozen:
            return self
        length_order = np.argsort([len(tokens) for tokens in self.tokens], kind="stable")
        frozen_states: list[Tensor] = [torch.empty(0)] * len(self.tokens)
        with torch.no_grad():
            for batch_start in range(0, len(length_order), _FROZEN_BATCH):
                text_idx = length_order[batch_start : batch_start + _FROZEN_BATCH]
                token_ids, token_mask = self._padded(text_idx)
                batch_states = bert.lower_states(token_ids, token_mask).half()
                for batch_row, text_position in enumerate(text_idx):
                    frozen_states[text_position] = batch_states[
                        batch_row, : len(self.tokens[text_position])
                    ].clone()
        return TextInputs(self.tokens, self.terms, self.padding, frozen_states)

    def _padded(self, text_idx: Integers) -> tuple[Tensor, Tensor]:
        """Token ids and mask, shape (B, T)."""
        n_tokens = np.array([len(self.tokens[text_position]) for text_position in text_idx])
        token_mask = np.arange(n_tokens.max()) < n_tokens[:, None]
        token_ids = np.full(token_mask.shape, self.padding, dtype=np.int64)
        for batch_row, text_position in zip(token_ids, text_idx, strict=True):
            batch_row[: len(self.tokens[text_position])] = self.tokens[text_position]
        return torch.from_numpy(token_ids), torch.from_numpy(token_mask)


class LabelledBatches:
    """Batches of labelled texts, in a new order each epoch, or in a fixed one."""

    def __init__(
        self,
        text_inputs: TextInputs,
        label_idx: Integers,
        weights: npt.NDArray[np.float32],
        *,
        batch_size: int,
        seed: int | None = None,
    ) -> None:
        """Batches of all texts with a label.

        Args:
            text_inputs: Inputs of n texts.
            label_idx: Label of each text, shape (n,).
            weights: Weight of each in the loss, shape (n,).
            batch_size: Texts of a batch.
            seed: Seed of the order; None keeps the given one.
        """
        self.text_inputs, self.label_idx, self.weights = text_inputs, label_idx, weights
        self.batch_size = batch_size
        self._order = None if seed is None else np.random.default_rng(seed)

    def __len__(self) -> int:
        """Number of batches."""
        return -(-len(self.label_idx) // self.batch_size)

    def __iter__(self) -> Iterator[LabelledBatch]:
        """Batches of one epoch."""
        n_texts = len(self.label_idx)
        text_order = np.arange(n_texts) if self._order is None else self._order.permutation(n_texts)
        for batch_start in range(0, n_texts, self.batch_size):
            text_idx = text_order[batch_start : batch_start + self.batch_size]
            yield LabelledBatch(
                self.text_inputs.batch(text_idx),
                torch.from_numpy(self.label_idx[text_idx]),
                torch.from_numpy(self.weights[text_idx]),
            )
