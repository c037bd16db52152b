"""Endpoint of the item context: posted rows are stored at once and count at once."""

from typing import Annotated, Final, Self

from fastapi import Body, FastAPI, Response
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.item_context import ItemContextColumn
from chronotope.lake.posted import PostedContextRow, PostedItemContext
from chronotope.serving.api.requests import (
    EventIdText,
    InUtc,
    OptionalEventIdText,
    Timestamp,
    body_tag,
)
from chronotope.serving.executor import BoundedExecutor
from chronotope.serving.model.watcher import ChampionWatcher

MAX_ROWS: Final = 10_000
"""Rows of one request."""

ContextValue = Annotated[str, Field(max_length=1024)] | Annotated[float, Field(allow_inf_nan=False)]


class ItemContextBody(BaseModel):
    """Values of one item, from one moment until another."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    item_id: EventIdText
    place_id: OptionalEventIdText = Field(None, description="Place; left out: everywhere.")
    valid_from: Annotated[Timestamp, InUtc] = Field(description="Start, with a time zone.")
    valid_until: Annotated[Timestamp, InUtc] | None = Field(
        None, description="End, exclusive; left out: until another row follows."
    )
    values: dict[str, ContextValue] = Field(
        min_length=1, description="Value of each column; a column left out has its default."
    )

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        if self.valid_until is not None and self.valid_until <= self.valid_from:
            raise ValueError("valid_until must be after valid_from")
        return self


ItemContextBodies = Annotated[
    Annotated[ItemContextBody, Tag("one")]
    | Annotated[list[ItemContextBody], Field(max_length=MAX_ROWS), Tag("many")],
    Discriminator(body_tag),
]
"""Body of ``POST /item-context``: a row or a list of rows."""


class ItemContextReceipt(BaseModel):
    """What was stored of a request."""

    model_config = ConfigDict(frozen=True)

    n_received: int = Field(description="Rows of the request; they are on disk.")
    n_unknown_items: int = Field(description="Rows of items that the model does not know.")


class ItemContextEndpoint:
    """Intake of rows of the item context."""

    def __init__(self, watcher: ChampionWatcher, posted: PostedItemContext) -> None:
        """Share the components of the service.

        Args:
            watcher: Holder of the loaded champion.
            posted: Log of posted rows.
        """
        self._watcher, self._posted = watcher, posted

    def post(self, bodies: list[ItemContextBody]) -> ItemContextReceipt:
        """Store rows; on return they are on disk, and the next request reads them.

        Args:
            bodies: The rows.

        Raises:
            ConfigError: The model reads no item context, or not such a column.
            StoreError: There is no champion, or the log cannot be written.
        """
        loaded_champion = self._watcher.loaded_champion
        columns = {
            column.name: column for column in loaded_champion.champion.model.manifest.item_context
        }
        for body in bodies:
            _check_values(body, columns)
        self._posted.append(
            [
                PostedContextRow(
                    body.item_id,
                    body.place_id or "",
                    body.valid_from,
                    body.valid_until,
                    body.values,
                )
                for body in bodies
            ]
        )
        n_unknown = sum(body.item_id not in loaded_champion.item_idx_of for body in bodies)
        return ItemContextReceipt(n_received=len(bodies), n_unknown_items=n_unknown)


def _check_values(body: ItemContextBody, columns: dict[str, ItemContextColumn]) -> None:
    """Refuse columns that the champion does not read, and values of another type."""
    unknown = sorted(set(body.values) - set(columns))
    if unknown:
        raise ConfigError(
            "The champion reads no such columns of the item context",
            received=f"{body.item_id}: {unknown}",
            way_out=f"Its columns are: {', '.join(columns) or 'none'}",
        )
    for name, value in body.values.items():
        is_number = not isinstance(columns[name].default, str)
        if is_number is isinstance(value, str):
            raise ConfigError(
                f"{name} has to be {'a number' if is_number else 'a text'}",
                received=f"{body.item_id}: {value!r}",
                way_out="Send the value in the type of its default in the dataset's YAML",
            )


def add_item_context_endpoint(
    app: FastAPI, endpoint: ItemContextEndpoint, executor: BoundedExecutor
) -> None:
    """Add ``POST /item-context`` to an application.

    Args:
        app: The application.
        endpoint: What answers.
        executor: Threads that answer.
    """

    @app.post("/item-context", response_model=ItemContextReceipt)
    async def post_item_context(
        bodies: Annotated[ItemContextBodies, Body(description="A row or a list of rows.")],
    ) -> Response:
        """Store prices, promotions and the like; after status 200 each is on disk and counts."""
        body_list = bodies if isinstance(bodies, list) else [bodies]
        receipt = await executor.run(endpoint.post, body_list)
        return Response(receipt.model_dump_json(), media_type="application/json")
