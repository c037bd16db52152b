"""Schema of what items are made of, and of what is derived from it, in a dataset's YAML."""

import re
from typing import Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from chronotope.contracts import columns as c
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


class AttributeContent(FrozenModel):
    """Attributes of the items: categories, lists of values, and numbers."""

    columns: tuple[str, ...] = Field(
        min_length=1, description="Columns of the items: texts are names, numbers are numbers"
    )
    encoder: Literal["attributes"] = Field(
        default="attributes", description="attributes: fitted on the catalogue, without weights"
    )
    separator: str = Field(
        default="|", min_length=1, max_length=8, description="Text between the names of a list"
    )
    min_items: int = Field(
        default=3, ge=1, le=1_000, description="Items that have to share a name to be encoded"
    )


ModalityContent = TextContent | ImageContent | AudioContent | AttributeContent
"""Where one kind of content is, and how it is encoded."""


class ClassifySpec(FrozenModel):
    """Labels that a text classifier predicts where the catalogue has none."""

    columns: tuple[str, ...] = Field(
        min_length=1, description="Columns of the items whose text the label is predicted from"
    )
    min_precision: float = Field(
        default=0.9,
        gt=0,
        le=1,
        description="Share of the predicted labels that has to be right on held-back items; "
        "less certain items stay without a label",
    )
    min_confidence: float | None = Field(
        default=None,
        gt=0,
        le=1,
        description="Probability from which a label is used, instead of min_precision",
    )
    backbone: Literal["auto", "minilm", "own"] = Field(
        default="auto",
        description="Transformer: minilm (English, pretrained), own (small, any language), or "
        "auto: minilm where it is installed",
    )
    max_chars: int = Field(
        default=2_000, ge=10, le=1_000_000, description="Characters after which a text is cut"
    )


class SummaryEndpoint(FrozenModel):
    """OpenAI-compatible endpoint that writes summaries; its statements are checked."""

    base_url: str = Field(
        pattern=r"^https?://[^\s@?#]+$",
        description="Address before /chat/completions, such as http://localhost:8000/v1",
    )
    model: str = Field(min_length=1, description="Name of the model at the endpoint")
    api_key_env: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_][A-Za-z0-9_]*$",
        description="Environment variable that holds the key; the key itself is never written",
    )
    attributes: tuple[str, ...] = Field(
        default=(), description="Attributes to extract, such as colour; each has to be in the text"
    )
    timeout_s: float = Field(default=30.0, gt=0, le=600, description="Seconds to wait for a reply")
    max_tokens: int = Field(default=300, ge=16, le=8_192, description="Length of a reply")
    max_retries: int = Field(
        default=2, ge=0, le=10, description="Further attempts after an error, with growing pauses"
    )
    max_items: int = Field(
        default=1_000, ge=1, description="Items of one run that are sent; the next run goes on"
    )

    @field_validator("base_url")
    @classmethod
    def _check_address(cls, base_url: str) -> str:
        """Refuse a host or port that no request can be sent to."""
        parts = urlsplit(base_url)  # raises ValueError for a host such as [::1
        if not parts.hostname or parts.port == 0:  # so does a port that is no number
            raise ValueError("base_url needs a host, and a port from 1 to 65535 if it has one")
        return base_url


class SummarySpec(FrozenModel):
    """Summaries of long texts."""

    columns: tuple[str, ...] = Field(
        min_length=1, description="Columns of the items that hold the long text"
    )
    max_chars: int = Field(
        default=280, ge=40, le=5_000, description="Length of a summary; shorter texts stay whole"
    )
    max_text_chars: int = Field(
        default=20_000, ge=100, le=1_000_000, description="Characters after which a text is cut"
    )
    endpoint: SummaryEndpoint | None = Field(
        default=None,
        description="Endpoint that writes the summaries; off by default: sentences of the text",
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
    attributes: AttributeContent | None = Field(
        default=None,
        description="Categories, lists of values and numbers: a list of columns, columns with a "
        "separator, or true for the category and all further columns of the items",
    )
    classify: dict[str, ClassifySpec] = Field(
        default_factory=dict,
        description="Columns, such as category, whose missing values are predicted from texts",
    )
    summary: SummarySpec | None = Field(
        default=None,
        description="Summaries of long texts: a list of columns, or columns with bounds",
    )

    @field_validator("text", "attributes", "summary", mode="before")
    @classmethod
    def _columns_alone(cls, value: Any) -> Any:
        if isinstance(value, str):
            return {"columns": (value,)}
        return {"columns": value} if isinstance(value, (list, tuple)) else value

    @field_validator("image", mode="before")
    @classmethod
    def _path_alone(cls, value: Any) -> Any:
        return {"path": value} if isinstance(value, str) else value

    @field_validator("classify", mode="before")
    @classmethod
    def _label_columns_alone(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {
            label: {"columns": columns} if isinstance(columns, (list, tuple)) else columns
            for label, columns in value.items()
        }

    @property
    def text_columns(self) -> dict[str, tuple[str, ...]]:
        """Columns read by each classifier and by the summaries, by the place in the YAML."""
        by_place = {f"classify.{label}": spec.columns for label, spec in self.classify.items()}
        return by_place | ({"summary": self.summary.columns} if self.summary else {})

    @property
    def modalities(self) -> dict[str, ModalityContent]:
        """The configured modalities by name."""
        by_name: dict[str, ModalityContent | None] = {
            "text": self.text,
            "image": self.image,
            "audio": self.audio,
            "attributes": self.attributes,
        }
        return {name: content for name, content in by_name.items() if content is not None}


class ItemTableSpec(TableSpec):
    """Source of the item catalogue, and what its items are made of."""

    # Excluded: the identity of a source must not depend on how its items are encoded.
    content: ContentSpec | None = Field(
        default=None,
        exclude=True,
        description="Texts, images, sounds and attributes of the items, to be encoded as vectors; "
        "optional",
    )

    @model_validator(mode="before")
    @classmethod
    def _all_attributes(cls, value: Any) -> Any:
        """Columns of ``attributes: true``: the category, and all further columns."""
        content = value.get("content") if isinstance(value, dict) else None
        if not isinstance(content, dict) or content.get("attributes") is not True:
            return value
        mapped_columns = {*value.get("columns", ()), *value.get("coalesce", ())}
        category = [c.CATEGORY] if c.CATEGORY in mapped_columns else []
        columns = [*category, *value.get("attributes", ()), *value.get("context", ())]
        return {**value, "content": {**content, "attributes": {"columns": columns}}}

    @model_validator(mode="after")
    def _content_columns_exist(self) -> Self:
        known_columns = {*self.columns, *self.coalesce, *self.join, *self.context, *self.attributes}
        if self.content is None:
            return self
        columns_by_place = {
            name: content.columns for name, content in self.content.modalities.items()
        } | self.content.text_columns
        unknown_columns = [
            f"content.{place}: {column!r}"
            for place, columns in columns_by_place.items()
            for column in columns
            if column not in known_columns
        ]
        if unknown_columns:
            raise ValueError(
                f"{', '.join(unknown_columns)} is no column of the items; "
                f"map it, or choose from {sorted(known_columns)}"
            )
        return self

    @model_validator(mode="after")
    def _labels_can_be_filled(self) -> Self:
        label_columns = {c.CATEGORY, *self.attributes}
        for label, classify_spec in (self.content.classify if self.content else {}).items():
            if label not in label_columns:
                raise ValueError(
                    f"content.classify.{label}: only category and attributes are predicted; "
                    f"choose from {sorted(label_columns)}"
                )
            if label in classify_spec.columns:
                raise ValueError(
                    f"content.classify.{label}: a column is not predicted from itself; "
                    f"leave {label!r} out of columns"
                )
        return self
