"""Sequence backbones over the latest events; one vector a query."""

import torch
from torch import Tensor, nn

from chronotope.models.batch import Batch, hours_between, local_hour
from chronotope.models.config import ModelConfig


class SequenceBackbone(nn.Module):
    """RNN, LSTM, GRU or Transformer over item, category, hour and gap.

    Input and output item embeddings are tied, and each is a category's embedding plus
    an item's own deviation, so that a rare item is scored through its category.
    """

    def __init__(self, config: ModelConfig, n_items: int, n_categories: int) -> None:
        """Build the layers; the output scale starts at zero so kernels lead."""
        super().__init__()
        d = config.d_model
        self.length = config.backbone_len
        self.item = nn.Embedding(n_items, d, padding_idx=0)
        self.category = nn.Embedding(n_categories, d)
        nn.init.normal_(self.item.weight, std=0.02)
        nn.init.normal_(self.category.weight, std=0.02)
        self.time = nn.Linear(4, d)
        self.dropout = nn.Dropout(config.dropout)
        self.scale = nn.Parameter(torch.zeros(()))
        self.kind = config.backbone
        if self.kind == "transformer":
            self.position = nn.Parameter(torch.randn(self.length, d) * 0.02)
            self.encoder = nn.TransformerEncoderLayer(
                d, 2, 2 * d, config.dropout, batch_first=True, norm_first=True
            )
        else:
            cell = {"gru": nn.GRU, "lstm": nn.LSTM, "rnn": nn.RNN}[self.kind]
            self.recurrent = cell(d, d, batch_first=True)

    def item_table(self, item_category: Tensor) -> Tensor:
        """Embeddings of all items, shape (n_items, d_model)."""
        table: Tensor = self.item.weight + self.category.weight[item_category]
        return table

    def forward(self, batch: Batch, item_category: Tensor, gap_h: Tensor) -> Tensor:
        """State after the latest event, shape (B, d_model).

        Args:
            batch: The queries.
            item_category: Category of each item, shape (n_items,).
            gap_h: Hours from the last event to the request, shape (B,); 0 when hidden.
        """
        items = batch.item_idx[:, -self.length :]
        at, offset = batch.occurred_s[:, -self.length :], batch.utc_offset_min[:, -self.length :]
        angle = local_hour(at, offset) * (torch.pi / 12.0)
        following = torch.cat([hours_between(at[:, 1:], at[:, :-1]), gap_h[:, None]], dim=1)
        valid = (items > 0).float()[..., None]
        clock = torch.stack(
            [angle.sin(), angle.cos(), torch.log1p(following) / 5.0, torch.ones_like(angle)], -1
        )
        x = self.item(items) + self.category(item_category[items]) + self.time(clock)
        x = self.dropout(x * valid)  # (B, L, d)
        if self.kind == "transformer":
            seen = self.encoder(x + self.position[-x.shape[1] :], src_key_padding_mask=None)
            state = seen[:, -1]
        else:
            state = self.recurrent(x)[0][:, -1]
        scaled: Tensor = self.dropout(state) * self.scale
        return scaled
