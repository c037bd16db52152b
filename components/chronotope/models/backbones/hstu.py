"""HSTU: pointwise gated attention with a bias of relative position and time."""

import torch
from torch import Tensor, nn

from chronotope.models.backbones.events import Events, TimedEvents
from chronotope.models.batch import hours_between
from chronotope.models.config import ModelConfig

N_HEADS = 2
N_BUCKETS = 32
BUCKETS_PER_E = 2.0
"""Buckets of time for a growth by the factor e; the last one opens after seven centuries."""


class Hstu(nn.Module):
    """Hierarchical sequential transduction units over the latest events.

    Source:
        Zhai et al. (2024), Actions Speak Louder than Words, eq. 1-3.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Build the layers."""
        super().__init__()
        self.timed = TimedEvents(config.d_model, config.dropout)
        self.layers = nn.ModuleList(HstuLayer(config) for _ in range(config.n_layers))

    def forward(self, x: Tensor, events: Events) -> Tensor:
        """State after the latest event, (B, L, d_model) to (B, d_model)."""
        x = self.timed(x, events)
        # from the moment that each event leads to, back to every other event
        apart_h = hours_between(events.next_s[:, :, None], events.at_s[:, None, :])
        bucket = (BUCKETS_PER_E * torch.log1p(60.0 * apart_h)).long().clamp(max=N_BUCKETS - 1)
        for layer in self.layers:
            x = layer(x, bucket, events.known)
        return x[:, -1]


class HstuLayer(nn.Module):
    """One unit.

    U, V, Q, K = split(silu(f1(norm(X)))),
    Y = X + f2(norm(silu(Q K' + bias) V / L) * U)

    where the bias of each head is that of the distance in events plus that of the
    bucket of the distance in time.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Build the layers; all biases of attention start at zero."""
        super().__init__()
        d, self.length = config.d_model, config.backbone_len
        self.norm_in, self.norm_out = nn.LayerNorm(d), nn.LayerNorm(d)
        self.split = nn.Linear(d, 4 * d)
        self.out = nn.Linear(d, d)
        self.dropout = nn.Dropout(config.dropout)
        self.by_position = nn.Parameter(torch.zeros(N_HEADS, 2 * self.length - 1))
        self.by_time = nn.Parameter(torch.zeros(N_HEADS, N_BUCKETS))

    def forward(self, x: Tensor, bucket: Tensor, known: Tensor) -> Tensor:
        """Attend to every known event.

        Args:
            x: Shape (B, L, d_model).
            bucket: Bucket of the time between events, int64, shape (B, L, L).
            known: 1 where there is an event, shape (B, L).
        """
        gate, *parts = nn.functional.silu(self.split(self.norm_in(x))).chunk(4, dim=-1)
        value, query, key = (self._heads(part) for part in parts)
        logits = query @ key.transpose(2, 3) + self._bias(bucket)
        weight = nn.functional.silu(logits) * (known / self.length)[:, None, None, :]
        seen = (weight @ value).transpose(1, 2).flatten(2)  # (B, L, d)
        y: Tensor = x + self.dropout(self.out(self.norm_out(seen) * gate))
        return y

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], N_HEADS, -1).transpose(1, 2)

    def _bias(self, bucket: Tensor) -> Tensor:
        """Bias of each head and pair of events, shape (B, N_HEADS, L, L)."""
        at = torch.arange(bucket.shape[1], device=bucket.device)
        apart = at[:, None] - at[None, :] + self.length - 1
        return self.by_position[:, apart] + self.by_time.T[bucket].permute(0, 3, 1, 2)
