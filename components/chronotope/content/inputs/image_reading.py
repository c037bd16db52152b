"""Reading of image files that anybody may have made: bounded, with a reason for each refusal."""

import io
import stat
import warnings
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from chronotope.contracts.errors import SourceError

Pixels = npt.NDArray[np.uint8]

_FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP")


class ContentRefused(SourceError):  # noqa: N818 - named after the condition
    """Content of one item that cannot be encoded; the item lacks this modality."""


def read_content_file(file_path: Path, max_bytes: int) -> bytes:
    """Content of a regular file within a bound.

    Args:
        file_path: The file.
        max_bytes: Size above which it is refused.

    Raises:
        ContentRefused: It is missing, empty, too large or unreadable.
    """
    try:
        file_stat = file_path.stat()
        if not stat.S_ISREG(file_stat.st_mode):
            raise ContentRefused("not a file")
        if file_stat.st_size > max_bytes:
            raise ContentRefused(f"file larger than {max_bytes:,} bytes")
        file_content = file_path.read_bytes()
    except FileNotFoundError as error:
        raise ContentRefused("file is missing") from error
    except (OSError, ValueError) as error:  # a ValueError: a null character in the name
        raise ContentRefused(f"file cannot be read: {type(error).__name__}") from error
    if not file_content:
        raise ContentRefused("file is empty")
    return file_content


def decode_image(file_content: bytes, output_size: int, max_pixels: int) -> Pixels:
    """Pixels of an image, its shorter side scaled to ``size`` and its middle cut out.

    The header is checked before a pixel is decoded, so that a small file cannot fill the memory.
    Of an animation the first frame is read; transparent parts are white.

    Args:
        file_content: Content of a JPEG, PNG, WebP, GIF or BMP file.
        output_size: Width and height of the result.
        max_pixels: Width times height above which it is refused.

    Returns:
        RGB values, shape (size, size, 3).

    Raises:
        ContentRefused: It is no image, damaged, or too large.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a size above Pillow's own bound is checked below
            with Image.open(io.BytesIO(file_content), formats=_FORMATS) as source_image:
                _require_size(source_image.width * source_image.height, max_pixels)
                source_image.draft(
                    "RGB", (2 * output_size, 2 * output_size)
                )  # JPEG: decodes to a smaller size
                rgb_image = _on_white(ImageOps.exif_transpose(source_image))
                cut_image = ImageOps.fit(
                    rgb_image, (output_size, output_size), Image.Resampling.BICUBIC
                )
    except ContentRefused:
        raise
    except Image.DecompressionBombError as error:
        raise ContentRefused(f"image larger than {max_pixels:,} pixels") from error
    except UnidentifiedImageError as error:
        raise ContentRefused("not an image of a known format") from error
    except Exception as error:  # decoders of damaged files raise anything, struct.error included
        raise ContentRefused("damaged image") from error
    return np.asarray(cut_image, dtype=np.uint8)


def _require_size(n_pixels: int, max_pixels: int) -> None:
    if n_pixels > max_pixels:
        raise ContentRefused(f"image larger than {max_pixels:,} pixels")


def _on_white(source_image: "Image.Image") -> "Image.Image":  # type: ignore[name-defined]  # noqa: F821
    """RGB image; transparent parts become white."""
    from PIL import Image

    if source_image.mode.startswith("I;16") or source_image.mode == "I":  # 16 bits a pixel
        return Image.fromarray(
            (np.asarray(source_image) >> 8).clip(0, 255).astype(np.uint8)
        ).convert("RGB")
    if "A" not in source_image.getbands() and "transparency" not in source_image.info:
        return source_image.convert("RGB")
    rgba_image = source_image.convert("RGBA")
    white_background = Image.new("RGBA", rgba_image.size, "white")
    return Image.alpha_composite(white_background, rgba_image).convert("RGB")
