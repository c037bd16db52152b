"""Endpoints of one item: what it is, its picture, and the items that are most similar to it."""

from typing import Annotated, Final

import numpy as np
from fastapi import FastAPI, Path, Query, Response
from fastapi.exceptions import HTTPException
from pydantic import BaseModel, ConfigDict, Field

from chronotope.content.inputs.item_inputs import ImageReader
from chronotope.content.labels.used_labels import PredictedLabel, item_labels
from chronotope.content.summaries.stored_summaries import StoredSummary, read_summary
from chronotope.contracts import columns as c
from chronotope.inference.ranking import none_if_nan
from chronotope.lake import Lake
from chronotope.lake.text_filter import text_equals
from chronotope.runtime.workspace import Workspace
from chronotope.serving.api.requests import IdText
from chronotope.serving.executor import BoundedExecutor
from chronotope.serving.model.loaded import LoadedChampion
from chronotope.serving.model.watcher import ChampionWatcher
from chronotope.serving.settings import ServeSettings

MAX_TEXT_CHARS: Final = 2_000
"""Characters of a description that an answer holds."""

_SIGNATURES: Final = {
    b"\xff\xd8\xff": "image/jpeg",
    b"\x89PNG\r\n\x1a\n": "image/png",
    b"GIF8": "image/gif",
    b"BM": "image/bmp",
}
_PICTURE_AGE_S: Final = 3_600


_CONFIDENCE: Final = "Confidence of a predicted category; null if the catalogue gives it."


class SimilarItem(BaseModel):
    """Neighbour of an item."""

    model_config = ConfigDict(frozen=True)

    id: str
    title: str
    category: str | None
    category_confidence: float | None = Field(description=_CONFIDENCE)
    similarity: float = Field(description="Mean cosine over the kinds of content, at most 1.")


class ItemResponse(BaseModel):
    """One item of the model's catalogue."""

    model_config = ConfigDict(frozen=True)

    dataset: str
    id: str
    title: str
    category: str | None
    category_confidence: float | None = Field(description=_CONFIDENCE)
    predicted_labels: tuple[PredictedLabel, ...] = Field(
        description="Labels that the catalogue lacks and a classifier predicted."
    )
    summary: StoredSummary | None = Field(description="Summary of a long text.")
    text: str | None = Field(description="Description in the catalogue, cut if it is long.")
    lat: float | None
    lon: float | None
    n_events: int = Field(description="Events of all users with this item, in the lake.")
    has_picture: bool = Field(description="Whether `/pictures/{item_id}` may answer.")
    similar: tuple[SimilarItem, ...] = Field(
        description="Most similar items by content; empty where the item has none."
    )


class ItemEndpoint:
    """Answers about one item, from the loaded champion and the lake's catalogue."""

    def __init__(self, settings: ServeSettings, watcher: ChampionWatcher) -> None:
        """Keep where pictures are.

        Args:
            settings: Settings of the service.
            watcher: Holder of the loaded champion.
        """
        self._settings, self._watcher = settings, watcher
        self._lake = Lake(Workspace(settings.root).lake(settings.dataset))
        pictures = settings.pictures
        self._reader = ImageReader(pictures.source, pictures.data_dir) if pictures else None

    def describe(self, item_id: str, k: int) -> ItemResponse:
        """The item and its neighbours.

        Args:
            item_id: Id of the item.
            k: Number of neighbours at most.

        Raises:
            HTTPException: The model does not know the item (404).
        """
        loaded = self._watcher.loaded_champion
        item_idx = _item_idx(loaded, item_id)
        bundle_vocabulary, item_metadata = loaded.champion.vocabulary, loaded.item_metadata
        (category,) = item_metadata.categories.names(item_metadata.category_idx[[item_idx]])
        row = self._catalogue_row(item_id, (c.TEXT,))
        text = row.get(c.TEXT)
        return ItemResponse(
            dataset=self._settings.dataset,
            id=item_id,
            title=bundle_vocabulary.titles[item_idx] or "",
            category=category,
            category_confidence=item_metadata.confidences(np.array([item_idx]))[0],
            predicted_labels=item_labels(self._lake, item_id),
            summary=read_summary(self._lake, item_id),
            text=None if text is None else str(text)[:MAX_TEXT_CHARS],
            lat=none_if_nan(float(item_metadata.lat[item_idx])),
            lon=none_if_nan(float(item_metadata.lon[item_idx])),
            n_events=int((loaded.item_idx == item_idx).sum()),
            has_picture=self._reader is not None,
            similar=_similar_items(loaded, item_idx, k),
        )

    def picture(self, item_id: str) -> Response:
        """The item's picture as its file holds it.

        Args:
            item_id: Id of the item.

        Raises:
            HTTPException: There is no such item, or it has no picture (404).
        """
        _item_idx(self._watcher.loaded_champion, item_id)
        if self._reader is None:
            raise HTTPException(404, "The items of this dataset have no pictures")
        row = self._catalogue_row(item_id, self._reader.columns)
        if not row:
            raise HTTPException(404, "The item has no picture: it is not in the catalogue")
        picture = self._reader.read(row)
        media_type = _media_type(picture.raw) if isinstance(picture.raw, bytes) else None
        if media_type is None:
            reason = picture.reason or "not an image of a known format"
            raise HTTPException(404, f"The item has no picture: {reason}")
        age = {"Cache-Control": f"private, max-age={_PICTURE_AGE_S}"}
        return Response(picture.raw, media_type=media_type, headers=age)

    def _catalogue_row(self, item_id: str, columns: tuple[str, ...]) -> dict[str, object]:
        """Values of an item in the lake's catalogue or of a new item; empty without any."""
        new_row = self._watcher.loaded_champion.grown.rows.get(item_id)
        if new_row is not None:
            return {name: new_row.get(name) for name in columns}
        if not self._lake.exists("items"):
            return {}
        catalogue = self._lake.dataset("items")
        present = [name for name in columns if name in catalogue.schema.names]
        rows = catalogue.to_table(columns=present, filter=text_equals(c.ITEM_ID, item_id))
        return dict.fromkeys(columns) | rows.to_pylist()[0] if len(rows) else {}


def add_item_endpoints(app: FastAPI, endpoint: ItemEndpoint, executor: BoundedExecutor) -> None:
    """Add the endpoints of one item to an application.

    Args:
        app: The application.
        endpoint: What answers.
        executor: Threads that answer.
    """
    item = Path(description="Item id as in the log.")

    @app.get("/pictures/{item_id:path}", response_class=Response)
    async def item_picture(item_id: Annotated[IdText, item]) -> Response:
        """Picture of an item; 404 with the reason if there is none."""
        return await executor.run(endpoint.picture, item_id)

    @app.get("/items/{item_id:path}", response_model=ItemResponse)
    async def item_about(
        item_id: Annotated[IdText, item],
        k: Annotated[int, Query(ge=0, le=100, description="Number of similar items.")] = 8,
    ) -> ItemResponse:
        """An item, and those that are most similar to it by content."""
        return await executor.run(endpoint.describe, item_id, k)


def _item_idx(loaded: LoadedChampion, item_id: str) -> int:
    item_idx = loaded.item_idx_of.get(item_id)
    if item_idx is None:
        raise HTTPException(404, "The champion does not know this item")
    return item_idx


def _similar_items(loaded: LoadedChampion, item_idx: int, k: int) -> tuple[SimilarItem, ...]:
    likeness, bundle_vocabulary = loaded.item_metadata.likeness, loaded.champion.vocabulary
    if likeness is None:
        return ()
    nearest, cosine = likeness.nearest(item_idx, k)
    item_metadata = loaded.item_metadata
    rows = zip(
        bundle_vocabulary.items.names(nearest),
        nearest.tolist(),
        item_metadata.categories.names(item_metadata.category_idx[nearest]),
        item_metadata.confidences(nearest),
        cosine.tolist(),
        strict=True,
    )
    return tuple(
        SimilarItem(
            id=str(name),
            title=bundle_vocabulary.titles[idx] or "",
            category=category,
            category_confidence=confidence,
            similarity=round(similarity, 4),
        )
        for name, idx, category, confidence, similarity in rows
    )


def _media_type(content: bytes) -> str | None:
    """Type of an image by its first bytes; None for anything else, such as HTML or SVG."""
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "image/webp"
    return next((kind for start, kind in _SIGNATURES.items() if content.startswith(start)), None)
