"""Scores of items from their content: what an item is, beside what was counted of it.

For a query b and an item i,

    profile_t(b) = sum_h weight_t(b, h) v(item_h) / sum_h weight_t(b, h)
    content_scores(b, i) = sum_m sum_t gates_tm(c_b) <profile_t,m(b), v_m(i)>

v_m(i) is the content vector of modality m in its principal axes, zero where the modality is
missing, so that a missing modality adds nothing. t is the recent past or the last event.

An item without events is ranked by its content alone. It gets on top of all other terms

    cold_scores(b, i) = share_i ( sum_m cold_m <profile_recent,m(b), v_m(i)>
                                  + [profile_recent(b), 1] metric v(i)
                                  + cold_M expected_i + cold_M+1 )

where expected_i is the popularity that the items with similar content let expect, and share_i is
1 for an item without events and falls with the first ones of a new item. ``metric`` says which
content follows which, over all kinds of content together; its last row says which is popular
(``training.content_metric``). All of these are fitted after the training, the weights on items
that are treated as if they had no events (``training.cold_start``); they are zero before.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.event_log import Catalog
from chronotope.contracts.item_content import ItemContent
from chronotope.models.batch import Batch
from chronotope.models.config import ModelConfig
from chronotope.models.priors import Priors

N_RECENT: Final = 32
"""Latest events of the profile."""

PROFILES: Final = ("recent", "last")
"""What the items are compared with: the weighted mean of the latest events, and the last one."""

COLD_NAMES: Final = ("expected_popularity", "constant")
"""Terms of the score of an item without events, beside the similarity of each modality."""


class Profiles(NamedTuple):
    """Content of the past, each (B, A)."""

    recent: Tensor
    last: Tensor


class ContentHead(nn.Module):
    """Scores by similarity to the past in content, and scores of items without events."""

    vectors: Tensor
    modality_of_axis: Tensor
    cold_weights: Tensor
    metric: Tensor

    def __init__(self, content: ItemContent, n_context: int) -> None:
        """Build for the modalities of a catalogue; similarity starts with a small weight.

        Args:
            content: Content of the items.
            n_context: Width of the query context.
        """
        super().__init__()
        n_modalities = len(content.axes.modalities)
        self.modalities = content.axes.modalities
        self._encoders = content.axes.encoders  # private: no part of an exported graph
        self.register_buffer("vectors", torch.from_numpy(content.vectors.copy()))
        n_axes = torch.tensor(content.axes.n_axes)
        modality_of_axis = torch.repeat_interleave(torch.arange(n_modalities), n_axes)
        self.register_buffer("modality_of_axis", modality_of_axis, persistent=False)
        self.register_buffer("cold_weights", torch.zeros(n_modalities + len(COLD_NAMES)))
        n_columns = content.vectors.shape[1]
        self.register_buffer("metric", torch.zeros(n_columns + 1, n_columns))
        self.gates = nn.Linear(n_context, len(PROFILES) * n_modalities)
        nn.init.zeros_(self.gates.weight)
        nn.init.constant_(self.gates.bias, 0.5)

    @property
    def encoders(self) -> dict[str, str]:
        """Encoder of each modality that the weights were trained with."""
        return dict(self._encoders)

    def profiles(self, recent: Batch, event_weights: Tensor) -> Profiles:
        """Mean vector of the recent events, and vector of the last one.

        Args:
            recent: B queries with L events.
            event_weights: Weight of each event, shape (B, L).
        """
        item_idx = _latest(recent.item_idx)
        event_vectors = self.vectors[item_idx]  # (B, N, A)
        weights = _latest(event_weights) * (item_idx > 0)
        weights = weights / weights.sum(1, keepdim=True).clamp(min=1e-3)
        return Profiles((event_vectors * weights[..., None]).sum(1), event_vectors[:, -1])

    def wanted(self, profiles: Profiles, context: Tensor) -> Tensor:
        """Vectors whose products with those of the items are the content scores, (B, A).

        Args:
            profiles: Content of the past.
            context: Query context, shape (B, n_context).
        """
        gates = self.gates(context).view(context.shape[0], len(PROFILES), len(self.modalities))
        axis_gates = gates[:, :, self.modality_of_axis]  # (B, T, A)
        wanted: Tensor = (axis_gates * torch.stack(profiles, dim=1)).sum(1)
        return wanted

    def candidate_vectors(self, candidates: Tensor | None) -> Tensor:
        """Vectors of the candidates, (C, A); None takes all items."""
        return self.vectors if candidates is None else self.vectors[candidates]

    def cold_wanted(self, profiles: Profiles) -> Tensor:
        """Vectors whose products with those of items without events are their scores, (B, A)."""
        similar = profiles.recent * self.cold_weights[self.modality_of_axis]
        return similar + profiles.recent @ self.metric[:-1] + self.metric[-1]

    def cold_scores(self, profiles: Profiles, priors: Priors, candidates: Tensor | None) -> Tensor:
        """Further scores of items without events; 0 for the others, shape (B, C).

        Args:
            profiles: Content of the past.
            priors: Expected popularity and share of each item.
            candidates: Items to score, int64, shape (C,); None scores all.
        """
        expected, cold_share = priors.content_popularity, priors.cold_share
        if candidates is not None:
            expected, cold_share = expected[candidates], cold_share[candidates]
        similarity = self.cold_wanted(profiles) @ self.candidate_vectors(candidates).T  # (B, C)
        popularity_weight, constant = self.cold_weights[-2], self.cold_weights[-1]
        item_scores = expected * popularity_weight + constant  # (C,)
        return (similarity + item_scores) * cold_share

    def cold_features(self, profiles: Profiles, expected: Tensor, items: Tensor) -> Tensor:
        """Inputs of ``cold_weights`` for some items, shape (B, C, M + 1), the constant left out.

        Args:
            profiles: Content of the past.
            expected: Popularity expected of each of the items, shape (C,).
            items: Items, int64, shape (C,).
        """
        modality_features = []
        for modality in range(len(self.modalities)):
            on_axis = (self.modality_of_axis == modality).float()  # (A,)
            modality_features.append((profiles.recent * on_axis) @ self.vectors[items].T)  # (B, C)
        modality_features.append(expected.expand(len(profiles.recent), -1))
        return torch.stack(modality_features, dim=2)


def _latest(table: Tensor) -> Tensor:
    """The latest ``N_RECENT`` columns, with zeros before a shorter history, (B, N_RECENT)."""
    # padded first: a slice alone would fix the shortest history that an exported graph reads
    return nn.functional.pad(table, (N_RECENT, 0))[:, -N_RECENT:]


def selected_content(catalog: Catalog, config: ModelConfig) -> ItemContent | None:
    """Content that a network reads; None if it reads none.

    Args:
        catalog: Catalogue with or without content.
        config: Kinds of content to read.
    """
    if catalog.content is None or not (config.content and config.kernels):
        return None
    content = catalog.content.select(config.modalities)
    return content if content.axes.parts else None


def model_catalog(catalog: Catalog, config: ModelConfig) -> Catalog:
    """Catalogue with the content that a network reads, so that priors are filled by it alone.

    Args:
        catalog: Catalogue with or without content.
        config: Configuration of the network.
    """
    return replace(catalog, content=selected_content(catalog, config))


def check_encoders(trained: Mapping[str, str], content: ItemContent) -> None:
    """Refuse content of other encoders than those that a network was trained with.

    Args:
        trained: Encoder of each modality of the network.
        content: Content of a catalogue.

    Raises:
        ConfigError: The encoders differ.
    """
    if content.axes.encoders != dict(trained):
        raise ConfigError(
            "The items' content is of other encoders than the model was trained with",
            received=content.axes.encoders,
            way_out=f"Encode the items with {dict(trained)}, or train a new model",
        )
