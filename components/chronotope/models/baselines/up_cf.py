"""UP-CF: shares of the latest baskets, weighed by the similarity of users."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from scipy import sparse

from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int64
from chronotope.contracts.queries import Queries
from chronotope.models.baselines.fitted import require_fitted
from chronotope.models.baselines.user_neighbours import (
    MAX_USERS,
    ProfileEvents,
    events_of_queries,
    events_of_users,
    own_columns,
)


class UpCfConfig(BaseModel):
    """Parameters of UP-CF."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    n_baskets: int = Field(default=25, ge=1, description="Latest baskets of a user that count")
    max_users: int = Field(default=MAX_USERS, ge=1, description="Latest users that are neighbours")
    asymmetry: float = Field(
        default=0.25, ge=0, le=1, description="Exponent of the own number of items in a similarity"
    )
    locality: float = Field(
        default=10.0, gt=0, description="Power of the similarity; higher trusts fewer users"
    )


@dataclass(frozen=True, slots=True)
class _Users:
    users: Int64  # (n_users,) increasing
    item_sets: sparse.csr_array  # (n_users, n_items) of 0 and 1
    basket_shares: sparse.csr_array  # (n_users, n_items)
    ties: Float64  # (n_items,) popularity below any difference that counts


class UpCf:
    """Popularity within the latest baskets of a user and of similar users.

    ``score(i | u) = share_u(i) + sum over users v of w(u, v)^q share_v(i)``, ``w(u, v) =
    |I_u & I_v| / (|I_u|^a |I_v|^(1 - a))``

    ``share_u(i)`` is the share of u's latest baskets that contain the item.

    Source:
        Faggioli et al. (2020), Recency Aware Collaborative Filtering for Next Basket
        Recommendation, UMAP, eq. 4 to 7.
    """

    def __init__(self, config: UpCfConfig | None = None) -> None:
        """Set the parameters."""
        self._config = config or UpCfConfig()
        self._n_items: int | None = None
        self._state: _Users | None = None

    @property
    def name(self) -> str:
        """Short name shown in tables."""
        return "up_cf"

    @property
    def history_len(self) -> int | None:
        """None: the model reads the whole history."""
        return None

    def fit(self, log: EventLog, catalog: Catalog) -> Self:
        """Count the items and the latest baskets of every user."""
        self._n_items = catalog.n_items
        self.observe(log)
        return self

    def observe(self, log: EventLog) -> None:
        """Recount the items and the latest baskets of every user from a longer log."""
        n_items = require_fitted(self._n_items, self.name)
        profiles = events_of_users(log, self._config.max_users)
        events = profiles.events
        self._state = _Users(
            users=profiles.users,
            item_sets=events.item_sets(n_items),
            basket_shares=self._basket_shares(events, n_items),
            ties=1e-9 * np.bincount(events.item_idx, minlength=n_items) / (1 + len(log)),
        )

    def scores(self, queries: Queries) -> Float64:
        """Own shares and those of similar users, shape (B, n_items)."""
        state = require_fitted(self._state, self.name)
        n_items = len(state.ties)
        events = events_of_queries(queries)
        own_sets = events.item_sets(n_items)
        common = sparse.coo_array(own_sets @ state.item_sets.T)  # (B, n_users)
        row, column = common.coords
        asymmetry = self._config.asymmetry
        own_size, user_size = (
            np.asarray(sets.sum(axis=1)).ravel() for sets in (own_sets, state.item_sets)
        )
        size = own_size[row] ** asymmetry * user_size[column] ** (1.0 - asymmetry)
        similarity = np.where(
            column == own_columns(state.users, queries)[row], 0.0, common.data / size
        )
        weights = sparse.csr_array((similarity**self._config.locality, (row, column)), common.shape)
        # nearly every item has a similar user: a dense result, summed in place
        item_scores: Float64 = weights.toarray() @ state.basket_shares  # (B, n_items)
        item_scores += state.ties
        own = sparse.coo_array(self._basket_shares(events, n_items))
        item_scores[own.coords] += own.data
        return item_scores

    def _basket_shares(self, events: ProfileEvents, n_items: int) -> sparse.csr_array:
        """Share of the latest baskets of each profile with each item, (n_profiles, n_items)."""
        is_first = np.ones(len(events.row), dtype=np.bool_)  # of its basket
        is_first[1:] = (np.diff(events.row) != 0) | (np.diff(events.occurred_s) != 0)
        basket_idx = np.cumsum(is_first) - 1
        basket_row = events.row[is_first]
        basket_end = np.searchsorted(basket_row, basket_row, side="right")
        n_later = (basket_end - 1 - np.arange(len(basket_row)))[basket_idx]
        n_counted = np.minimum(np.bincount(basket_row, minlength=events.n_profiles), self._n_latest)
        is_counted = n_later < self._n_latest
        codes = basket_idx[is_counted] * n_items + events.item_idx[is_counted]
        basket, item_idx = np.divmod(np.unique(codes), n_items)  # an item counts once a basket
        row = basket_row[basket]
        shape = (events.n_profiles, n_items)
        return sparse.csr_array(sparse.coo_array((1.0 / n_counted[row], (row, item_idx)), shape))

    @property
    def _n_latest(self) -> int:
        return self._config.n_baskets
