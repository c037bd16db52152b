"""Content of items as inputs of an encoder: read, bounded, with a digest or a reason."""

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from chronotope.content.encoders.attribute_encoder import (
    ItemAttributes,
    attributes_from_json,
    attributes_to_json,
    item_attributes,
)
from chronotope.content.graphs.efficientnet import IMAGE_SIZE
from chronotope.content.inputs.audio_reading import SAMPLE_RATE, decode_wav
from chronotope.content.inputs.image_reading import ContentRefused, decode_image, read_content_file
from chronotope.content.inputs.text_cleaning import clean_text
from chronotope.datasets.content_spec import (
    AttributeContent,
    AudioContent,
    FileContent,
    ImageContent,
    ModalityContent,
    TextContent,
)

Row = Mapping[str, object]
"""Values of one item by column."""


@dataclass(frozen=True, slots=True)
class ItemInput:
    """Input of one item.

    Attributes:
        digest: Digest of the content and of the bounds it was read with.
        raw: Text, or content of the file; None if there is none.
        reason: Why there is none; "" if there is.
    """

    digest: str
    raw: str | bytes | None
    reason: str = ""


class InputReader(Protocol):
    """Reading of one modality."""

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of the items that it reads."""

    def read(self, row: Row) -> ItemInput:
        """Input of one item, not yet decoded.

        Args:
            row: Values of ``columns``.
        """

    def decode(self, raw: Any) -> Any:
        """Content as the encoder reads it.

        Raises:
            ContentRefused: It is damaged or too large.
        """


@dataclass(frozen=True, slots=True)
class TextReader:
    """Texts of the items, cleaned."""

    content: TextContent

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that hold text."""
        return self.content.columns

    def read(self, row: Row) -> ItemInput:
        """Cleaned text of one item: its columns, a line each."""
        max_chars = self.content.max_chars
        parts = [
            clean_text(str(row[column]), max_chars)
            for column in self.columns
            if row[column] is not None
        ]
        text = "\n".join(part for part in parts if part)[:max_chars]
        return ItemInput(_digest(text), text) if text else _refused("text is empty")

    def decode(self, raw: str) -> str:
        """The text itself."""
        return raw


@dataclass(frozen=True, slots=True)
class AttributeReader:
    """Attributes of the items."""

    content: AttributeContent

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns of names and numbers."""
        return self.content.columns

    def read(self, row: Row) -> ItemInput:
        """Values of one item as JSON."""
        attributes = item_attributes(row, self.columns, self.content.separator)
        if not attributes:
            return _refused("no attribute is given")
        attributes_json = attributes_to_json(attributes)
        return ItemInput(_digest(attributes_json), attributes_json)

    def decode(self, raw: str) -> ItemAttributes:
        """The values by column."""
        return attributes_from_json(raw)


@dataclass(frozen=True, slots=True)
class _FileReader:
    """Files of the items below a folder."""

    content: FileContent
    data_dir: Path

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that the path names."""
        return self.content.columns

    def read(self, row: Row) -> ItemInput:
        """Content of one item's file."""
        if any(row[column] is None for column in self.columns):
            return _refused("path is empty")
        relative_path = self.content.relative_path({name: str(row[name]) for name in self.columns})
        file_path = Path(os.path.normpath(self.data_dir / relative_path))
        if not file_path.is_relative_to(os.path.normpath(self.data_dir)):
            return _refused("path leads out of data_dir")
        try:
            file_content = read_content_file(file_path, self.content.max_bytes)
        except ContentRefused as refusal:
            return _refused(refusal.problem)
        return ItemInput(_digest(file_content, self.content.model_dump_json()), file_content)


class ImageReader(_FileReader):
    """Images of the items."""

    content: ImageContent

    def decode(self, raw: bytes) -> Any:
        """Pixels, shape (224, 224, 3)."""
        return decode_image(raw, IMAGE_SIZE, self.content.max_pixels)


class AudioReader(_FileReader):
    """Sounds of the items."""

    content: AudioContent

    def decode(self, raw: bytes) -> Any:
        """Mono samples at 16 kHz."""
        return decode_wav(raw, int(self.content.max_seconds * SAMPLE_RATE))


def input_reader(content: ModalityContent, data_dir: Path) -> InputReader:
    """Reader of a modality.

    Args:
        content: Its configuration.
        data_dir: Folder of the files.
    """
    if isinstance(content, TextContent):
        return TextReader(content)
    if isinstance(content, AttributeContent):
        return AttributeReader(content)
    if isinstance(content, ImageContent):
        return ImageReader(content, data_dir)
    return AudioReader(content, data_dir)


def _refused(reason: str) -> ItemInput:
    return ItemInput(_digest(reason, "refused"), None, reason)


def _digest(content: str | bytes, bounds: str = "") -> str:
    raw_content = content.encode("utf-8", "surrogatepass") if isinstance(content, str) else content
    return hashlib.blake2b(raw_content, digest_size=16, key=_key(bounds)).hexdigest()


def _key(bounds: str) -> bytes:
    return hashlib.blake2b(bounds.encode(), digest_size=16).digest()
