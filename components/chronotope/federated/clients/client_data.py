"""Data of a client in the indices of the shared catalogue; it never leaves the client's folder."""

from dataclasses import dataclass, fields
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chronotope.contracts.errors import NotEnoughData, SourceError
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.ids import UNKNOWN, IdMap
from chronotope.features.build import build_features
from chronotope.features.snapshot import load_features
from chronotope.features.sources import FeaturesConfig
from chronotope.ingestion import NoiseConfig, filter_noise
from chronotope.ingestion.noise import COLUMNS, is_among
from chronotope.lake import Lake
from chronotope.runtime.private_files import private_folder
from chronotope.runtime.stored_arrays import load_arrays, save_arrays

LOG_FILE: Final = "log.npz"
"""File of a client with its events, where it has no lake: simulations make it directly."""

_ID_MAPS: Final = ("items", "places", "categories")
_ARRAYS: Final = ("item_category", "item_lat", "item_lon", "place_lat", "place_lon")
_LOG_ARRAYS: Final = tuple(
    field.name for field in fields(EventLog) if field.name not in ("context", "item_context")
)


@dataclass(frozen=True, slots=True)
class ClientFolder:
    """A client of a federation.

    Attributes:
        client_number: Its number, from 0.
        name: Its name in messages and tables.
        root: Its project root; its lakes are in ``data/lake``.
    """

    client_number: int
    name: str
    root: Path

    def lake(self, dataset: str) -> Path:
        """Folder of the client's lake."""
        return self.root / "data" / "lake" / dataset

    def state(self, dataset: str) -> Path:
        """Folder of what the client keeps of a federation, its secrets among it."""
        return self.root / "data" / "federation" / dataset


def save_catalogue(catalog: Catalog, file_path: Path) -> None:
    """Write the items, places and categories that all clients share; no users.

    Args:
        catalog: The coordinator's catalogue.
        file_path: File that the clients read.
    """
    id_maps = {name: _texts(getattr(catalog, name)) for name in _ID_MAPS}
    stored_arrays = {name: getattr(catalog, name) for name in _ARRAYS}
    flags = {"items_are_places": np.array(catalog.items_are_places)}
    save_arrays(file_path, **id_maps, **stored_arrays, **flags)


def load_catalogue(file_path: Path, users: IdMap | None = None) -> Catalog:
    """Shared catalogue.

    Args:
        file_path: File of ``save_catalogue``.
        users: Users of the client.

    Raises:
        ArtifactError: The file is missing or damaged.
    """
    stored_arrays: dict[str, Any] = dict(load_arrays(file_path))
    items_are_places = bool(stored_arrays.pop("items_are_places"))
    id_maps: dict[str, Any] = {
        name: IdMap(pa.array(stored_arrays.pop(name).tolist(), pa.string())) for name in _ID_MAPS
    }
    return Catalog(
        users=users or IdMap(pa.array([], pa.string())),
        **id_maps,
        **stored_arrays,
        items_are_places=items_are_places,
        item_title=np.full(id_maps["items"].size, "", np.str_),
    )


def save_log(log: EventLog, file_path: Path) -> None:
    """Write a client's events in shared indices, readable by their owner only."""
    private_folder(file_path.parent)
    save_arrays(file_path, **{name: getattr(log, name) for name in _LOG_ARRAYS})
    file_path.chmod(0o600)


def client_log(client_folder: ClientFolder, dataset: str, catalogue_path: Path) -> EventLog:
    """Events of a client; items that the shared catalogue lacks are left out.

    Args:
        client_folder: The client.
        dataset: Name of the dataset.
        catalogue_path: File of the shared catalogue.

    Raises:
        SourceError: The client has neither a lake nor a log.
        NotEnoughData: None of its items is in the catalogue.
    """
    log_path = client_folder.state(dataset) / LOG_FILE
    if log_path.exists():
        return _read_log(log_path)
    lake = Lake(client_folder.lake(dataset))
    if not lake.exists("events"):
        raise SourceError(
            "A client has no lake of the dataset",
            received=client_folder.lake(dataset),
            way_out="Ingest its events with `chronotope ingest --root`, or leave the client out",
        )
    return _log_of_lake(lake, client_folder.state(dataset), load_catalogue(catalogue_path))


def _read_log(file_path: Path) -> EventLog:
    stored_arrays: dict[str, Any] = dict(load_arrays(file_path))
    return EventLog(**stored_arrays)


def _log_of_lake(lake: Lake, state_dir: Path, catalog: Catalog) -> EventLog:
    version = lake.table_version("events")
    noise_columns = lake.read("events", version, COLUMNS)
    is_kept, _ = filter_noise(noise_columns, NoiseConfig(), is_among(noise_columns, ()))
    feature_snapshot = build_features(
        lake.reader("events", version, None if is_kept.all() else is_kept),
        lake.read("items") if lake.exists("items") else None,
        config=FeaturesConfig(items_are_places=catalog.items_are_places),
        out=private_folder(state_dir / "features"),
        data_version=str(version),
    )
    log, own_catalog = load_features(feature_snapshot.path)
    shared_items = _translation(own_catalog.items, catalog.items)[log.item_idx]
    shared_places = (
        shared_items
        if catalog.items_are_places
        else _translation(own_catalog.places, catalog.places)[log.place_idx]
    )
    translated = EventLog(
        user_idx=log.user_idx,
        item_idx=shared_items,
        occurred_s=log.occurred_s,
        utc_offset_min=log.utc_offset_min,
        place_idx=shared_places,
        session_idx=log.session_idx,
        value=log.value,
    )
    known_events = translated.take(shared_items != UNKNOWN)
    if not len(known_events):
        raise NotEnoughData(
            "No item of a client is in the shared catalogue",
            received=f"{own_catalog.n_items - 1} items",
            way_out="Use the same item ids everywhere",
        )
    return known_events


cached_log = lru_cache(maxsize=32)(client_log)
"""Events of a client, read once by each process."""


def _translation(own: IdMap, all_counts: IdMap) -> npt.NDArray[np.int32]:
    """Shared index of each own index."""
    return np.concatenate([np.zeros(1, np.int32), all_counts.index(own.ids)])


def _texts(id_map: IdMap) -> npt.NDArray[Any]:
    return np.array(id_map.ids.to_pylist(), np.str_)
