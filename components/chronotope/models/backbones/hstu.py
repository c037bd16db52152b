"""HSTU: pointwise gated attention with a bias of relative position and time."""

import torch
from torch import Tensor, nn

from chronotope.models.backbones.event_inputs import EventInputs, TimeEncoding, causal_window_mask
from chronotope.models.batch import hours_between
from chronotope.models.config import ModelConfig

N_HEADS = 2
N_BUCKETS = 32
BUCKETS_PER_E = 2.0
"""Buckets of time for a growth by the factor e; the last one starts after seven centuries."""


class Hstu(nn.Module):
    """Hierarchical sequential transduction units over the latest events.

    Source:
        Zhai et al. (2024), Actions Speak Louder than Words, eq. 1-3.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Build the layers."""
        super().__init__()
        self.time_encoding = TimeEncoding(config.d_model, config.dropout)
        self.layers = nn.ModuleList(HstuLayer(config) for _ in range(config.n_layers))

    def forward(self, vectors: Tensor, events: EventInputs) -> Tensor:
        """State after each event, shape (R, W, d_model)."""
        vectors = self.time_encoding(vectors, events)
        distance_h = hours_between(events.occurred_s[:, :, None], events.occurred_s[:, None, :])
        bucket = (BUCKETS_PER_E * torch.log1p(60.0 * distance_h)).long().clamp(max=N_BUCKETS - 1)
        for layer in self.layers:
            vectors = layer(vectors, bucket, events.is_event)
        return vectors


class HstuLayer(nn.Module):
    """One HSTU layer.

    U, V, Q, K = split(silu(f1(norm(X)))),
    Y = X + f2(norm(silu(Q K' + bias) V / L) * U)

    where the bias of each head is the sum of the biases of the distance in events and of the
    bucket of the distance in time.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Build the layers; all biases of attention start at zero."""
        super().__init__()
        d, self.window_len = config.d_model, config.backbone_len
        self.norm_in, self.norm_out = nn.LayerNorm(d), nn.LayerNorm(d)
        self.input_layer = nn.Linear(d, 4 * d)
        self.output_layer = nn.Linear(d, d)
        self.dropout = nn.Dropout(config.dropout)
        self.position_bias = nn.Parameter(torch.zeros(N_HEADS, self.window_len))
        self.time_bias = nn.Parameter(torch.zeros(N_HEADS, N_BUCKETS))

    def forward(self, vectors: Tensor, bucket: Tensor, is_event: Tensor) -> Tensor:
        """Attend from each event to the known events up to it.

        Args:
            vectors: Shape (R, W, d_model).
            bucket: Bucket of the time between events, int64, shape (R, W, W).
            is_event: 1 where there is an event, shape (R, W).
        """
        gate, *projections = nn.functional.silu(self.input_layer(self.norm_in(vectors))).chunk(
            4, dim=-1
        )
        value, query, key = (self._heads(projection) for projection in projections)
        logits = query @ key.transpose(2, 3) + self._bias(bucket)  # (R, heads, W, W)
        visible = (
            causal_window_mask(vectors.shape[1], self.window_len, vectors)
            * (is_event / self.window_len)[:, None, None, :]
        )
        weight = nn.functional.silu(logits) * visible
        attended = (weight @ value).transpose(1, 2).flatten(2)  # (R, W, d)
        outputs: Tensor = vectors + self.dropout(self.output_layer(self.norm_out(attended) * gate))
        return outputs

    def _heads(self, vectors: Tensor) -> Tensor:
        by_head = vectors.view(*vectors.shape[:2], N_HEADS, -1)  # (R, W, heads, d / heads)
        return by_head.transpose(1, 2)  # (R, heads, W, d / heads)

    def _bias(self, bucket: Tensor) -> Tensor:
        """Bias of each head and pair of events, shape (R, N_HEADS, W, W)."""
        positions = torch.arange(bucket.shape[1], device=bucket.device)
        distance = (positions[:, None] - positions[None, :]).clamp(0, self.window_len - 1)  # (W, W)
        time_bias = self.time_bias.T[bucket].permute(0, 3, 1, 2)  # (R, heads, W, W)
        return self.position_bias[:, distance] + time_bias
