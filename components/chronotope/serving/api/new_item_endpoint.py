"""Endpoints of new items: they are stored at once, and recommended within seconds."""

import os
from typing import Annotated

from fastapi import Body, FastAPI, Path, Response
from fastapi.exceptions import HTTPException

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.schemas import ITEMS
from chronotope.inference.new_items import NewItemReader
from chronotope.lake import Lake
from chronotope.lake.posted_items import PostedItem, PostedItems
from chronotope.runtime.workspace import Workspace
from chronotope.serving.api.new_item_requests import (
    ItemState,
    NewItemReceipt,
    NewItemStatus,
    PostedItemBodies,
    PostedItemBody,
)
from chronotope.serving.api.requests import IdText
from chronotope.serving.executor import BoundedExecutor
from chronotope.serving.model.loaded import LoadedChampion
from chronotope.serving.model.watcher import ChampionWatcher
from chronotope.serving.settings import ServeSettings


class NewItemEndpoint:
    """Intake of items, and what became of each."""

    def __init__(
        self,
        settings: ServeSettings,
        watcher: ChampionWatcher,
        posted_items: PostedItems,
        new_items: NewItemReader,
    ) -> None:
        """Share the components of the service.

        Args:
            settings: Settings of the service.
            watcher: Holder of the loaded champion.
            posted_items: Log of posted items.
            new_items: Reader of new items.
        """
        self._settings, self._watcher = settings, watcher
        self._posted_items, self._new_items = posted_items, new_items
        self._lake = Lake(Workspace(settings.root).lake(settings.dataset))

    def post(self, bodies: list[PostedItemBody]) -> NewItemReceipt:
        """Store items; on return they are on disk.

        Args:
            bodies: The items.

        Raises:
            ConfigError: An item has an unknown column, or a path outside of the data folder.
            HTTPException: An item is of the catalogue already (409).
        """
        schema = self._lake.dataset("items").schema if self._lake.exists("items") else ITEMS
        for body in bodies:
            body.check_columns(schema)
            self._check_image_path(body)
        self._check_new([body.item_id for body in bodies])
        n_new = self._posted_items.append([(body.item_id, body.fields()) for body in bodies])
        self._watcher.wake()
        return NewItemReceipt(
            n_received=len(bodies),
            n_new=n_new,
            items=tuple(f"/new-items/{body.item_id}" for body in bodies),
        )

    def status(self, item_id: str) -> NewItemStatus:
        """What became of an item.

        Args:
            item_id: Id of the item.
        """
        loaded = self._watcher.loaded_or_none
        posted = self._posted_items.item(item_id)
        item_idx = 0 if loaded is None else loaded.item_idx_of.get(item_id, 0)
        grown = None if loaded is None else loaded.grown
        vectors = () if grown is None else grown.vectors
        return NewItemStatus(
            item_id=item_id,
            state=_state(item_id, loaded, posted),
            version=None if loaded is None else loaded.champion.version,
            posted_at=None if posted is None else posted.first_posted_at,
            content=tuple(part.modality.value for part in vectors if part.has_vector(item_id)),
            missing=() if grown is None else grown.reasons.get(item_id, ()),
            is_exposed=loaded is not None and item_idx in loaded.exposed_idx.tolist(),
            n_events=0 if not (loaded and item_idx) else int((loaded.item_idx == item_idx).sum()),
            problem=None if grown is None else grown.problem,
        )

    def _check_image_path(self, body: PostedItemBody) -> None:
        """Refuse a picture that is not a file below the data folder."""
        if body.image_path is None or self._settings.content is None:
            return
        data_dir = os.path.normpath(self._settings.content.data_dir)
        file_path = os.path.normpath(os.path.join(data_dir, body.image_path))  # noqa: PTH118
        if "://" in body.image_path or body.image_path.startswith("data:"):
            problem = "is no path"
        elif not file_path.startswith(f"{data_dir}{os.sep}"):
            problem = "leads out of data_dir"
        else:
            return
        raise ConfigError(
            f"image_path {problem}",
            received=f"{body.item_id}: {body.image_path[:200]}",
            way_out="Put the file below data_dir of the dataset's YAML, and post its path there",
        )

    def _check_new(self, item_ids: list[str]) -> None:
        """Refuse items that the catalogue had before they were posted."""
        loaded = self._watcher.loaded_or_none
        known = (
            []
            if loaded is None
            else [
                item_id
                for item_id in item_ids
                if loaded.grown.trained.vocabulary.items.index([item_id])[0]
            ]
        )
        for item_id in known:
            if self._posted_items.item(item_id) is None:
                raise HTTPException(
                    409,
                    f"The model knows item {item_id!r} from its training: correct it in the "
                    "source of the items table, then run `chronotope ingest`",
                )


def _state(item_id: str, loaded: LoadedChampion | None, posted: PostedItem | None) -> ItemState:
    if loaded is not None and item_id in loaded.grown.rows:
        return "served"
    if loaded is not None and item_id in loaded.item_idx_of:
        return "trained"
    return "unknown" if posted is None else "waiting"


def add_new_item_endpoints(
    app: FastAPI, endpoint: NewItemEndpoint, executor: BoundedExecutor
) -> None:
    """Add the endpoints of new items to an application.

    Args:
        app: The application.
        endpoint: What answers.
        executor: Threads that answer.
    """

    @app.post("/items", response_model=NewItemReceipt)
    async def post_items(
        bodies: Annotated[PostedItemBodies, Body(description="An item or a list of items.")],
    ) -> Response:
        """Store new items; after status 200 each is on disk, and recommended within seconds."""
        body_list = bodies if isinstance(bodies, list) else [bodies]
        receipt = await executor.run(endpoint.post, body_list)
        return Response(receipt.model_dump_json(), media_type="application/json")

    @app.get("/new-items/{item_id:path}", response_model=NewItemStatus)
    async def new_item_status(
        item_id: Annotated[IdText, Path(description="Item id as it was posted.")],
    ) -> NewItemStatus:
        """What became of a posted item."""
        status = await executor.run(endpoint.status, item_id)
        if status.state == "unknown":
            raise HTTPException(404, "This item was not posted, and the model does not know it")
        return status
