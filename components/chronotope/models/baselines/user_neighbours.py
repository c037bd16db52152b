"""What user-based neighbourhood models share: sparse user profiles, and who is near a query."""

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import sparse

from chronotope.contracts.event_log import EventLog, Float64, Int64
from chronotope.contracts.ids import UNKNOWN
from chronotope.contracts.queries import Queries

MAX_USERS: Final = 50_000
"""Users among whom neighbours are sought by default."""


@dataclass(frozen=True, slots=True)
class ProfileEvents:
    """Events of which profiles are made, one profile a user or a query, by profile and time.

    Attributes:
        row: Profile of each event, shape (n,).
        item_idx: Item of each event, shape (n,); none is unknown.
        occurred_s: Time of each event, UTC seconds, shape (n,).
        n_profiles: Number of profiles.
    """

    row: Int64
    item_idx: Int64
    occurred_s: Int64
    n_profiles: int

    def matrix(self, weights: Float64, n_items: int) -> sparse.csr_array:
        """Sum of the events' weights by profile and item, shape (n_profiles, n_items)."""
        shape = (self.n_profiles, n_items)
        return sparse.csr_array(sparse.coo_array((weights, (self.row, self.item_idx)), shape=shape))

    def item_sets(self, n_items: int) -> sparse.csr_array:
        """1 where an item occurs in a profile, shape (n_profiles, n_items)."""
        sets = self.matrix(np.ones(len(self.row)), n_items)
        sets.data[:] = 1.0
        return sets


@dataclass(frozen=True, slots=True)
class UserProfiles:
    """Users, increasing, shape (n_users,), and their events as profiles in that order."""

    users: Int64
    events: ProfileEvents


def events_of_users(log: EventLog, max_users: int) -> UserProfiles:
    """Profiles of the users who came last.

    Args:
        log: All events.
        max_users: Largest number of profiles; bounds the memory of a batch of similarities.
    """
    users, row = np.unique(log.user_idx, return_inverse=True)
    row = row.ravel()
    if len(users) > max_users:
        last_s = np.zeros(len(users), dtype=np.int64)
        np.maximum.at(last_s, row, log.occurred_s)
        latest_users = np.sort(np.argsort(-last_s, kind="stable")[:max_users])
        log = log.take(np.isin(row, latest_users))
        users, row = np.unique(log.user_idx, return_inverse=True)
    events = _known_events(row.ravel(), log.item_idx, log.occurred_s, len(users))
    return UserProfiles(users.astype(np.int64), events)


def events_of_queries(queries: Queries) -> ProfileEvents:
    """Histories of a batch as profiles, one a query."""
    row = np.repeat(np.arange(len(queries)), queries.item_idx.shape[1])
    items, seconds = queries.item_idx.ravel(), queries.occurred_s.ravel()
    return _known_events(row, items, seconds, len(queries))


def own_columns(users: Int64, queries: Queries) -> Int64:
    """Position of each query's user among the users, shape (B,); -1 where there is none."""
    if len(users) == 0:
        return np.full(len(queries), -1)
    column = np.minimum(np.searchsorted(users, queries.user_idx), len(users) - 1)
    return np.where(users[column] == queries.user_idx, column, -1)


def _known_events(
    row: npt.NDArray[np.integer],
    item_idx: npt.NDArray[np.integer],
    occurred_s: Int64,
    n_profiles: int,
) -> ProfileEvents:
    known = item_idx != UNKNOWN
    columns = (row[known].astype(np.int64), item_idx[known].astype(np.int64), occurred_s[known])
    return ProfileEvents(*columns, n_profiles)
