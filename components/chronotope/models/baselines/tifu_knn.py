"""TIFU-KNN: decayed counts of the own past, smoothed over the nearest users."""

from dataclasses import dataclass
from typing import Final, Self

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

_DAY_S: Final = 86_400.0


class TifuKnnConfig(BaseModel):
    """Parameters of TIFU-KNN."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    decay_days: float = Field(
        default=120.0, gt=0, description="Days after which an event weighs 1/e"
    )
    n_neighbours: int = Field(default=100, ge=1, description="Nearest users that are averaged")
    max_users: int = Field(default=MAX_USERS, ge=1, description="Latest users that are neighbours")
    alpha: float = Field(default=0.9, ge=0, le=1, description="Weight of the user's own past")


@dataclass(frozen=True, slots=True)
class _Profiles:
    users: Int64  # (n_users,) increasing
    vectors: sparse.csr_array  # (n_users, n_items), rows of length 1
    ties: Float64  # (n_items,) popularity below any difference that counts


class TifuKnn:
    """Own past, in which older events weigh less, and that of the users with a similar past.

    ``v_u(i) = sum of exp(-age / decay) over u's events with i``, ``score(i | u) =
    alpha v_u(i) / |v_u| + (1 - alpha) mean over u's neighbours n of v_n(i) / |v_n|``

    Neighbours are the users of the highest cosine similarity. Events decay by their age instead
    of by their basket's number, since logs differ in how often users come.

    Source:
        Hu et al. (2020), Modeling Personalized Item Frequency Information for Next-basket
        Recommendation, SIGIR.
    """

    def __init__(self, config: TifuKnnConfig | None = None) -> None:
        """Set the parameters."""
        self._config = config or TifuKnnConfig()
        self._n_items: int | None = None
        self._state: _Profiles | None = None

    @property
    def name(self) -> str:
        """Short name shown in tables."""
        return "tifu_knn"

    @property
    def history_len(self) -> int | None:
        """None: the model reads the whole history."""
        return None

    def fit(self, log: EventLog, catalog: Catalog) -> Self:
        """Count the past of every user."""
        self._n_items = catalog.n_items
        self.observe(log)
        return self

    def observe(self, log: EventLog) -> None:
        """Recount the past of every user from a longer log."""
        n_items = require_fitted(self._n_items, self.name)
        profiles = events_of_users(log, self._config.max_users)
        events = profiles.events
        end_s = np.full(events.n_profiles, log.occurred_s.max(initial=0))
        n_events = np.bincount(events.item_idx, minlength=n_items)
        ties = 1e-9 * n_events / (1 + len(log))
        self._state = _Profiles(profiles.users, self._vectors(events, end_s, n_items), ties)

    def scores(self, queries: Queries) -> Float64:
        """Own vector and mean vector of the neighbours, shape (B, n_items)."""
        state = require_fitted(self._state, self.name)
        own = self._vectors(events_of_queries(queries), queries.request_s, len(state.ties))
        averaging = self._averaging_weights(own, state, queries)  # (B, n_users)
        item_scores: Float64 = averaging @ state.vectors  # (B, n_items)
        item_scores += state.ties
        own_entries = sparse.coo_array(own)
        item_scores[own_entries.coords] += self._config.alpha * own_entries.data
        return item_scores

    def _averaging_weights(
        self, own: sparse.csr_array, state: _Profiles, queries: Queries
    ) -> Float64:
        """Weight of each user in the scores of each query, 0 but for neighbours, (B, n_users)."""
        similarity = (own @ state.vectors.T).toarray()
        column = own_columns(state.users, queries)
        similarity[column >= 0, column[column >= 0]] = 0.0
        weights: Float64 = np.zeros(similarity.shape)
        n_neighbours = min(self._config.n_neighbours, len(state.users))
        if n_neighbours:
            nearest = np.argpartition(-similarity, n_neighbours - 1, axis=1)[:, :n_neighbours]
            is_similar = np.take_along_axis(similarity, nearest, axis=1) > 0
            share = (1.0 - self._config.alpha) / n_neighbours
            np.put_along_axis(weights, nearest, share * is_similar, axis=1)
        return weights

    def _vectors(self, events: ProfileEvents, now_s: Int64, n_items: int) -> sparse.csr_array:
        """Decayed counts of each profile at its moment, of length 1, (n_profiles, n_items)."""
        age_days = np.maximum(now_s[events.row] - events.occurred_s, 0) / _DAY_S
        # relative to the latest event, so that a user who was away for years keeps a past
        latest = np.full(events.n_profiles, np.inf)
        np.minimum.at(latest, events.row, age_days)
        weights = np.exp((latest[events.row] - age_days) / self._config.decay_days)
        counts = events.matrix(weights, n_items)
        length = np.sqrt(np.asarray(counts.multiply(counts).sum(axis=1)).ravel())
        inverse = np.divide(1.0, length, out=np.zeros_like(length), where=length > 0)
        return sparse.csr_array(sparse.diags_array(inverse) @ counts)
