"""Images that anybody may have put into the folder."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from chronotope.content.inputs.image_reading import (
    ContentRefused,
    decode_image,
    read_content_file,
)

SIZE = 32
MAX_PIXELS = 40_000_000


def encoded(image: Image.Image, file_format: str = "PNG", **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, file_format, **options)
    return content.getvalue()


def huge_png(width: int, height: int) -> bytes:
    """PNG whose header promises a size; its few pixels are compressed zeros."""

    def chunk(name: bytes, data: bytes) -> bytes:
        checksum = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\0" * 100_000)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "LA", "P", "1", "CMYK", "I;16"])
def test_every_kind_of_pixels_is_read(mode: str) -> None:
    file_format = "JPEG" if mode == "CMYK" else "PNG"
    image = Image.new(mode, (100, 60))
    pixels = decode_image(encoded(image, file_format), SIZE, MAX_PIXELS)
    assert pixels.shape == (SIZE, SIZE, 3)
    assert pixels.dtype == np.uint8


def test_the_middle_is_cut_out_and_transparent_is_white() -> None:
    image = Image.new("RGBA", (300, 100), (255, 0, 0, 255))
    image.paste((0, 0, 255, 255), (100, 0, 200, 100))
    assert (decode_image(encoded(image), SIZE, MAX_PIXELS)[16, 16] == [0, 0, 255]).all()
    transparent = Image.new("RGBA", (50, 50), (0, 0, 0, 0))
    assert (decode_image(encoded(transparent), SIZE, MAX_PIXELS) == 255).all()


def test_the_orientation_of_a_camera_is_followed() -> None:
    image = Image.new("RGB", (64, 64))
    image.paste((255, 255, 255), (0, 0, 64, 32))
    exif = Image.Exif()
    exif[0x0112] = 3  # turned by 180 degrees
    pixels = decode_image(encoded(image, "JPEG", exif=exif), SIZE, MAX_PIXELS)
    assert pixels[2].mean() < 20 < 235 < pixels[-3].mean()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"not an image", "not an image of a known format"),
        (b"\xff\xd8\xff", "not an image of a known format"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "not an image of a known format"),
        (encoded(Image.effect_noise((64, 64), 90), "JPEG")[:900], "damaged image"),
        (encoded(Image.effect_noise((64, 64), 90))[:-200], "damaged image"),
        (huge_png(100, 100)[:60], "damaged image"),
        (huge_png(10_001, 10_000), "image larger than 40,000,000 pixels"),
        (huge_png(2**31 - 1, 2**31 - 1), "image larger than 40,000,000 pixels"),
        (encoded(Image.new("1", (10_000, 10_000))), "image larger than 40,000,000 pixels"),
    ],
)
def test_what_cannot_be_an_image_has_a_reason(content: bytes, reason: str) -> None:
    with pytest.raises(ContentRefused) as refusal:
        decode_image(content, SIZE, MAX_PIXELS)
    assert refusal.value.problem == reason


def test_a_huge_size_within_the_bound_is_no_warning() -> None:
    content = encoded(Image.new("1", (10_000, 10_000)))  # above the bound of Pillow's warning
    assert decode_image(content, SIZE, 200_000_000).shape == (SIZE, SIZE, 3)


def test_files_that_are_none_have_a_reason(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    (tmp_path / "large").write_bytes(b"x" * 11)
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    reasons = {
        "empty": "file is empty",
        "large": "file larger than 10 bytes",
        "folder": "not a file",
        "pipe": "not a file",
        "absent": "file is missing",
        "a\0b": "file cannot be read: ValueError",
        "x" * 300: "file cannot be read: OSError",
    }
    for file_name, reason in reasons.items():
        with pytest.raises(ContentRefused) as refusal:
            read_content_file(tmp_path / file_name, 10)
        assert refusal.value.problem == reason
