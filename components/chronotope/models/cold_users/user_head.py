"""User head: scores of items for a user with few events.

The network learns from users with a history. Before the first event, and a little after it, it
gets on top of all other terms

    user_scores(b, i) = sum_s fade_s(n_b) (
          sum_f weights_sf feature_f(i)                  start popularity; popularity, live counts
        + hour_s by_hour(hour_b, i)
        + <sum_a columns_sa levels[level_ab] + place_s places[place_b], item_factors_i> )

n_b is the number of events of the history. fade_0 is 1 without an event, fade_1 is 1 / (1 + n / k)
from the first event on, falling to exactly 0 at ``MAX_EVENTS``. ``start popularity`` compares the
first events of users with all events; a level is one of a user's attributes, such as an age group.
An unknown level or place has a row of zeros. The tables are counted and the weights fitted after
the training (``training.cold_users``); a fade without worth for other users has weights 0.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import torch
from torch import Tensor, nn

from chronotope.contracts.event_log import Catalog
from chronotope.features.activity_counts import ACTIVITY_NAMES
from chronotope.models.batch import Batch
from chronotope.models.item_tables import CandidateView
from chronotope.models.priors import request_hour_weights

RANK: Final = 16
"""Width of the factors of levels, places and items."""

MAX_EVENTS: Final = 32
"""Events from which a user is no longer new."""

FADES: Final = ("no_event", "few_events")

FEATURES: Final = ("start", "popularity", "popularity_week", *ACTIVITY_NAMES)

USER_HEAD_PREFIX: Final = "user_head."


class UserHead(nn.Module):
    """Weights and tables of the score term.

    Attributes:
        columns: Names of the user attributes, in the order of the batch's last context columns.
        n_context: Context columns of the batch before those.
        active: Whether the head is used; an exported graph has no trace of an inactive one.
    """

    start: Tensor
    item_factors: Tensor
    level_factors: Tensor
    place_factors: Tensor
    weights: Tensor
    hour_weights: Tensor
    place_weights: Tensor
    column_weights: Tensor
    log_fade: Tensor

    def __init__(self, catalog: Catalog, n_context: int) -> None:
        """Build with all weights zero.

        Args:
            catalog: Sizes of the tables, and the attributes of its users.
            n_context: Context columns of a query that are no user attributes.
        """
        super().__init__()
        attributes = catalog.user_attributes
        columns = () if attributes is None else attributes.columns
        self.columns = tuple(column.name for column in columns)
        self.n_context, self.active = n_context, False
        n_levels = 1 if attributes is None else attributes.n_levels
        sizes = {
            "start": (catalog.n_items,),
            "item_factors": (catalog.n_items, RANK),
            "level_factors": (n_levels, RANK),
            "place_factors": (catalog.n_places, RANK),
            "weights": (len(FADES), len(FEATURES)),
            "hour_weights": (len(FADES),),
            "place_weights": (len(FADES),),
            "column_weights": (len(FADES), len(columns)),
            "log_fade": (),
        }
        for name, size in sizes.items():
            self.register_buffer(name, torch.zeros(size))
        self.register_load_state_dict_post_hook(_activate_if_fitted)  # type: ignore[no-untyped-call]

    def reset(self) -> None:
        """Set all weights to zero: the head changes nothing."""
        for weights in self.fitted():
            weights.zero_()
        self.active = False

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Leave the head out within the block."""
        was_active, self.active = self.active, False
        try:
            yield
        finally:
            self.active = was_active

    def fitted(self) -> tuple[Tensor, ...]:
        """The weights that are fitted beside ``log_fade``, the first axis of each the fade."""
        return self.weights, self.hour_weights, self.place_weights, self.column_weights

    def forward(self, batch: Batch, view: CandidateView, candidates: Tensor | None) -> Tensor:
        """Score of each candidate, shape (B, C).

        Args:
            batch: The queries with their full histories; attributes as the last context columns.
            view: The candidates.
            candidates: Their indices, int64, shape (C,); None for all items.
        """
        start, item_factors = self.start, self.item_factors
        if candidates is not None:
            start, item_factors = start[candidates], item_factors[candidates]
        counted = torch.stack([start, view.popularity, view.popularity_week])
        features = torch.cat([counted, view.activity])  # (F, C)
        fade = self.fade(batch)  # (B, S)
        hour = request_hour_weights(batch)
        item_scores: Tensor = (fade @ self.weights) @ features  # (B, C)
        item_scores = item_scores + (hour * (fade @ self.hour_weights)[:, None]) @ view.by_hour
        user_factors: Tensor = self.user_factors(batch, fade)
        return item_scores + user_factors @ item_factors.T

    def user_factors(self, batch: Batch, fade: Tensor) -> Tensor:
        """Factors of the attributes and of the place of each query, shape (B, RANK).

        Args:
            batch: The queries.
            fade: Result of ``fade``.
        """
        place_factors = self.place_factors[batch.request_place_idx]  # (B, RANK)
        user_factors = place_factors * (fade @ self.place_weights)[:, None]
        if not self.columns or batch.context.shape[1] == self.n_context:
            return user_factors
        levels = torch.nan_to_num(batch.context[:, self.n_context :], nan=0.0).long()  # (B, A)
        column_weights = fade @ self.column_weights  # (B, A)
        level_factors = self.level_factors[levels] * column_weights[..., None]  # (B, A, RANK)
        return user_factors + level_factors.sum(1)

    def fade(self, batch: Batch) -> Tensor:
        """Weight of the head by the number of events, one column a fade, shape (B, len(FADES)).

        Args:
            batch: The queries with their full histories.
        """
        return fade_weights((batch.item_idx > 0).float().sum(1), self.log_fade)


def read_attributes(head: UserHead | None) -> tuple[str, ...]:
    """Names of the user attributes that a network reads; none if they have no weight.

    Args:
        head: Head of the network, if it has one.
    """
    if head is None or not (head.active and head.column_weights.any()):
        return ()
    return head.columns


def fade_weights(n_events: Tensor, log_fade: Tensor) -> Tensor:
    """One column for each of ``FADES``, shape (B, len(FADES)).

    Args:
        n_events: Events of each history, float, shape (B,).
        log_fade: Log of the number of events k that halves the second fade.
    """
    is_empty = (n_events == 0).float()
    taper = (1.0 - n_events / MAX_EVENTS).clamp(min=0.0)
    few_events = taper * (1.0 - is_empty) / (1.0 + n_events * torch.exp(-log_fade))
    return torch.stack([is_empty, few_events], dim=1)


def _activate_if_fitted(head: nn.Module, _: Any) -> None:
    """Use the head if the loaded weights differ from those at the start."""
    if isinstance(head, UserHead):
        head.active = any(bool(weights.any()) for weights in head.fitted())
