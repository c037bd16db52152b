"""Ranks the items of the user's own past: kernels, counts and facts through a small network."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from chronotope.models.batch import Batch, hours_between
from chronotope.models.history_index import HistoryIndex
from chronotope.models.item_features import ItemFeatures
from chronotope.models.item_tables import ItemTables
from chronotope.models.kernels import KERNELS
from chronotope.models.priors import Priors
from chronotope.models.query_context import N_CONTEXT

N_COUNTS = 2
"""Counts over the whole history: plain, and decayed by a learned time."""


class EventEvidence(NamedTuple):
    """What is known of each event of the recent past.

    Attributes:
        bank: Kernels, shape (B, L, K).
        known: Counts and the crowd's score of the event's item, (B, L, N_COUNTS + 1).
        near: Where the items stand.
    """

    bank: Tensor
    known: Tensor
    near: HistoryIndex


class RepeatHead(nn.Module):
    """A linear sum of log-kernels, and a network over them, the facts and the context."""

    def __init__(self, n_categories: int, n_hidden: int, n_context: int = N_CONTEXT) -> None:
        """Build the layers; the network starts at zero, so that the linear part leads."""
        super().__init__()
        self.log_tau_h = nn.Parameter(torch.tensor(90.0 * 24.0).log())
        self.mix_kernels = nn.Linear(len(KERNELS) + N_COUNTS + 1, n_hidden)
        self.mix_context = nn.Linear(n_context, n_hidden)
        self.facts = ItemFeatures(n_categories)
        self.mix_facts = nn.Linear(self.facts.n_out, n_hidden)
        self.mix_out = nn.Linear(n_hidden, 1)
        nn.init.zeros_(self.mix_out.weight)

    def counts(self, batch: Batch, past: HistoryIndex) -> Tensor:
        """log(1 + count) of each event's item over the whole history, (B, H, N_COUNTS)."""
        valid = (batch.item_idx > 0).float()
        age_h = hours_between(batch.request_s[:, None], batch.occurred_s)
        each = torch.stack([valid, valid * torch.exp(-age_h / self.log_tau_h.exp())], dim=-1)
        return torch.log1p(past.summed(each)).gather(1, past.slot[..., None].expand_as(each))

    def forward(
        self,
        evidence: EventEvidence,
        recent: Batch,
        priors: Priors,
        tables: ItemTables,
        context: Tensor,
        weights: Tensor,
    ) -> Tensor:
        """Score of each item of the recent past, at its representative, else 0, (B, L).

        Args:
            evidence: What is known of each event.
            recent: The queries with their latest L events.
            priors: What everybody did before them.
            tables: Categories and coordinates.
            context: Shape (B, n_context).
            weights: Of the kernels in the linear sum, shape (B, K).
        """
        logged = torch.log1p(evidence.near.summed(evidence.bank))
        linear = (logged * weights[:, None, :]).sum(-1)
        mixed = self.mix_kernels(torch.cat([logged, evidence.known], dim=-1))
        mixed = mixed + self.mix_context(context)[:, None, :]
        mixed = mixed + self.mix_facts(self.facts(recent, priors, tables))
        score: Tensor = linear + self.mix_out(nn.functional.gelu(mixed))[..., 0]
        return score * evidence.near.is_first
