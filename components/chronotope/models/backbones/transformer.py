"""A Transformer with rotary positions."""

import torch
from torch import Tensor, nn

from chronotope.models.backbones.event_inputs import EventInputs, TimeEncoding, causal_window_mask
from chronotope.models.config import ModelConfig

N_HEADS = 2
ROTARY_BASE = 10_000.0


class Transformer(nn.Module):
    """Causal self-attention over the latest events; padding is not attended to.

    Source:
        Kang and McAuley (2018), Self-Attentive Sequential Recommendation (SASRec), with
        the positions of Su et al. (2021), RoFormer, eq. 14-16: attention depends on the
        distance of events, not on the start of the window.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Build the layers."""
        super().__init__()
        self.window_len = config.backbone_len
        self.time_encoding = TimeEncoding(config.d_model, config.dropout)
        self.layers = nn.ModuleList(AttentionLayer(config) for _ in range(config.n_layers))

    def forward(self, vectors: Tensor, events: EventInputs) -> Tensor:
        """State after each event, shape (R, W, d_model)."""
        width = vectors.shape[1]
        vectors = self.time_encoding(vectors, events)
        # Each event attends to its own position, or a history of padding alone would be NaN
        positions = torch.arange(width, device=vectors.device)
        is_self = positions[:, None] == positions  # (W, W)
        is_event = (events.is_event > 0)[:, None, :]
        is_visible = (
            is_event & causal_window_mask(width, self.window_len, vectors)
        ) | is_self  # (R, W, W)
        angle = rotary_angles(width, vectors.shape[2] // N_HEADS, vectors)
        for layer in self.layers:
            vectors = layer(vectors, is_visible[:, None], angle)
        return vectors


class AttentionLayer(nn.Module):
    """Attention and a feed-forward network, each with pre-norm and a residual connection."""

    def __init__(self, config: ModelConfig) -> None:
        """Build the layers."""
        super().__init__()
        d = config.d_model
        self.norm_in, self.norm_out = nn.LayerNorm(d), nn.LayerNorm(d)
        self.input_layer, self.output_layer = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.feed_forward = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, vectors: Tensor, is_visible: Tensor, angle: Tensor) -> Tensor:
        """Attend to the visible events.

        Args:
            vectors: Shape (R, W, d_model).
            is_visible: Events that each event attends to, bool, shape (R, 1, W, W).
            angle: Output of ``rotary_angles``.
        """
        projections = self.input_layer(self.norm_in(vectors)).chunk(3, dim=-1)
        query, key, value = (
            projection.view(*projection.shape[:2], N_HEADS, -1).transpose(1, 2)
            for projection in projections
        )  # (R, heads, W, d / heads)
        attended = nn.functional.scaled_dot_product_attention(
            apply_rotary(query, angle), apply_rotary(key, angle), value, attn_mask=is_visible
        )
        vectors = vectors + self.dropout(
            self.output_layer(attended.transpose(1, 2).flatten(2))
        )  # (R, W, d)
        outputs: Tensor = vectors + self.dropout(self.feed_forward(self.norm_out(vectors)))
        return outputs


def rotary_angles(width: int, d_head: int, reference: Tensor) -> Tensor:
    """Angle of each position and pair of coordinates, shape (W, d_head // 2)."""
    pair_idx = torch.arange(d_head // 2, device=reference.device)
    frequency = ROTARY_BASE ** (-2.0 * pair_idx / d_head)
    return torch.arange(width, device=reference.device)[:, None] * frequency


def apply_rotary(vectors: Tensor, angle: Tensor) -> Tensor:
    """Rotate each pair of coordinates by its angle, (R, heads, W, d_head) to the same shape.

    An odd last coordinate is not rotated.
    """
    n_pairs = angle.shape[1]
    first_half, second_half, odd_part = (
        vectors[..., :n_pairs],
        vectors[..., n_pairs : 2 * n_pairs],
        vectors[..., 2 * n_pairs :],
    )
    cos, sin = angle.cos(), angle.sin()
    return torch.cat(
        [first_half * cos - second_half * sin, first_half * sin + second_half * cos, odd_part],
        dim=-1,
    )
