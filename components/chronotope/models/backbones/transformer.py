"""A Transformer with learned positions."""

import torch
from torch import Tensor, nn

from chronotope.models.backbones.events import Events, TimedEvents
from chronotope.models.config import ModelConfig

N_HEADS = 2


class Transformer(nn.Module):
    """Self-attention over the latest events; padding is not attended to.

    Only the state after the last event is used, and nothing later is in the history,
    so attention need not be causal.

    Source:
        Kang and McAuley (2018), Self-Attentive Sequential Recommendation (SASRec).
    """

    def __init__(self, config: ModelConfig) -> None:
        """Build the layers."""
        super().__init__()
        self.timed = TimedEvents(config.d_model, config.dropout)
        self.position = nn.Parameter(torch.randn(config.backbone_len, config.d_model) * 0.02)
        self.layers = nn.ModuleList(AttentionLayer(config) for _ in range(config.n_layers))

    def forward(self, x: Tensor, events: Events) -> Tensor:
        """State after the latest event, (B, L, d_model) to (B, d_model)."""
        n = x.shape[1]
        x = self.timed(x, events) + self.position[-n:]
        # every event attends to itself, or a history of padding alone would be NaN
        itself = torch.eye(n, dtype=torch.bool, device=x.device)
        visible = (events.known > 0)[:, None, :] | itself  # (B, L, L)
        for layer in self.layers:
            x = layer(x, visible[:, None])
        return x[:, -1]


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

    def forward(self, x: Tensor, visible: Tensor) -> Tensor:
        """Attend to what is visible.

        Args:
            x: Shape (B, L, d_model).
            visible: Which events each may see, bool, shape (B, 1, L, L).
        """
        parts = self.split(self.norm_in(x)).chunk(3, dim=-1)
        query, key, value = (p.view(*p.shape[:2], N_HEADS, -1).transpose(1, 2) for p in parts)
        seen = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=visible)
        x = x + self.dropout(self.join(seen.transpose(1, 2).flatten(2)))
        y: Tensor = x + self.dropout(self.mlp(self.norm_out(x)))
        return y
