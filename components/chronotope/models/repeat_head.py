"""Scores of the items of the user's history: kernels, counts and item features."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from chronotope.models.batch import Batch, hours_between
from chronotope.models.history_index import HistoryIndex, item_rows
from chronotope.models.item_tables import ItemTables
from chronotope.models.kernels import KERNELS
from chronotope.models.priors import Priors
from chronotope.models.query_context import N_CONTEXT
from chronotope.models.repeat_features import N_RETURN_FEATURES, ItemFeatures
from chronotope.models.repeat_features.later_inputs import linear_with_later_inputs

N_COUNTS = 2
"""Counts over the full history: plain, and decayed with a learned time constant."""


class EventEvidence(NamedTuple):
    """Inputs of the repeat head, one row for each of the latest L events.

    Attributes:
        bank: Kernels, shape (B, L, K).
        count_features: Counts and prior score of the event's item, (B, L, N_COUNTS + 1).
        history: Index of the items of the L events.
    """

    bank: Tensor
    count_features: Tensor
    history: HistoryIndex


def event_evidence(
    bank: Tensor, counts: Tensor, expected: Tensor, history: HistoryIndex
) -> EventEvidence:
    """Inputs of the repeat head for the latest L events of H.

    Args:
        bank: Kernels, shape (B, L, K).
        counts: Counts of the item of each event of the full history, shape (B, H, N_COUNTS).
        expected: Prior score of these items, shape (B, H).
        history: Index of the items of the L events.
    """
    features = torch.cat([counts, expected[..., None]], dim=-1)  # (B, H, N_COUNTS + 1)
    return EventEvidence(bank, features[:, -bank.shape[1] :], history)


class RepeatHead(nn.Module):
    """Linear sum of log-kernels, plus an MLP over them, the item features and the context."""

    def __init__(self, n_categories: int, n_hidden: int, n_context: int = N_CONTEXT) -> None:
        """Build the layers; the MLP outputs zero at first, so that the linear part leads."""
        super().__init__()
        self.log_decay_h = nn.Parameter(torch.tensor(90.0 * 24.0).log())
        self.mix_kernels = nn.Linear(len(KERNELS) + N_COUNTS + 1, n_hidden)
        self.mix_context = nn.Linear(n_context, n_hidden)
        self.item_features = ItemFeatures(n_categories)
        self.mix_features = linear_with_later_inputs(
            self.item_features.n_out, n_hidden, N_RETURN_FEATURES
        )
        self.mix_out = nn.Linear(n_hidden, 1)
        nn.init.zeros_(self.mix_out.weight)

    def counts(self, batch: Batch, history: HistoryIndex) -> Tensor:
        """log(1 + count) of each event's item over the full history, (B, H, N_COUNTS)."""
        is_event = (batch.item_idx > 0).float()
        age_h = hours_between(batch.request_s[:, None], batch.occurred_s)
        decay = torch.exp(-age_h / self.log_decay_h.exp())
        event_counts = torch.stack([is_event, is_event * decay], dim=-1)  # (B, H, N_COUNTS)
        return history.at_representative(torch.log1p(history.sum_by_item(event_counts)))

    def forward(
        self,
        evidence: EventEvidence,
        recent: Batch,
        priors: Priors,
        item_tables: ItemTables,
        context: Tensor,
        kernel_weights: Tensor,
    ) -> Tensor:
        """Score of each item of the latest events, at its representative, else 0, (B, L).

        Args:
            evidence: Inputs of each event.
            recent: The queries with their latest L events.
            priors: Priors counted before the queries.
            item_tables: Categories and coordinates of the items.
            context: Query context, shape (B, n_context).
            kernel_weights: Weights of the linear sum, shape (B, K).
        """
        rows = item_rows(evidence.history)
        log_kernels = torch.log1p(rows.sum_by_item(evidence.bank))  # (R, K)
        linear_scores = (log_kernels * rows.repeat_query(kernel_weights)).sum(-1)  # (R,)
        count_features = rows.select(evidence.count_features)  # (R, N_COUNTS + 1)
        hidden = self.mix_kernels(torch.cat([log_kernels, count_features], dim=-1))
        hidden = hidden + rows.repeat_query(self.mix_context(context))  # (R, n_hidden)
        hidden = hidden + self.mix_features(self.item_features(rows, recent, priors, item_tables))
        item_scores = linear_scores + self.mix_out(nn.functional.gelu(hidden))[:, 0]
        return rows.at_events(item_scores) * evidence.history.is_first
