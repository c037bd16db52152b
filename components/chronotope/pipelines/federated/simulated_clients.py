"""Simulated clients: each gets a lake of its own with the events of its users."""

from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.contracts.errors import NotEnoughData
from chronotope.features.snapshot import load_features
from chronotope.federated.clients.client_data import ClientFolder
from chronotope.federated.splits import SPLITS, balanced_groups, split_users
from chronotope.lake import Lake
from chronotope.pipelines.federated.settings import FederatedSettings
from chronotope.runtime.private_files import private_folder

CLIENTS_FOLDER: Final = "clients"
"""Folder of a run with the project roots of its simulated clients."""


def simulate_clients(features: Path, settings: FederatedSettings, run_dir: Path) -> int:
    """Divide the coordinator's lake; a client that a killed run left out is written again.

    Args:
        features: Feature snapshot, whose users are divided.
        settings: Number of clients, and how they are divided.
        run_dir: Folder of the training.

    Returns:
        Number of clients.

    Raises:
        NotEnoughData: There are fewer users, or values of the column, than clients.
        ConfigError: There is no such column.
    """
    dataset = run_dir.parent.name
    lake = Lake(settings.training.workspace.lake(dataset))
    log, catalog = load_features(features)
    events = lake.read("events")
    user_idx = catalog.users.index(events[c.USER_ID])
    seed = settings.training.training.seed
    if settings.by not in SPLITS and settings.by in events.column_names:
        user_levels = _levels_of_users(events[settings.by], user_idx, catalog.users.size)
        clients = balanced_groups(user_levels, np.unique(log.user_idx), settings.n_clients, seed)
    else:
        clients = split_users(log, catalog, settings.by, settings.n_clients, seed)
    client_of_event = clients[user_idx]
    items = lake.read("items") if lake.exists("items") else None
    for client in simulated_clients(run_dir, settings.n_clients):
        own_events = events.filter(pa.array(client_of_event == client.client_number))
        if not len(own_events):
            raise NotEnoughData(
                "A simulated client has no events",
                received=client.name,
                way_out="Lower the number of clients, or divide at random",
            )
        own_lake = Lake(private_folder(client.lake(dataset).parent) / dataset)
        own_lake.merge_events(own_events)
        if items is not None:
            own_lake.upsert_items(items)
    return settings.n_clients


def simulated_clients(run_dir: Path, n_clients: int) -> tuple[ClientFolder, ...]:
    """Clients of ``simulate_clients``.

    Args:
        run_dir: Folder of the training.
        n_clients: Number of clients.
    """
    folder = run_dir / CLIENTS_FOLDER
    names = [f"client-{client_number:02d}" for client_number in range(n_clients)]
    return tuple(ClientFolder(n, name, folder / name) for n, name in enumerate(names))


def named_clients(settings: FederatedSettings) -> tuple[ClientFolder, ...]:
    """Clients that have lakes of their own; their numbers and names say nothing about them."""
    roots = [root.resolve() for root in settings.clients]
    return tuple(ClientFolder(n, f"client-{n:02d}", root) for n, root in enumerate(roots))


def _levels_of_users(
    values: pa.ChunkedArray, user_idx: npt.NDArray[np.integer], n_users: int
) -> npt.NDArray[np.int64]:
    """Most frequent value of a column of each user's events, as a number, shape (n_users,)."""
    encoded = pc.fill_null(pc.cast(values, pa.string()), "").combine_chunks().dictionary_encode()
    codes = np.asarray(encoded.indices.to_numpy(zero_copy_only=False), np.int64)
    n_levels = len(encoded.dictionary)
    item_pairs, counts = np.unique(user_idx.astype(np.int64) * n_levels + codes, return_counts=True)
    client_order = np.argsort(counts, kind="stable")  # the most frequent one is written last
    user_levels = np.zeros(n_users, np.int64)
    user_levels[item_pairs[client_order] // n_levels] = item_pairs[client_order] % n_levels
    return user_levels
