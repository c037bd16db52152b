"""Division of users among clients, for simulations: at random or so that clients differ."""

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy import sparse

from chronotope.contracts.errors import ConfigError, NotEnoughData
from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int64

SPLITS: Final = ("random", "place", "taste", "activity")
"""Kinds of a split besides the attributes of the users."""

MAX_FACTORS: Final = 16


def split_users(
    log: EventLog, catalog: Catalog, split_kind: str, n_clients: int, seed: int = 0
) -> npt.NDArray[np.int64]:
    """Client of each user, -1 for users without events, shape (n_users,).

    Args:
        log: All events.
        catalog: Their catalogue.
        split_kind: ``random``; ``place``, clusters of the users' mean coordinates, such as
            countries or stores; ``taste``, clusters of the items they have; ``activity``, by their
            number of events; or the name of an attribute of the users. A rare level is merged with
            others, a frequent one divided, until there are as many groups as clients.
        n_clients: Number of clients.
        seed: Seed of the division.

    Raises:
        NotEnoughData: There are fewer users than clients.
        ConfigError: There is no such attribute, or no coordinates.
    """
    users = np.unique(log.user_idx[log.user_idx > 0])
    if len(users) < n_clients:
        raise _too_few(len(users), n_clients)
    client_of_user = np.full(catalog.users.size, -1, np.int64)
    random_generator = np.random.default_rng(seed)
    if split_kind == "random":
        client_of_user[users] = random_generator.permutation(np.arange(len(users)) % n_clients)
    elif split_kind == "activity":
        client_order = np.argsort(np.bincount(log.user_idx)[users], kind="stable")
        client_of_user[users[client_order]] = np.arange(len(users)) * n_clients // len(users)
    elif split_kind in ("place", "taste"):
        points = (
            _mean_places(log, catalog, users)
            if split_kind == "place"
            else _tastes(log, users, seed)
        )
        from sklearn.cluster import KMeans  # takes a second to import

        client_of_user[users] = KMeans(n_clients, random_state=seed, n_init=1).fit_predict(points)
    else:
        return balanced_groups(_levels(catalog, split_kind), users, n_clients, seed)
    return client_of_user


def balanced_groups(
    user_levels: Int64, users: npt.NDArray[np.integer], n_clients: int, seed: int
) -> Int64:
    """As many groups of users as clients, from levels, -1 for other users, shape (n_users,).

    Args:
        user_levels: Level of each user, shape (n_users,).
        users: Users to divide.
        n_clients: Number of groups; rare levels are merged, frequent ones divided at random.
        seed: Seed of the division.

    Raises:
        NotEnoughData: There are fewer users than clients.
    """
    known_users = users[users > 0]
    if len(known_users) < n_clients:
        raise _too_few(len(known_users), n_clients)
    user_groups = np.full(len(user_levels), -1, np.int64)
    random_generator = np.random.default_rng(seed)
    user_groups[known_users] = _balanced(user_levels[known_users], n_clients, random_generator)
    return user_groups


def _too_few(n_users: int, n_clients: int) -> NotEnoughData:
    return NotEnoughData(
        "There are fewer users than clients",
        received=f"{n_users} users, {n_clients} clients",
        way_out="Lower the number of clients",
    )


def _mean_places(log: EventLog, catalog: Catalog, users: npt.NDArray[np.integer]) -> Float64:
    """Mean coordinates of each user's events, degrees, shape (n_users, 2)."""
    lat, lon = catalog.place_lat[log.place_idx], catalog.place_lon[log.place_idx]
    is_located = np.isfinite(lat) & np.isfinite(lon)
    if not is_located.any():
        raise ConfigError(
            "Clients cannot be divided by place: no event has coordinates",
            way_out="Divide at random, by taste, by activity or by an attribute of the users",
        )
    user_idx = log.user_idx[is_located]
    size = int(users.max()) + 1
    n_events = np.bincount(user_idx, minlength=size)[users]
    overall = (float(lat[is_located].mean()), float(lon[is_located].mean()))
    mean_degrees = [
        np.where(
            n_events > 0,
            np.bincount(user_idx, degrees[is_located], minlength=size)[users]
            / np.maximum(n_events, 1),
            center,
        )
        for degrees, center in zip((lat, lon), overall, strict=True)
    ]
    return np.stack(mean_degrees, axis=1)


def _tastes(log: EventLog, users: npt.NDArray[np.integer], seed: int) -> Float64:
    """Direction of each user's items in a few factors, shape (n_users, n_factors)."""
    from sklearn.decomposition import TruncatedSVD  # takes a second to import

    row_idx = np.searchsorted(users, log.user_idx[log.user_idx > 0])
    item_idx = log.item_idx[log.user_idx > 0]
    has_item = sparse.csr_matrix((np.ones(len(row_idx)), (row_idx, item_idx)))
    has_item.data = np.log1p(has_item.data)
    n_factors = max(1, min(MAX_FACTORS, min(has_item.shape) - 1))
    user_factors = TruncatedSVD(n_factors, random_state=seed).fit_transform(has_item)
    lengths = np.linalg.norm(user_factors, axis=1, keepdims=True)
    return np.asarray(user_factors / np.maximum(lengths, 1e-9), np.float64)


def _levels(catalog: Catalog, split_kind: str) -> Int64:
    """Level of an attribute of each user, shape (n_users,)."""
    attributes = catalog.user_attributes
    columns = () if attributes is None else attributes.columns
    parameter_names = [column.name for column in columns]
    if attributes is None or split_kind not in parameter_names:
        raise ConfigError(
            "Clients cannot be divided by this attribute",
            received=split_kind,
            way_out=f"Known are {', '.join((*SPLITS, *parameter_names))}",
        )
    return np.asarray(attributes.codes[:, parameter_names.index(split_kind)], np.int64)


def _balanced(user_levels: Int64, n_clients: int, rng: np.random.Generator) -> Int64:
    """Group of each user: levels, the rarest merged or the most frequent divided."""
    _, user_groups = np.unique(user_levels, return_inverse=True)
    while user_groups.max() + 1 > n_clients:
        rarest = np.argsort(np.bincount(user_groups), kind="stable")[:2]
        user_groups = np.where(user_groups == rarest[1], rarest[0], user_groups)
        _, user_groups = np.unique(user_groups, return_inverse=True)
    while user_groups.max() + 1 < n_clients:
        members = np.flatnonzero(user_groups == np.argmax(np.bincount(user_groups)))
        half = rng.permutation(members)[: len(members) // 2]
        user_groups[half] = user_groups.max() + 1
    return np.asarray(user_groups, np.int64)
