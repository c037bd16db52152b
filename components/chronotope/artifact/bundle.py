"""Portable model bundle: one ONNX graph, its id vocabulary and a manifest.

Inference needs numpy, pyarrow and ONNX Runtime only; no file holds a pickle::

    model.onnx       raw history to scores
    manifest.json    names, sizes, data version, digests of the other files, its own checksum
    catalog.parquet  ids of items, places and categories, one row each; titles of items. Users
                     are in no file of a bundle: the graph reads histories
    content_axes.npz where items have content: turns vectors of a new item into a row of the graph
    items.npz        large catalogues only: codes of the items (``item_index``)
    residuals.npy    optional beside it: quantisation residuals of the items (``residuals``)
"""

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from chronotope.contracts.errors import ArtifactError, StoreError
from chronotope.contracts.event_log import Catalog
from chronotope.contracts.ids import IdMap
from chronotope.contracts.item_content import ContentAxes
from chronotope.contracts.item_context import ItemContextColumn
from chronotope.contracts.strict_json import JsonObject
from chronotope.contracts.user_attributes import AttributeColumn
from chronotope.runtime.durable_files import checksum_of, read_json, sync_file, write_json
from chronotope.spacetime.local_planes import is_local

MODEL, MANIFEST, CATALOG = "model.onnx", "manifest.json", "catalog.parquet"
MODEL_DATA = "model.onnx.data"  # tables of a graph that is too large for one file
INDEX, RESIDUALS = "items.npz", "residuals.npy"
CONTENT_AXES = "content_axes.npz"
SERVING_FILES = (MODEL, INDEX, RESIDUALS, MODEL_DATA)
"""Files that scores are computed from; only the first is in every bundle."""

_ORIGIN: Final = b"origin_deg"
"""Key of the catalogue file's metadata."""

_WAY_OUT: Final = "Roll back, train again, or restore the folder from a copy"


class Manifest(BaseModel):
    """Metadata and file digests of a bundle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="Model name.")
    dataset: str = Field(description="Dataset it was trained on.")
    data_version: str = Field(description="Version of the event table.")
    history_len: int = Field(description="Events the graph reads.")
    context: tuple[str, ...] = Field(
        (), description="Columns of the request's context that the graph reads."
    )
    attributes: tuple[AttributeColumn, ...] = Field(
        (), description="User attributes that the graph reads, with their levels."
    )
    item_context: tuple[ItemContextColumn, ...] = Field(
        (), description="Columns of the item context that the graph reads, with their levels."
    )
    trained_until_s: int = Field(description="UTC seconds of the last training event.")
    n_users: int = Field(0, ge=0, description="Number of users it was trained on.")
    digests: dict[str, str] = Field(description="SHA-256 of each other file.")

    @property
    def serving_digest(self) -> str:
        """Digest of the serving files: the graph's own, or with an index one over all of them."""
        file_digests = [self.digests[name] for name in SERVING_FILES if name in self.digests]
        if len(file_digests) == 1:
            return file_digests[0]
        return hashlib.sha256("".join(file_digests).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """External ids of a bundle, and the titles of its items.

    Attributes:
        users: Ids of users by index; none in a bundle, whose graph reads no user.
        items, places: Ids by index.
        titles: Titles of the items.
        categories: Categories by index; none in a bundle of an earlier version.
        origin_deg: Mean latitude and longitude of the items, the origin of the graph's plane;
            None if no item has coordinates, or they lie on several planes.
    """

    users: IdMap
    items: IdMap
    places: IdMap
    titles: list[str]
    categories: IdMap = field(default_factory=lambda: IdMap(pa.array([], pa.string())))
    origin_deg: tuple[float, float] | None = None


def write_bundle(bundle_dir: Path, catalog: Catalog, **manifest_fields: object) -> Manifest:
    """Add vocabulary and manifest to a folder that already holds ``model.onnx``.

    Args:
        bundle_dir: The bundle's folder.
        catalog: Ids and titles, and the axes of the items' content.
        **manifest_fields: Fields of ``Manifest`` except ``digests``.
    """
    pq.write_table(_vocabulary_table(catalog), bundle_dir / CATALOG)
    if catalog.content is not None:
        catalog.content.axes.save(bundle_dir / CONTENT_AXES)
    file_names = (CATALOG, CONTENT_AXES, *SERVING_FILES)
    file_paths = [bundle_dir / name for name in file_names if (bundle_dir / name).is_file()]
    for file_path in file_paths:
        sync_file(file_path)  # durable before the manifest refers to it
    digests = {file_path.name: _file_digest(file_path) for file_path in file_paths}
    counted_fields = {"n_users": catalog.users.size - 1, "digests": digests}
    bundle_manifest = Manifest.model_validate({**manifest_fields, **counted_fields})
    write_json(bundle_dir / MANIFEST, bundle_manifest.model_dump(mode="json"))
    return bundle_manifest


def _origin_deg(catalog: Catalog) -> tuple[float, float] | None:
    """Mean coordinates of the items; None if none has any, or they lie on several planes."""
    located = np.isfinite(catalog.item_lat) & np.isfinite(catalog.item_lon)
    lat_deg, lon_deg = catalog.item_lat[located], catalog.item_lon[located]
    if not len(lat_deg) or not is_local(lat_deg, lon_deg):
        return None
    return float(lat_deg.mean()), float(lon_deg.mean())


def _vocabulary_table(catalog: Catalog) -> pa.Table:
    n_items = catalog.items.size - 1
    item_titles = list(catalog.item_title[1:]) if len(catalog.item_title) else [""] * n_items
    id_maps = {
        "item": catalog.items,
        "place": catalog.places,
        "category": catalog.categories,
    }
    vocabulary_table = pa.concat_tables(
        pa.table(
            {
                "kind": pa.array([kind] * len(id_map.ids), pa.string()),
                "id": id_map.ids,
                "title": pa.array(
                    item_titles if kind == "item" else [None] * len(id_map.ids), pa.string()
                ),
            }
        )
        for kind, id_map in id_maps.items()
    )
    origin = json.dumps(_origin_deg(catalog))
    return vocabulary_table.replace_schema_metadata({_ORIGIN: origin})


def _stored_origin(vocabulary_table: pa.Table) -> tuple[float, float] | None:
    """Origin of the plane as ``_vocabulary_table`` stored it."""
    origin = json.loads((vocabulary_table.schema.metadata or {}).get(_ORIGIN, b"null"))
    return None if origin is None else (float(origin[0]), float(origin[1]))


def read_manifest(bundle_dir: Path) -> Manifest:
    """Read and verify a bundle's manifest.

    Raises:
        ArtifactError: A file is missing, its digest does not match, or the manifest was changed.
    """
    try:
        bundle_manifest = Manifest.model_validate(_manifest_content(bundle_dir))
        changed_files = [
            name
            for name, content_digest in bundle_manifest.digests.items()
            if _file_digest(bundle_dir / name) != content_digest
        ]
    except (OSError, ValueError, StoreError) as error:
        raise ArtifactError(
            "The model bundle cannot be read", received=f"{bundle_dir}: {error}", way_out=_WAY_OUT
        ) from error
    if changed_files:
        raise ArtifactError(
            "Files of the model bundle differ from its manifest",
            received=f"{bundle_dir}: {changed_files}",
            way_out=_WAY_OUT,
        )
    return bundle_manifest


def bundle_checksum(bundle_dir: Path) -> str:
    """Checksum of the manifest, which covers every file of the bundle by its digest.

    Args:
        bundle_dir: The bundle's folder; only its manifest is read.

    Raises:
        ArtifactError: The manifest is missing or damaged.
    """
    try:
        return checksum_of(_manifest_content(bundle_dir))
    except StoreError as error:
        raise ArtifactError(
            "The model bundle cannot be read", received=error.received, way_out=_WAY_OUT
        ) from error


def _manifest_content(bundle_dir: Path) -> JsonObject:
    return read_json(bundle_dir / MANIFEST, subject="The manifest of the bundle", way_out=_WAY_OUT)


def serving_size_bytes(bundle_dir: Path) -> int:
    """Size of the serving files: the graph and, for a large catalogue, its index."""
    file_paths = (bundle_dir / name for name in SERVING_FILES)
    return sum(file_path.stat().st_size for file_path in file_paths if file_path.is_file())


def read_vocabulary(bundle_dir: Path) -> Vocabulary:
    """Read the ids and titles of a bundle."""
    vocabulary_table = pq.read_table(bundle_dir / CATALOG)

    def rows_of_kind(kind: str) -> pa.Table:
        is_kind = pa.compute.equal(vocabulary_table["kind"], kind)
        return vocabulary_table.filter(is_kind).combine_chunks()

    def id_map(kind: str) -> IdMap:
        id_column = rows_of_kind(kind)["id"]
        return IdMap(pa.concat_arrays([pa.array([], pa.string()), *id_column.chunks]))

    return Vocabulary(
        IdMap(pa.array([], pa.string())),
        id_map("item"),
        id_map("place"),
        ["", *rows_of_kind("item")["title"].to_pylist()],
        id_map("category"),
        _stored_origin(vocabulary_table),
    )


def read_content_axes(bundle_dir: Path) -> ContentAxes | None:
    """Axes that turn the vectors of an item into its row of the graph's content table.

    Args:
        bundle_dir: The bundle's folder.

    Returns:
        The axes, with the encoder of each modality; None if the graph reads no content.

    Raises:
        ArtifactError: The file is damaged.
    """
    axes_path = bundle_dir / CONTENT_AXES
    return ContentAxes.load(axes_path) if axes_path.is_file() else None


def _file_digest(file_path: Path) -> str:
    with file_path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
