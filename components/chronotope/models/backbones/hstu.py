"""HSTU: pointwise gated attention with a bias of relative position and time."""

import torch
from torch import Tensor, nn

from chronotope.models.backbones.event_inputs import EventInputs, TimeEncoding, causal_window_mask
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
        self.timed = TimeEncoding(config.d_model, config.dropout)
        self.layers = nn.ModuleList(HstuLayer(config) for _ in range(config.n_layers))

    def forward(self, x: Tensor, events: EventInputs) -> Tensor:
        """State after each event, shape (R, W, d_model) kept."""
        x = self.timed(x, events)
        apart_h = hours_between(events.at_s[:, :, None], events.at_s[:, None, :])
        bucket = (BUCKETS_PER_E * torch.log1p(60.0 * apart_h)).long().clamp(max=N_BUCKETS - 1)
        for layer in self.layers:
            x = layer(x, bucket, events.known)
        return x


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
        self.by_position = nn.Parameter(torch.zeros(N_HEADS, self.length))
        self.by_time = nn.Parameter(torch.zeros(N_HEADS, N_BUCKETS))

    def forward(self, x: Tensor, bucket: Tensor, known: Tensor) -> Tensor:
        """Attend to the known events up to each.

        Args:
            x: Shape (R, W, d_model).
            bucket: Bucket of the time between events, int64, shape (R, W, W).
            known: 1 where there is an event, shape (R, W).
        """
        gate, *parts = nn.functional.silu(self.split(self.norm_in(x))).chunk(4, dim=-1)
        value, query, key = (self._heads(part) for part in parts)
        logits = query @ key.transpose(2, 3) + self._bias(bucket)
        visible = (
            causal_window_mask(x.shape[1], self.length, x) * (known / self.length)[:, None, None, :]
        )
        weight = nn.functional.silu(logits) * visible
        seen = (weight @ value).transpose(1, 2).flatten(2)  # (R, W, d)
        y: Tensor = x + self.dropout(self.out(self.norm_out(seen) * gate))
        return y

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(*x.shape[:2], N_HEADS, -1).transpose(1, 2)

    def _bias(self, bucket: Tensor) -> Tensor:
        """Bias of each head and pair of events, shape (R, N_HEADS, W, W)."""
        at = torch.arange(bucket.shape[1], device=bucket.device)
        apart = (at[:, None] - at[None, :]).clamp(0, self.length - 1)
        return self.by_position[:, apart] + self.by_time.T[bucket].permute(0, 3, 1, 2)
