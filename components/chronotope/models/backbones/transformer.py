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
        the positions of Su et al. (2021), RoFormer, eq. 14-16: attention depends on how
        far apart events are, not on where a window of them begins.
    """

    def __init__(self, config: ModelConfig) -> None:
        """Build the layers."""
        super().__init__()
        self.length = config.backbone_len
        self.timed = TimeEncoding(config.d_model, config.dropout)
        self.layers = nn.ModuleList(AttentionLayer(config) for _ in range(config.n_layers))

    def forward(self, x: Tensor, events: EventInputs) -> Tensor:
        """State after each event, shape (R, W, d_model) kept."""
        width = x.shape[1]
        x = self.timed(x, events)
        # every event attends to itself, or a history of padding alone would be NaN
        itself = torch.eye(width, dtype=torch.bool, device=x.device)
        known = (events.known > 0)[:, None, :]
        visible = (known & causal_window_mask(width, self.length, x)) | itself  # (R, W, W)
        angle = rotary_angles(width, x.shape[2] // N_HEADS, x)
        for layer in self.layers:
            x = layer(x, visible[:, None], angle)
        return x


class AttentionLayer(nn.Module):
    """Attention and a network of two layers, each behind a norm and beside a shortcut."""

    def __init__(self, config: ModelConfig) -> None:
        """Build the layers."""
        super().__init__()
        d = config.d_model
        self.norm_in, self.norm_out = nn.LayerNorm(d), nn.LayerNorm(d)
        self.split, self.join = nn.Linear(d, 3 * d), nn.Linear(d, d)
        self.mlp = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, visible: Tensor, angle: Tensor) -> Tensor:
        """Attend to what is visible.

        Args:
            x: Shape (R, W, d_model).
            visible: Which events each may see, bool, shape (R, 1, W, W).
            angle: Of ``rotary_angles``.
        """
        parts = self.split(self.norm_in(x)).chunk(3, dim=-1)
        query, key, value = (p.view(*p.shape[:2], N_HEADS, -1).transpose(1, 2) for p in parts)
        seen = nn.functional.scaled_dot_product_attention(
            apply_rotary(query, angle), apply_rotary(key, angle), value, attn_mask=visible
        )
        x = x + self.dropout(self.join(seen.transpose(1, 2).flatten(2)))
        y: Tensor = x + self.dropout(self.mlp(self.norm_out(x)))
        return y


def rotary_angles(width: int, d_head: int, like: Tensor) -> Tensor:
    """Angle of each position and pair of coordinates, shape (W, d_head // 2)."""
    pair = torch.arange(d_head // 2, device=like.device)
    speed = ROTARY_BASE ** (-2.0 * pair / d_head)
    return torch.arange(width, device=like.device)[:, None] * speed


def apply_rotary(x: Tensor, angle: Tensor) -> Tensor:
    """Each pair of coordinates turned by its angle, shape (R, heads, W, d_head) kept.

    An odd last coordinate stays as it is.
    """
    n = angle.shape[1]
    one, other, rest = x[..., :n], x[..., n : 2 * n], x[..., 2 * n :]
    cos, sin = angle.cos(), angle.sin()
    return torch.cat([one * cos - other * sin, one * sin + other * cos, rest], dim=-1)
