"""Schema of what items are made of: texts, images and sounds, in a dataset's YAML."""

import re
from typing import Any, Final, Self

from pydantic import Field, field_validator, model_validator

from chronotope.datasets.table_spec import TableSpec
from chronotope.datasets.time_spec import FrozenModel

_PLACEHOLDER: Final = re.compile(r"\{(\w+)\}")


class TextContent(FrozenModel):
    """Texts of the items: columns of the catalogue, joined."""

    columns: tuple[str, ...] = Field(
        min_length=1, description="Columns of the items that hold text, in this order"
    )
    encoder: str = Field(
        default="tfidf",
        description="tfidf (no download, fitted on the catalogue), minilm (English), e5 "
        "(100 languages), or the path of an ONNX file with a tokenizer.json beside it",
    )
    max_chars: int = Field(
        default=20_000, ge=10, le=1_000_000, description="Characters after which a text is cut"
    )


class FileContent(FrozenModel):
    """Files of the items, one for each item."""

    path: str = Field(
        min_length=1,
        description="Path relative to data_dir with columns of the items in braces, such as "
        "posters/{item_id}.jpg or {image_path}",
    )
    max_bytes: int = Field(
        default=32 << 20, ge=1, le=1 << 30, description="Size in bytes above which a file is left"
    )

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that the path names."""
        return tuple(dict.fromkeys(_PLACEHOLDER.findall(self.path)))

    def relative_path(self, row_values: dict[str, str]) -> str:
        """Path of one item's file.

        Args:
            row_values: Values of ``columns``.
        """
        return _PLACEHOLDER.sub(lambda match: row_values[match.group(1)], self.path)

    @model_validator(mode="after")
    def _names_a_column(self) -> Self:
        if not self.columns:
            raise ValueError("path names no column: write {item_id} or another column in braces")
        return self


class ImageContent(FileContent):
    """Images of the items."""

    encoder: str = Field(default="efficientnet_lite0", description="efficientnet_lite0")
    max_pixels: int = Field(
        default=40_000_000,
        ge=1,
        le=500_000_000,
        description="Width times height above which an image is not decoded",
    )


class AudioContent(FileContent):
    """Sounds of the items, as WAV files."""

    encoder: str = Field(
        pattern=r"\.onnx$",
        description="Path of an ONNX file that reads float32 samples at 16 kHz, (1, n_samples), "
        "and returns a vector, or one for each frame",
    )
    max_seconds: float = Field(
        default=60.0, gt=0, le=3_600, description="Seconds after which a sound is cut"
    )


class ContentSpec(FrozenModel):
    """What the items are, by modality; each may be left out."""

    text: TextContent | None = Field(
        default=None, description="Texts: a list of columns, or columns with an encoder"
    )
    image: ImageContent | None = Field(
        default=None, description="Images: a path with columns in braces, or path with bounds"
    )
    audio: AudioContent | None = Field(
        default=None, description="Sounds: a path with columns in braces, and an encoder"
    )

    @field_validator("text", mode="before")
    @classmethod
    def _columns_alone(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"columns": (value,)}
        return {"columns": value} if isinstance(value, (list, tuple)) else value

    @field_validator("image", mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @property
    def modalities(self) -> dict[str, TextContent | ImageContent | AudioContent]:
        """The configured modalities by name."""
        by_name = {"text": self.text, "image": self.image, "audio": self.audio}
        return {name: content for name, content in by_name.items() if content is not None}


class ItemTableSpec(TableSpec):
    """Source of the item catalogue, and what its items are made of."""

    # Excluded: the identity of a source must not depend on how its items are encoded.
    content: ContentSpec | None = Field(
        default=None,
        exclude=True,
        description="Texts, images and sounds of the items, to be encoded as vectors; optional",
    )

    @model_validator(mode="after")
    def _content_columns_exist(self) -> Self:
        known_columns = {*self.columns, *self.coalesce, *self.join, *self.context, *self.attributes}
        unknown_columns = [
            f"content.{name}: {column!r}"
            for name, content in (self.content.modalities if self.content else {}).items()
            for column in content.columns
            if column not in known_columns
        ]
        if unknown_columns:
            raise ValueError(
                f"{', '.join(unknown_columns)} is no column of the items; "
                f"map it, or choose from {sorted(known_columns)}"
            )
        return self
