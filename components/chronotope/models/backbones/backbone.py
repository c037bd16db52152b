"""What all backbones share: embeddings of items in, inner products with items out."""

from torch import Tensor, nn

from chronotope.models.backbones.event_inputs import (
    DecayedMean,
    PackedSequences,
    RequestProjection,
    event_inputs,
    request_clock,
)
from chronotope.models.backbones.hstu import Hstu
from chronotope.models.backbones.lightgcn import LightGcn
from chronotope.models.backbones.recurrent import Recurrent
from chronotope.models.backbones.transformer import Transformer
from chronotope.models.backbones.two_tower import ItemTower, UserTower
from chronotope.models.batch import Batch
from chronotope.models.config import ModelConfig
from chronotope.models.history_index import truncate_history
from chronotope.models.item_tables import ItemTables
from chronotope.models.priors import Priors


class Backbone(nn.Module):
    """score(b, i) = <moment(reader(events of b), now of b), table_i>.

    The reader is causal: its state after an event knows nothing later, so that one pass
    over a stretch of history answers all queries in it.

    An item's embedding is its category's and its own deviation, so that a rare item is
    scored through its category. Input and output embeddings are tied.
    """

    def __init__(self, config: ModelConfig, tables: ItemTables) -> None:
        """Build the reader of histories and the tower of items of a family."""
        super().__init__()
        self.length = config.backbone_len
        self.item = nn.Embedding(tables.n_items, config.d_model, padding_idx=0)
        self.category = nn.Embedding(tables.n_categories, config.d_model)
        # unit length: from far smaller ones, tied embeddings hardly move for an epoch
        nn.init.normal_(self.item.weight, std=config.d_model**-0.5)
        nn.init.normal_(self.category.weight, std=config.d_model**-0.5)
        self.reader = _reader(config)
        self.moment = (
            UserTower(config) if config.backbone == "mlp" else RequestProjection(config.d_model)
        )
        self.tower = _tower(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        batch: Batch,
        tables: ItemTables,
        priors: Priors,
        candidates: Tensor | None,
        stretches: PackedSequences | None = None,
    ) -> Tensor:
        """Scores, shape (B, n_items), or (B, C) for candidates.

        Args:
            batch: The queries.
            tables: Categories of the items.
            priors: What everybody did before them.
            candidates: Items to score, int64, shape (C,).
            stretches: The histories laid out once; None reads each of them apart.
        """
        table = self.table(tables, priors)
        if stretches is None:
            state = self.state(batch, table[truncate_history(batch, self.length).item_idx])
        else:
            states = self.reader(table[stretches.item_idx], event_inputs(stretches))  # (R, W, d)
            state = self._at(batch, states[stretches.row, stretches.column])
        scores: Tensor = state @ (table if candidates is None else table[candidates]).T
        return scores

    def table(self, tables: ItemTables, priors: Priors) -> Tensor:
        """Vectors of all items, shape (n_items, d_model)."""
        table: Tensor = self.item.weight + self.category.weight[tables.category]
        return table if self.tower is None else self.tower(table, priors)

    def state(self, batch: Batch, vectors: Tensor) -> Tensor:
        """What a user is, shape (B, d_model), from the vectors of the latest items, (B, W, d)."""
        states = self.reader(vectors, event_inputs(truncate_history(batch, self.length)))
        return self._at(batch, states[:, -1])

    def _at(self, batch: Batch, last: Tensor) -> Tensor:
        state: Tensor = self.dropout(self.moment(last, request_clock(batch)))
        return state


def _reader(config: ModelConfig) -> nn.Module:
    if config.backbone == "transformer":
        return Transformer(config)
    if config.backbone == "hstu":
        return Hstu(config)
    if config.backbone in ("mlp", "graph"):
        return DecayedMean(config.backbone_len)
    return Recurrent(config)


def _tower(config: ModelConfig) -> nn.Module | None:
    if config.backbone == "mlp":
        return ItemTower(config.d_model)
    return LightGcn(config.n_layers) if config.backbone == "graph" else None
