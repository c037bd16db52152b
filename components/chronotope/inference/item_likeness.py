"""Likeness of items by content: neighbours of an item, and what a user had that is like it."""

import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from chronotope.artifact.bundle import Vocabulary
from chronotope.content.encoder import Modality
from chronotope.content.item_vectors import FurtherVectors, content_version, read_item_content
from chronotope.contracts.event_log import Float32, Int64
from chronotope.contracts.item_content import ContentAxes, ItemContent
from chronotope.lake import Lake
from chronotope.runtime.file_cache import ContentCache, FileCache

MAX_ITEMS: Final = 200_000
"""Larger catalogues are not compared: their vectors would take hundreds of megabytes."""

ALIKE_QUANTILE: Final = 0.999
"""Two items are alike if their cosine exceeds that of so large a share of random pairs, or .8:
in a catalogue of large groups of items more pairs than that are alike."""

ALWAYS_ALIKE: Final = 0.8

_N_PAIRS: Final = 20_000
_MAX_CACHED: Final = 8
_CACHE_VERSION: Final = 2
"""Version of the computation; part of the cache's key."""


@dataclass(frozen=True, slots=True)
class ItemLikeness:
    """Content of the items as directions.

    Attributes:
        vectors: Rows of length 1, of length 0 for an item without content, shape (n_items, d).
            The product of two rows is the mean cosine over the kinds of content.
        alike_from: Cosine from which two items are alike.
        axes: Axes of the vectors; None if nothing but these items can be compared.
    """

    vectors: Float32
    alike_from: float
    axes: ContentAxes | None = None

    @classmethod
    def of(cls, content: ItemContent) -> "ItemLikeness":
        """Likeness by the items' content.

        Args:
            content: Content of the catalogue; index 0 is the unknown item.
        """
        row_vectors = content.unit_blocks()
        length = np.linalg.norm(row_vectors, axis=1, keepdims=True)
        row_vectors = (row_vectors / np.maximum(length, 1e-12)).astype(np.float32)
        return cls(row_vectors, _alike_from(row_vectors), content.axes)

    @property
    def encoders(self) -> dict[str, str]:
        """Encoder of each kind of content."""
        return {} if self.axes is None else self.axes.encoders

    def cosines(self, vectors: Mapping[str, Float32]) -> Float32:
        """Likeness of each item to other content, shape (n_items,).

        Args:
            vectors: Vector of the other content by kind, by the items' encoders, shape (1, d).
        """
        if self.axes is None:
            return np.zeros(len(self.vectors), np.float32)
        row = ItemContent(self.axes, self.axes.project(vectors)).unit_blocks()[0]
        direction = (row / max(float(np.linalg.norm(row)), 1e-12)).astype(np.float32)
        cosine: Float32 = self.vectors @ direction
        return cosine

    def nearest(self, item_idx: int, k: int) -> tuple[Int64, Float32]:
        """The k most similar other items, most similar first, and their cosines.

        Args:
            item_idx: Index of the item; one without content has no neighbours.
            k: Number of neighbours at most.
        """
        if not self.vectors[item_idx].any():
            return np.empty(0, np.int64), np.empty(0, np.float32)
        cosine = self.vectors @ self.vectors[item_idx]  # (n_items,)
        cosine[~self.vectors.any(axis=1)] = -np.inf
        cosine[[0, item_idx]] = -np.inf
        nearest = np.argsort(-cosine, kind="stable")[:k]
        nearest = nearest[np.isfinite(cosine[nearest])]
        return nearest, cosine[nearest]

    def closest(self, item_idx: Int64, among: Int64) -> Int64:
        """For each item the most similar one among others; 0 where none is alike.

        Args:
            item_idx: Indices of items, shape (k,).
            among: Indices of the others, shape (n,).
        """
        if not len(among):
            return np.zeros(len(item_idx), np.int64)
        cosine = self.vectors[item_idx] @ self.vectors[among].T  # (k, n)
        best = cosine.argmax(axis=1)
        is_alike = np.take_along_axis(cosine, best[:, None], axis=1)[:, 0] >= self.alike_from
        return np.where(is_alike, among[best], 0)


def read_item_likeness(
    lake: Lake,
    vocabulary: Vocabulary,
    cache: ContentCache | None = None,
    new_vectors: Sequence[FurtherVectors] = (),
) -> ItemLikeness | None:
    """Likeness of a model's items by the vectors in the lake; None where there are none.

    Args:
        lake: The dataset's lake.
        vocabulary: Ids of the model's items.
        cache: Where the likeness is kept, by the versions of the vectors and the items: the axes
            of its content take half a second.
        new_vectors: Vectors of items that the lake does not have; with them nothing is kept.
    """
    tables = ("item_embeddings", "content_encoders")
    if vocabulary.items.size > MAX_ITEMS or not all(map(lake.exists, tables)):
        return None

    def compute() -> ItemLikeness | None:
        item_ids = ["", *vocabulary.items.ids.to_pylist()]
        content = read_item_content(lake, list(Modality), item_ids, new_vectors)
        return None if content is None else ItemLikeness.of(content)

    if cache is None or new_vectors:
        return compute()
    key = f"likeness-{_likeness_digest(content_version(lake), vocabulary)}"
    return _from_bytes(cache.get_or_make(key, lambda: _to_bytes(compute())))


def likeness_cache(cache_dir: Path) -> ContentCache:
    """Cache of the likeness of a few catalogues.

    Args:
        cache_dir: Folder of all caches.
    """
    return FileCache(cache_dir / "likeness", _MAX_CACHED)


def _likeness_digest(version: str, vocabulary: Vocabulary) -> str:
    """Digest of all that decides on the likeness of a model's items."""
    content_digest = hashlib.blake2b(f"{_CACHE_VERSION}\n{version}\n".encode(), digest_size=16)
    content_digest.update(json.dumps(vocabulary.items.ids.to_pylist()).encode())
    return content_digest.hexdigest()


def _to_bytes(likeness: ItemLikeness | None) -> bytes:
    """An npz file without pickles; empty where the items have no content."""
    content = io.BytesIO()
    if likeness is not None:
        axes = {} if likeness.axes is None else likeness.axes.arrays()
        arrays = {"vectors": likeness.vectors, "alike_from": np.float64(likeness.alike_from)}
        np.savez(content, **arrays, **axes)  # type: ignore[arg-type]
    return content.getvalue()


def _from_bytes(content: bytes) -> ItemLikeness | None:
    if not content:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        axes = ContentAxes.from_arrays(arrays)
        return ItemLikeness(arrays["vectors"], float(arrays["alike_from"]), axes)


def _alike_from(vectors: Float32) -> float:
    """Cosine that few random pairs of items with content exceed, at most ``ALWAYS_ALIKE``."""
    present: npt.NDArray[np.int64] = np.flatnonzero(vectors.any(axis=1))
    if len(present) < 2:
        return np.inf
    pairs = np.random.default_rng(0).choice(present, (2, _N_PAIRS))
    first, second = pairs[:, pairs[0] != pairs[1]]
    cosine = np.einsum("pd,pd->p", vectors[first], vectors[second])
    return min(ALWAYS_ALIKE, float(np.quantile(cosine, ALIKE_QUANTILE)))
