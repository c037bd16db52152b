"""Text classifier: a Transformer's vector and TF-IDF terms, added in one output layer.

Wide and deep (Cheng et al. 2016): ``logits = W pooled + sum_t weight_t terms_t + b``.
"""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from chronotope.training.text.bert_network import BertNetwork


class TextBatch(NamedTuple):
    """B texts.

    Attributes:
        inputs: Token ids (B, T), or states after the frozen layers (B, T, d).
        token_mask: Whether a position holds a token, shape (B, T).
        term_ids: TF-IDF terms, shape (B, K).
        term_weights: Their weights, 0 for padding, shape (B, K).
    """

    inputs: Tensor
    token_mask: Tensor
    term_ids: Tensor
    term_weights: Tensor


class TextClassifierNetwork(nn.Module):
    """Transformer and linear terms."""

    def __init__(self, bert: BertNetwork, n_labels: int, n_terms: int, dropout: float) -> None:
        """Output layer of zeros for the terms, random for the Transformer.

        Args:
            bert: The Transformer.
            n_labels: Number of labels.
            n_terms: Size of the vocabulary of terms; 0 leaves them out.
            dropout: Dropout of the pooled vector.
        """
        super().__init__()
        self.bert = bert
        self.dropout = nn.Dropout(dropout)
        self.deep = nn.Linear(bert.dim, n_labels)
        self.terms = nn.Embedding(max(1, n_terms), n_labels)
        nn.init.zeros_(self.terms.weight)

    def forward(self, batch: TextBatch) -> Tensor:
        """Logits, shape (B, n_labels)."""
        pooled_states = functional.layer_norm(
            self.bert(batch.inputs, batch.token_mask), (self.bert.dim,)
        )
        term_logits = functional.embedding_bag(
            batch.term_ids, self.terms.weight, per_sample_weights=batch.term_weights, mode="sum"
        )
        label_logits: Tensor = self.deep(self.dropout(pooled_states)) + term_logits
        return label_logits
