"""Content of the films of MovieLens-100K, as views for the model of new items."""

import re
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa

from benchmarks.cold_item_model.kernels import ContentView, Matrix
from chronotope.content.encoder import Modality
from chronotope.content.encoders.attribute_encoder import ItemAttributes, item_attributes
from chronotope.content.encoders.open_encoder import open_pretrained
from chronotope.content.encoders.packaged_weights import MissingWeights
from chronotope.content.encoders.tfidf_encoder import TfidfEncoder
from chronotope.content.inputs.image_reading import ContentRefused, decode_image, read_content_file
from chronotope.content.inputs.text_cleaning import clean_text
from chronotope.contracts.event_log import Float32

LAST_YEAR: Final = 1998
"""Year of the last rating."""

ATTRIBUTES: Final = ("genres", "year", "runtime", "original_language")
"""Columns of the films that are neither texts nor pictures."""

_YEAR: Final = re.compile(r"\s*\(\d{4}\)\s*$")
_MAX_BYTES: Final = 1 << 24


def item_views(items: pa.Table, data_dir: Path) -> dict[str, ContentView]:
    """Views by name; those whose encoder is not installed are missing.

    Args:
        items: Columns ``movie_id``, ``title``, ``year``, ``genres``, ``overview``, ``tagline``,
            ``runtime`` and ``original_language``.
        data_dir: Folder with the folder ``posters``, files named by ``movie_id``.
    """
    texts = film_texts(items)
    attributes = film_attributes(items)
    age = np.log1p(np.maximum(LAST_YEAR - _numbers(attributes, "year"), 0))
    runtimes = _numbers(attributes, "runtime").clip(40, 240)
    views = [
        ContentView("genres", _indicators(attributes, "genres"), "rbf"),
        ContentView("year", age[:, None] + 0.01, "rbf"),  # a row of zeros is a missing one
        ContentView("runtime", runtimes[:, None], "rbf"),
        ContentView("language", _indicators(attributes, "original_language"), "rbf"),
        ContentView("tfidf", TfidfEncoder.fit(texts).encode(texts).astype(np.float64)),
        *_pretrained_views(texts, items.column("movie_id").to_pylist(), data_dir),
    ]
    return {view.name: view for view in views}


def film_attributes(items: pa.Table) -> list[ItemAttributes]:
    """Genres, year, runtime and language of each film; a runtime of 0 is not known.

    Args:
        items: Columns ``genres``, ``year``, ``runtime`` and ``original_language``.
    """
    attributes = [
        item_attributes(row, ATTRIBUTES, "|") for row in items.select(ATTRIBUTES).to_pylist()
    ]
    return [
        {name: value for name, value in film.items() if name != "runtime" or value}
        for film in attributes
    ]


def film_texts(items: pa.Table) -> list[str]:
    """Title without its year, overview and tagline of each film.

    Args:
        items: Columns ``title``, ``overview`` and ``tagline``.
    """
    rows: list[dict[str, Any]] = items.select(["title", "overview", "tagline"]).to_pylist()
    return [
        clean_text(
            ". ".join(
                part
                for part in (_YEAR.sub("", row["title"]), row["overview"], row["tagline"])
                if part
            ),
            20_000,
        )
        for row in rows
    ]


def text_vectors(texts: Sequence[str]) -> Float32:
    """Vectors of texts by MiniLM, or by TF-IDF where it is not installed, shape (n, d).

    Args:
        texts: The texts.
    """
    with tempfile.TemporaryDirectory() as cache_dir:
        try:
            return open_pretrained("minilm", Modality.TEXT, Path(cache_dir)).encode(texts)
        except MissingWeights as error:
            print(f"TF-IDF instead of MiniLM: {error}")
            return TfidfEncoder.fit(texts).encode(texts)


def poster_vectors(item_ids: Sequence[Any], data_dir: Path) -> Float32 | None:
    """Vectors of the films' posters, zero where there is none; None without the encoder.

    Args:
        item_ids: Values of ``movie_id``.
        data_dir: Folder with the folder ``posters``.
    """
    with tempfile.TemporaryDirectory() as cache_dir:
        try:
            encoder = open_pretrained("efficientnet_lite0", Modality.IMAGE, Path(cache_dir))
        except MissingWeights:
            return None
    posters: dict[int, Any] = {}
    for position, item_id in enumerate(item_ids):
        try:
            content = read_content_file(data_dir / "posters" / f"{item_id}.jpg", _MAX_BYTES)
            posters[position] = decode_image(content, 224, 40_000_000)
        except ContentRefused:
            continue
    if not posters:
        return None
    vectors = np.zeros((len(item_ids), encoder.dim), np.float32)
    vectors[list(posters)] = encoder.encode(list(posters.values()))
    return vectors


def _pretrained_views(
    texts: Sequence[str], item_ids: Sequence[Any], data_dir: Path
) -> list[ContentView]:
    with tempfile.TemporaryDirectory() as cache_dir:
        try:
            minilm = open_pretrained("minilm", Modality.TEXT, Path(cache_dir))
        except MissingWeights as error:
            print(f"Without pretrained encoders: {error}")
            return []
    views = [ContentView("minilm", minilm.encode(texts).astype(np.float64))]
    posters = poster_vectors(item_ids, data_dir)
    return (
        views if posters is None else [*views, ContentView("posters", posters.astype(np.float64))]
    )


def _indicators(attributes: Sequence[ItemAttributes], column: str) -> Matrix:
    """Zeros and ones, a column for each name, shape (n_items, n_names)."""
    given = [film.get(column, ()) for film in attributes]
    name_lists = [value if isinstance(value, tuple) else () for value in given]
    names = sorted({name for item_names in name_lists for name in item_names})
    return np.array([[float(name in item_names) for name in names] for item_names in name_lists])


def _numbers(attributes: Sequence[ItemAttributes], column: str) -> Matrix:
    """Numbers of a column, NaN where a film has none, shape (n_items,)."""
    given = [film.get(column) for film in attributes]
    return np.array([value if isinstance(value, float) else np.nan for value in given])
