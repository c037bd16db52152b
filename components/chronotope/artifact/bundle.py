"""A portable model: one ONNX graph, the ids it speaks, and a manifest.

A bundle needs nothing but numpy, pyarrow and ONNX Runtime to answer, and holds no
pickle::

    model.onnx       raw history to scores
    manifest.json    names, sizes, data version, digests of the other files, its own checksum
    catalog.parquet  one column a map: ids of users, items, places, with titles
    items.npz        of a large catalogue only: codes of its items (``item_index``)
    remainders.npy   perhaps beside it: what the codes leave out (``remainders``)
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, ConfigDict, Field

from chronotope.contracts.errors import ArtifactError, StoreError
from chronotope.contracts.event_log import Catalog
from chronotope.contracts.ids import IdMap
from chronotope.runtime.durable_files import checksum_of, read_json, sync_file, write_json

MODEL, MANIFEST, CATALOG = "model.onnx", "manifest.json", "catalog.parquet"
INDEX, REMAINDERS = "items.npz", "remainders.npy"
ANSWERING = (MODEL, INDEX, REMAINDERS)
"""Files that answers are made of; only the first is in every bundle."""

_WAY_OUT: Final = "Roll back, train again, or restore the folder from a copy"


class Manifest(BaseModel):
    """What a bundle says of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(description="Model name.")
    dataset: str = Field(description="Dataset it was trained on.")
    data_version: str = Field(description="Version of the event table.")
    history_len: int = Field(description="Events the graph reads.")
    context: tuple[str, ...] = Field(
        (), description="Columns of the request's context that the graph listens to."
    )
    trained_until_s: int = Field(description="UTC seconds of the last event it knows.")
    digests: dict[str, str] = Field(description="SHA-256 of each other file.")

    @property
    def answering(self) -> str:
        """Digest of what answers: that of the graph, and with an index that of all its files."""
        told = [self.digests[name] for name in ANSWERING if name in self.digests]
        return told[0] if len(told) == 1 else hashlib.sha256("".join(told).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Ids a bundle speaks."""

    users: IdMap
    items: IdMap
    places: IdMap
    titles: list[str]


def write_bundle(folder: Path, catalog: Catalog, **manifest: object) -> Manifest:
    """Add vocabulary and manifest to a folder that already holds ``model.onnx``.

    Args:
        folder: The bundle's folder.
        catalog: Ids and titles.
        **manifest: Fields of ``Manifest`` except ``digests``.
    """
    n = catalog.items.size - 1
    titles = list(catalog.item_title[1:]) if len(catalog.item_title) else [""] * n
    kinds = {"user": catalog.users, "item": catalog.items, "place": catalog.places}
    table = pa.concat_tables(
        pa.table(
            {
                "kind": pa.array([kind] * len(ids.ids), pa.string()),
                "id": ids.ids,
                "title": pa.array(titles if kind == "item" else [None] * len(ids.ids), pa.string()),
            }
        )
        for kind, ids in kinds.items()
    )
    pq.write_table(table, folder / CATALOG)
    paths = [folder / name for name in (CATALOG, *ANSWERING) if (folder / name).is_file()]
    for path in paths:
        sync_file(path)  # before the manifest vouches for it
    digests = {path.name: _digest(path) for path in paths}
    written = Manifest.model_validate({**manifest, "digests": digests})
    write_json(folder / MANIFEST, written.model_dump(mode="json"))
    return written


def read_manifest(folder: Path) -> Manifest:
    """Read and verify a bundle's manifest.

    Raises:
        ArtifactError: A file is missing, its digest does not match, or the manifest was changed.
    """
    try:
        manifest = Manifest.model_validate(_content(folder))
        wrong = [name for name, sha in manifest.digests.items() if _digest(folder / name) != sha]
    except (OSError, ValueError, StoreError) as error:
        raise ArtifactError(
            "The model bundle cannot be read", received=f"{folder}: {error}", way_out=_WAY_OUT
        ) from error
    if wrong:
        raise ArtifactError(
            "Files of the model bundle differ from its manifest",
            received=f"{folder}: {wrong}",
            way_out=_WAY_OUT,
        )
    return manifest


def bundle_checksum(folder: Path) -> str:
    """Checksum of a manifest, and with it of every file of the bundle: their digests are in it.

    Args:
        folder: The bundle's folder; only its manifest is read.

    Raises:
        ArtifactError: The manifest is missing or damaged.
    """
    try:
        return checksum_of(_content(folder))
    except StoreError as error:
        raise ArtifactError(
            "The model bundle cannot be read", received=error.received, way_out=_WAY_OUT
        ) from error


def _content(folder: Path) -> dict[str, Any]:
    return read_json(folder / MANIFEST, what="The manifest of the bundle", way_out=_WAY_OUT)


def serving_size_bytes(folder: Path) -> int:
    """Size of what answers: the graph and, of a large catalogue, its index."""
    return sum((folder / f).stat().st_size for f in ANSWERING if (folder / f).is_file())


def read_vocabulary(folder: Path) -> Vocabulary:
    """Read the ids of a bundle."""
    table = pq.read_table(folder / CATALOG)

    def rows(kind: str) -> pa.Table:
        return table.filter(pa.compute.equal(table["kind"], kind)).combine_chunks()

    def ids(kind: str) -> IdMap:
        column = rows(kind)["id"]
        return IdMap(pa.concat_arrays([pa.array([], pa.string()), *column.chunks]))

    return Vocabulary(
        ids("user"), ids("item"), ids("place"), ["", *rows("item")["title"].to_pylist()]
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
