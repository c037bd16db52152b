"""Endpoints of new items: they are stored at once, and recommended within seconds."""

import os
from typing import Annotated

from fastapi import Body, FastAPI, Path, Response
from fastapi.exceptions import HTTPException

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.schemas import ITEMS
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
    ) -> None:
        """Share the components of the service.

        Args:
            settings: Settings of the service.
            watcher: Holder of the loaded champion.
            posted_items: Log of posted items.
        """
        self._settings, self._watcher = settings, watcher
        self._posted_items = posted_items
        self._lake = Lake(Workspace(settings.root).lake(settings.dataset))

    def post(self, bodies: list[PostedItemBody]) -> NewItemReceipt:
        """Store items; on return they are on disk.

        Args:
            bodies: The items.

        Raises:
            ConfigError: An item has an unknown column, or a path outside of the data folder.
            HTTPException: An item is of the catalogue already (409).
        """
        items_schema = self._lake.dataset("items").schema if self._lake.exists("items") else ITEMS
        for item_body in bodies:
            item_body.check_columns(items_schema)
            self._check_image_path(item_body)
        self._check_new([item_body.item_id for item_body in bodies])
        n_new = self._posted_items.append(
            [(item_body.item_id, item_body.fields()) for item_body in bodies]
        )
        self._watcher.wake()
        return NewItemReceipt(
            n_received=len(bodies),
            n_new=n_new,
            items=tuple(f"/new-items/{item_body.item_id}" for item_body in bodies),
        )

    def status(self, item_id: str) -> NewItemStatus:
        """What became of an item.

        Args:
            item_id: Id of the item.
        """
        loaded_champion = self._watcher.loaded_or_none
        posted_item = self._posted_items.item(item_id)
        item_idx = 0 if loaded_champion is None else loaded_champion.item_idx_of.get(item_id, 0)
        grown_champion = None if loaded_champion is None else loaded_champion.grown
        item_vectors = () if grown_champion is None else grown_champion.vectors
        return NewItemStatus(
            item_id=item_id,
            state=_state(item_id, loaded_champion, posted_item),
            version=None if loaded_champion is None else loaded_champion.champion.version,
            posted_at=None if posted_item is None else posted_item.first_posted_at,
            content=tuple(
                modality_vectors.modality.value
                for modality_vectors in item_vectors
                if modality_vectors.has_vector(item_id)
            ),
            missing=() if grown_champion is None else grown_champion.reasons.get(item_id, ()),
            is_exposed=loaded_champion is not None
            and item_idx in loaded_champion.exposed_idx.tolist(),
            n_events=0
            if not (loaded_champion and item_idx)
            else int((loaded_champion.item_idx == item_idx).sum()),
            problem=None if grown_champion is None else grown_champion.problem,
        )

    def _check_image_path(self, item_body: PostedItemBody) -> None:
        """Refuse a picture that is not a file below the data folder."""
        if item_body.image_path is None or self._settings.content is None:
            return
        data_dir = os.path.normpath(self._settings.content.data_dir)
        file_path = os.path.normpath(os.path.join(data_dir, item_body.image_path))  # noqa: PTH118
        if "://" in item_body.image_path or item_body.image_path.startswith("data:"):
            path_problem = "is no path"
        elif not file_path.startswith(f"{data_dir}{os.sep}"):
            path_problem = "leads out of data_dir"
        else:
            return
        raise ConfigError(
            f"image_path {path_problem}",
            received=f"{item_body.item_id}: {item_body.image_path[:200]}",
            way_out="Put the file below data_dir of the dataset's YAML, and post its path there",
        )

    def _check_new(self, item_ids: list[str]) -> None:
        """Refuse items that the catalogue had before they were posted."""
        loaded_champion = self._watcher.loaded_or_none
        known_ids = (
            []
            if loaded_champion is None
            else [
                item_id
                for item_id in item_ids
                if loaded_champion.grown.trained.vocabulary.items.index([item_id])[0]
            ]
        )
        for item_id in known_ids:
            if self._posted_items.item(item_id) is None:
                raise HTTPException(
                    409,
                    f"The model knows item {item_id!r} from its training: correct it in the "
                    "source of the items table, then run `chronotope ingest`",
                )


def _state(
    item_id: str, loaded_champion: LoadedChampion | None, posted_item: PostedItem | None
) -> ItemState:
    if loaded_champion is not None and item_id in loaded_champion.grown.rows:
        return "served"
    if loaded_champion is not None and item_id in loaded_champion.item_idx_of:
        return "trained"
    return "unknown" if posted_item is None else "waiting"


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
        post_receipt = await executor.run(endpoint.post, body_list)
        return Response(post_receipt.model_dump_json(), media_type="application/json")

    @app.get("/new-items/{item_id:path}", response_model=NewItemStatus)
    async def new_item_status(
        item_id: Annotated[IdText, Path(description="Item id as it was posted.")],
    ) -> NewItemStatus:
        """What became of a posted item."""
        item_status = await executor.run(endpoint.status, item_id)
        if item_status.state == "unknown":
            raise HTTPException(404, "This item was not posted, and the model does not know it")
        return item_status
