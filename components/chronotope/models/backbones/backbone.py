"""Backbone: tied item embeddings, a sequence encoder, and inner products with all items."""

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
from chronotope.models.history_index import HistoryIndex, truncate_history
from chronotope.models.item_tables import ItemTables
from chronotope.models.priors import Priors


class Backbone(nn.Module):
    """score(b, i) = <query_tower(sequence_encoder(events of b), request of b), item_table_i>.

    The encoder is causal: its state after an event knows nothing later, so that one pass
    over packed sequences serves all queries in them.

    An item's embedding is its category's plus its own deviation, so that a rare item is
    scored through its category. Input and output embeddings are tied.
    """

    def __init__(self, config: ModelConfig, item_tables: ItemTables) -> None:
        """Build the encoder of histories and the tower of items of a family."""
        super().__init__()
        self.window_len = config.backbone_len
        self.item_embedding = nn.Embedding(item_tables.n_items, config.d_model, padding_idx=0)
        self.category_embedding = nn.Embedding(item_tables.n_categories, config.d_model)
        # Unit length: far smaller tied embeddings hardly move in the first epoch
        nn.init.normal_(self.item_embedding.weight, std=config.d_model**-0.5)
        nn.init.normal_(self.category_embedding.weight, std=config.d_model**-0.5)
        self.sequence_encoder = _sequence_encoder(config)
        self.query_tower = (
            UserTower(config)
            if config.backbone == "two_tower"
            else RequestProjection(config.d_model)
        )
        self.item_tower = _item_tower(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self,
        batch: Batch,
        item_tables: ItemTables,
        priors: Priors,
        candidates: Tensor | None,
        packed_sequences: PackedSequences | None = None,
    ) -> Tensor:
        """Scores, shape (B, n_items), or (B, C) for candidates.

        Args:
            batch: B queries.
            item_tables: Categories of the items.
            priors: Priors counted before the queries.
            candidates: Items to score, int64, shape (C,).
            packed_sequences: The histories, overlapping ones stored once; None encodes the
                history of each query.
        """
        item_table = self.item_table(item_tables, priors)
        if packed_sequences is None:
            recent = truncate_history(batch, self.window_len)
            query_state = self.state(batch, item_table[recent.item_idx])  # (B, d)
        else:
            states = self.sequence_encoder(
                item_table[packed_sequences.item_idx], event_inputs(packed_sequences)
            )  # (R, W, d)
            last_state = states[packed_sequences.row, packed_sequences.column]  # (B, d)
            query_state = self._query_state(batch, last_state)
        candidate_table = item_table if candidates is None else item_table[candidates]
        item_scores: Tensor = query_state @ candidate_table.T
        return item_scores

    def item_table(self, item_tables: ItemTables, priors: Priors) -> Tensor:
        """Vectors of all items, shape (n_items, d_model)."""
        category_table = self.category_embedding.weight[item_tables.category]  # (n_items, d)
        item_table: Tensor = self.item_embedding.weight + category_table
        return item_table if self.item_tower is None else self.item_tower(item_table, priors)

    def state(self, batch: Batch, vectors: Tensor) -> Tensor:
        """State of each query, shape (B, d_model), from its latest item vectors, (B, W, d)."""
        events = event_inputs(truncate_history(batch, self.window_len))
        return self._query_state(batch, self.sequence_encoder(vectors, events)[:, -1])

    def _query_state(self, batch: Batch, last_state: Tensor) -> Tensor:
        query_state: Tensor = self.dropout(self.query_tower(last_state, request_clock(batch)))
        return query_state


def _sequence_encoder(config: ModelConfig) -> nn.Module:
    if config.backbone == "transformer":
        return Transformer(config)
    if config.backbone == "hstu":
        return Hstu(config)
    if config.backbone in ("two_tower", "lightgcn"):
        return DecayedMean(config.backbone_len)
    return Recurrent(config)


def _item_tower(config: ModelConfig) -> nn.Module | None:
    if config.backbone == "two_tower":
        return ItemTower(config.d_model)
    return LightGcn(config.n_layers) if config.backbone == "lightgcn" else None


def gated_scores(
    backbone_scores: Tensor, history: HistoryIndex, backbone_weights: Tensor
) -> Tensor:
    """Backbone scores with one weight for repeats and another for discoveries, (B, C).

    Args:
        backbone_scores: Scores of the candidates, shape (B, C).
        history: Items of the full histories.
        backbone_weights: Weight for a repeat, and for a discovery, shape (B, 2).
    """
    repeat_weight, discovery_weight = backbone_weights[:, :1], backbone_weights[:, 1:]
    repeat_scores = backbone_scores.gather(1, history.column)  # (B, H)
    repeat_scores = repeat_scores * (repeat_weight - discovery_weight) * history.is_first
    return (backbone_scores * discovery_weight).scatter_add(1, history.column, repeat_scores)
