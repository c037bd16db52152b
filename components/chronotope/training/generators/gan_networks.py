"""Networks of the adversarial generator: events are one-hot draws of item, gap and place."""

from dataclasses import dataclass
from typing import Final, NamedTuple

import torch
from torch import Tensor, nn

N_HIDDEN: Final = 64
N_NOISE: Final = 16
N_ITEM_DIMS: Final = 32
N_SMALL_DIMS: Final = 12


@dataclass(frozen=True, slots=True)
class EventSizes:
    """Numbers of items, bins of gaps, and places; one place where the log has none."""

    n_items: int
    n_gaps: int
    n_places: int


class EventStep(NamedTuple):
    """Shares of item, gap and place of one event each; one-hot where they are known.

    ``hour`` has sine and cosine of the local hour, (B, 2), or (B, L, 2) of sequences.
    """

    item: Tensor
    gap: Tensor
    place: Tensor
    hour: Tensor


class EventEmbedding(nn.Module):
    """Vectors of events from shares over items, gaps and places."""

    def __init__(self, sizes: EventSizes) -> None:
        """Tables of the sizes."""
        super().__init__()
        self.item = nn.Linear(sizes.n_items, N_ITEM_DIMS, bias=False)
        self.gap = nn.Linear(sizes.n_gaps, N_SMALL_DIMS, bias=False)
        self.place = nn.Linear(sizes.n_places, N_SMALL_DIMS, bias=False)
        self.n_dims = N_ITEM_DIMS + 2 * N_SMALL_DIMS + 2

    def forward(self, event: EventStep) -> Tensor:
        """Vectors, shape (..., n_dims)."""
        parts = (self.item(event.item), self.gap(event.gap), self.place(event.place), event.hour)
        return torch.cat(parts, dim=-1)


class EventGeneratorNet(nn.Module):
    """Recurrent network from noise and past events to the next one."""

    def __init__(self, sizes: EventSizes, item_bias: Tensor) -> None:
        """Build; items start at their popularity.

        Args:
            sizes: Sizes of the outputs.
            item_bias: Log popularity, -inf of items that are never generated, (n_items,).
        """
        super().__init__()
        self.embedding = EventEmbedding(sizes)
        self.start = nn.Linear(N_NOISE, N_HIDDEN)
        self.cell = nn.GRUCell(self.embedding.n_dims + N_NOISE, N_HIDDEN)
        self.to_item = nn.Linear(N_HIDDEN, N_ITEM_DIMS)
        self.to_gap = nn.Linear(N_HIDDEN, sizes.n_gaps)
        self.to_place = nn.Linear(N_HIDDEN + N_ITEM_DIMS, sizes.n_places)
        self.register_buffer("item_bias", item_bias)
        self.item_bias: Tensor

    def first_state(self, noise: Tensor) -> Tensor:
        """Hidden state of new users from their noise, (B, 16) -> (B, 64)."""
        return torch.tanh(self.start(noise))

    def step(self, event: EventStep, noise: Tensor, hidden_state: Tensor) -> Tensor:
        """Hidden state after an event, shape (B, 64)."""
        next_state: Tensor = self.cell(
            torch.cat([self.embedding(event), noise], dim=-1), hidden_state
        )
        return next_state

    def logits(self, hidden_state: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of the next item and of the gap before it, (..., n_items) and (..., n_gaps)."""
        items = self.to_item(hidden_state) @ self.embedding.item.weight + self.item_bias
        return items, self.to_gap(hidden_state)

    def place_logits(self, hidden_state: Tensor, item: Tensor) -> Tensor:
        """Logits of the place, given the item's shares, shape (..., n_places)."""
        places: Tensor = self.to_place(torch.cat([hidden_state, self.embedding.item(item)], dim=-1))
        return places


class EventCritic(nn.Module):
    """Score of a sequence: high for real ones."""

    def __init__(self, sizes: EventSizes) -> None:
        """Build."""
        super().__init__()
        self.embedding = EventEmbedding(sizes)
        self.recurrent = nn.GRU(self.embedding.n_dims, N_HIDDEN, batch_first=True)
        self.score = nn.Linear(2 * N_HIDDEN, 1)

    def forward(self, sequence: EventStep) -> Tensor:
        """Scores of sequences of shape (B, L, ...), shape (B,)."""
        states, last_item = self.recurrent(self.embedding(sequence))
        item_scores: Tensor = self.score(torch.cat([states.mean(dim=1), last_item[0]], dim=-1))
        return item_scores[:, 0]
