"""Request and response models of posted items."""

import math
from datetime import datetime
from typing import Annotated, Final, Literal, Self

import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, model_validator

from chronotope.contracts import columns as c
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.id_rules import HAS_CONTROL, is_utf8
from chronotope.lake.posted_items import ItemFields
from chronotope.serving.api.requests import (
    EventIdText,
    Latitude,
    Longitude,
    OptionalEventIdText,
    body_tag,
)

MAX_TEXT_BYTES: Final = 64 * 1024
"""Size of one text of a posted item in UTF-8."""

MAX_POSTED: Final = 1_000
"""Items of one request."""

_FIELDS: Final = (c.CATEGORY, c.TITLE, c.TEXT, c.IMAGE_PATH, c.LAT, c.LON)

ItemState = Literal["waiting", "served", "trained", "unknown"]


class PostedItemBody(BaseModel):
    """One item: the columns of the items table that are known of it."""

    model_config = ConfigDict(frozen=True, extra="allow")

    item_id: EventIdText
    category: OptionalEventIdText = None
    title: str | None = None
    text: str | None = Field(None, description="Description, at most 64 KiB.")
    image_path: str | None = Field(
        None, description="Path of a picture below data_dir; pictures are not sent in the request."
    )
    lat: Latitude | None = Field(None, description="Latitude, degrees WGS 84.")
    lon: Longitude | None = Field(None, description="Longitude, degrees WGS 84.")

    @model_validator(mode="after")
    def _check_values(self) -> Self:
        if (self.lat is None) != (self.lon is None):
            raise ValueError("give both lat and lon, or neither")
        for column_name, field_value in {**self.__dict__, **(self.model_extra or {})}.items():
            problem_text = _value_problem(field_value)
            if problem_text:
                raise ValueError(f"{column_name} {problem_text}")
        return self

    def fields(self) -> ItemFields:
        """Values by column, without the id and without missing ones."""
        field_values = self.model_dump(exclude={c.ITEM_ID}, exclude_none=True)
        return {
            column_name: field_value
            for column_name, field_value in field_values.items()
            if field_value != ""
        }

    def check_columns(self, items_schema: pa.Schema) -> None:
        """Refuse columns that the items table does not have, and values of other types.

        Args:
            items_schema: Schema of the dataset's items table.

        Raises:
            ConfigError: A column is unknown, or its value is of another type.
        """
        known_columns = {*_FIELDS, *items_schema.names} - {c.ITEM_ID}
        further_fields = self.model_extra or {}
        for column_name in further_fields.keys() & known_columns:
            self._check_type(
                column_name, further_fields[column_name], items_schema.field(column_name).type
            )
        unknown_columns = sorted(further_fields.keys() - known_columns)
        if unknown_columns:
            raise ConfigError(
                "A posted item has unknown columns",
                received=f"{self.item_id}: {unknown_columns}",
                way_out=f"Choose from {sorted(known_columns)}, or map it in the dataset's YAML",
            )

    def _check_type(self, column_name: str, field_value: object, column_type: pa.DataType) -> None:
        is_number = pa.types.is_floating(column_type) or pa.types.is_integer(column_type)
        if field_value is None or isinstance(field_value, int | float if is_number else str):
            return
        raise ConfigError(
            f"{column_name} has to be {'a number' if is_number else 'a text'}",
            received=f"{self.item_id}: {field_value!r}",
            way_out="Send the value in the type of the items table",
        )


PostedItemBodies = Annotated[
    Annotated[PostedItemBody, Tag("one")]
    | Annotated[list[PostedItemBody], Field(max_length=MAX_POSTED), Tag("many")],
    Discriminator(body_tag),
]
"""Body of ``POST /items``: an item or a list of items."""


class NewItemReceipt(BaseModel):
    """What was stored of a request."""

    model_config = ConfigDict(frozen=True)

    n_received: int = Field(description="Items of the request.")
    n_new: int = Field(description="Items of which something new was said; it is on disk.")
    items: tuple[str, ...] = Field(description="Where to ask what became of each item.")


class NewItemStatus(BaseModel):
    """What became of an item."""

    model_config = ConfigDict(frozen=True)

    item_id: str
    state: ItemState = Field(
        description="`waiting`: stored, served within seconds; `served`: recommended as a new "
        "item; `trained`: known to the model from its training; `unknown`: never posted."
    )
    version: str | None = Field(description="Version of the model.")
    posted_at: datetime | None = Field(description="Time of the first post.")
    content: tuple[str, ...] = Field(description="Kinds of content that the model has of it.")
    missing: tuple[str, ...] = Field(description="Why it lacks other kinds of content.")
    is_exposed: bool = Field(description="Whether a share of the lists shows it for feedback.")
    n_events: int = Field(description="Events of all users with this item, in the lake.")
    problem: str | None = Field(description="Why the model takes no new items.")


def _value_problem(field_value: object) -> str | None:
    """Why a value cannot be stored; None if it can."""
    if field_value is None:
        return None
    if isinstance(field_value, bool) or not isinstance(field_value, str | int | float):
        return "is neither a text nor a number"
    if isinstance(field_value, int | float):
        return None if math.isfinite(field_value) else "is not a finite number"
    if not is_utf8(field_value):
        return "is not UTF-8 text"
    if len(field_value.encode()) > MAX_TEXT_BYTES:
        return f"has more than {MAX_TEXT_BYTES:,} bytes"
    return HAS_CONTROL if "\0" in field_value else None
