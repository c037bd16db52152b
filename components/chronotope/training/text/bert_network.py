"""BERT encoder in torch, whose parameters have the names that the ONNX graph is built from.

Lower layers may be frozen: their states are computed once for all texts, and training starts
from them.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from chronotope.content.graphs.bert import BertShape

Weights = Mapping[str, npt.NDArray[np.float32]]


class _Embeddings(nn.Module):
    def __init__(self, n_words: int, n_positions: int, dim: int, epsilon: float) -> None:
        super().__init__()
        self.word_embeddings = nn.Embedding(n_words, dim)
        self.position_embeddings = nn.Embedding(n_positions, dim)
        self.token_type_embeddings = nn.Embedding(1, dim)
        self.LayerNorm = nn.LayerNorm(dim, eps=epsilon)
        for embedding_table in (
            self.word_embeddings,
            self.position_embeddings,
            self.token_type_embeddings,
        ):
            nn.init.normal_(embedding_table.weight, std=0.02)

    def forward(self, token_ids: Tensor) -> Tensor:
        """States before the first layer, shape (B, T, d)."""
        position_states = self.position_embeddings.weight[: token_ids.shape[1]]
        type_state = self.token_type_embeddings.weight[0]
        hidden_states: Tensor = self.LayerNorm(
            self.word_embeddings(token_ids) + position_states + type_state
        )
        return hidden_states


def _residual_output(n_in: int, dim: int, epsilon: float) -> nn.ModuleDict:
    return nn.ModuleDict(
        {"dense": nn.Linear(n_in, dim), "LayerNorm": nn.LayerNorm(dim, eps=epsilon)}
    )


class _Layer(nn.Module):
    def __init__(self, dim: int, n_inner: int, bert_shape: BertShape, dropout: float) -> None:
        super().__init__()
        projections = {name: nn.Linear(dim, dim) for name in ("query", "key", "value")}
        self.attention = nn.ModuleDict(
            {
                "self": nn.ModuleDict(projections),
                "output": _residual_output(dim, dim, bert_shape.epsilon),
            }
        )
        self.intermediate = nn.ModuleDict({"dense": nn.Linear(dim, n_inner)})
        self.output = _residual_output(n_inner, dim, bert_shape.epsilon)
        self.dropout = nn.Dropout(dropout)
        self.n_heads = bert_shape.n_heads

    def forward(self, states: Tensor, token_mask: Tensor) -> Tensor:
        """States after the layer, shape (B, T, d)."""
        n_texts, n_tokens, dim = states.shape
        query_heads, key_heads, value_heads = (
            projection(states).view(n_texts, n_tokens, self.n_heads, -1).transpose(1, 2)
            for projection in self._projections()
        )  # (B, heads, T, d / heads)
        mixed_values = functional.scaled_dot_product_attention(
            query_heads, key_heads, value_heads, attn_mask=token_mask[:, None, None, :]
        )
        joined_heads = mixed_values.transpose(1, 2).reshape(n_texts, n_tokens, dim)
        states = self._add(self.attention["output"], states, joined_heads)
        inner_states = functional.gelu(self.intermediate["dense"](states))
        return self._add(self.output, states, inner_states)

    def _projections(self) -> list[nn.Module]:
        attention: Any = self.attention["self"]
        return [attention[name] for name in ("query", "key", "value")]

    def _add(self, output: Any, states: Tensor, inner: Tensor) -> Tensor:
        added_states: Tensor = output["LayerNorm"](states + self.dropout(output["dense"](inner)))
        return added_states


class BertNetwork(nn.Module):
    """BERT encoder with mean pooling (Devlin et al. 2019; Reimers and Gurevych 2019)."""

    def __init__(
        self,
        sizes: tuple[int, int, int, int],
        bert_shape: BertShape,
        *,
        n_frozen: int = 0,
        dropout: float = 0.0,
    ) -> None:
        """Random weights.

        Args:
            sizes: Words of the vocabulary, positions, width, and width inside a layer.
            bert_shape: Layers and heads.
            n_frozen: Lower layers, and the embeddings if above 0, that are not trained.
            dropout: Dropout of the trained layers.
        """
        super().__init__()
        n_words, n_positions, dim, n_inner = sizes
        self.embeddings = _Embeddings(n_words, n_positions, dim, bert_shape.epsilon)
        encoder_layers = [
            _Layer(dim, n_inner, bert_shape, dropout if layer_idx >= n_frozen else 0.0)
            for layer_idx in range(bert_shape.n_layers)
        ]
        self.encoder = nn.ModuleDict({"layer": nn.ModuleList(encoder_layers)})
        self.bert_shape, self.n_frozen, self.dim = bert_shape, n_frozen, dim
        if n_frozen:
            for frozen_module in (self.embeddings, *encoder_layers[:n_frozen]):
                frozen_module.requires_grad_(requires_grad=False)

    @classmethod
    def from_weights(
        cls, weight_arrays: Weights, bert_shape: BertShape, *, n_frozen: int, dropout: float
    ) -> "BertNetwork":
        """Network with pretrained weights.

        Args:
            weight_arrays: Parameters by BERT's names.
            bert_shape: Layers and heads.
            n_frozen: Lower layers that are not trained.
            dropout: Dropout of the trained layers.
        """
        n_words, dim = weight_arrays["embeddings.word_embeddings.weight"].shape
        n_positions = len(weight_arrays["embeddings.position_embeddings.weight"])
        n_inner = len(weight_arrays["encoder.layer.0.intermediate.dense.bias"])
        bert_network = cls(
            (n_words, n_positions, dim, n_inner), bert_shape, n_frozen=n_frozen, dropout=dropout
        )
        # One type of token is used; pretrained weights may have two.
        sizes_by_name = {
            name: len(weight_tensor) for name, weight_tensor in bert_network.state_dict().items()
        }
        weight_tensors = {
            name: torch.from_numpy(np.array(weight_arrays[name][:n_rows]))
            for name, n_rows in sizes_by_name.items()
        }
        bert_network.load_state_dict(weight_tensors)
        return bert_network

    def lower_states(self, token_ids: Tensor, token_mask: Tensor) -> Tensor:
        """States after the frozen layers, shape (B, T, d); of the embeddings if none is frozen.

        Args:
            token_ids: Shape (B, T).
            token_mask: Whether a position holds a token, shape (B, T).
        """
        hidden_states: Tensor = self.embeddings(token_ids)
        for encoder_layer in self._layers()[: self.n_frozen]:
            hidden_states = encoder_layer(hidden_states, token_mask)
        return hidden_states

    def forward(self, inputs: Tensor, token_mask: Tensor) -> Tensor:
        """Mean of the last states over the tokens, shape (B, d).

        Args:
            inputs: Token ids, shape (B, T), or states after the frozen layers, shape (B, T, d).
            token_mask: Whether a position holds a token, shape (B, T).
        """
        hidden_states = (
            inputs if inputs.is_floating_point() else self.lower_states(inputs, token_mask)
        )
        for encoder_layer in self._layers()[self.n_frozen :]:
            hidden_states = encoder_layer(hidden_states, token_mask)
        token_weights = token_mask[:, :, None].to(hidden_states.dtype)
        return (hidden_states * token_weights).sum(1) / token_weights.sum(1)

    def weight_arrays(self) -> dict[str, npt.NDArray[np.float32]]:
        """Parameters by BERT's names."""
        return {
            name: weight_tensor.detach().numpy()
            for name, weight_tensor in self.state_dict().items()
        }

    def _layers(self) -> list[Any]:
        encoder_layers: Any = self.encoder["layer"]
        return list(encoder_layers)
