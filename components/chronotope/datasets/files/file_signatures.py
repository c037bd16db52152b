"""Formats of files by their first bytes, whatever their names say."""

from typing import Final

from chronotope.contracts.errors import SourceError

HEAD_BYTES: Final = 4_096
"""Number of bytes of a file that tell its format."""

COMPRESSION_SIGNATURES: Final = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"PK\x03\x04": "zip",
    b"PK\x05\x06": "zip",
}
"""Compression by the first bytes of a file."""

_FORMAT_SIGNATURES: Final = {
    b"PAR1": ("a Parquet file", "Set format: parquet"),
    b"%PDF-": ("a PDF document", "Export the log as CSV"),
    b"SQLite format 3\x00": (
        "an SQLite database",
        "Set format: sql, with url: sqlite:///PATH and query",
    ),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": (
        "an Excel workbook of the old kind (.xls), or another Office file",
        "Save it as CSV or .xlsx",
    ),
    b"\x89PNG\r\n": ("a PNG image", "Set path to the log"),
    b"\xff\xd8\xff": ("a JPEG image", "Set path to the log"),
    b"GIF8": ("a GIF image", "Set path to the log"),
    b"RIFF": ("a RIFF media file", "Set path to the log"),
    b"ARROW1": ("an Arrow (Feather) file", "Store it as Parquet, and set format: parquet"),
    b"FEA1": ("a Feather file", "Store it as Parquet, and set format: parquet"),
    b"ORC": ("an ORC file", "Store it as Parquet, and set format: parquet"),
    b"Obj\x01": ("an Avro file", "Store it as Parquet, and set format: parquet"),
    b"\x89HDF\r\n": ("an HDF5 file", "Store the log as Parquet or CSV"),
    b"\x93NUMPY": ("a NumPy array", "Store the log as Parquet or CSV"),
    b"\x80\x04\x95": ("a Python pickle", "Store the log as Parquet or CSV"),
    b"\x80\x05\x95": ("a Python pickle", "Store the log as Parquet or CSV"),
    b"Rar!": ("a RAR archive", "Unpack it, and set path to the log"),
    b"7z\xbc\xaf\x27\x1c": ("a 7-Zip archive", "Unpack it, and set path to the log"),
    b"\x7fELF": ("a program", "Set path to the log"),
}
_TAR_POSITION: Final = 257


def require_text(head: bytes, file_label: object, format_name: str) -> None:
    """Refuse a file whose first bytes are those of another format.

    Args:
        head: First bytes of the file, decompressed.
        file_label: Name of the file for the message.
        format_name: The format that the dataset's YAML declares: csv or json.

    Raises:
        SourceError: The message names the format of the file.
    """
    recognised = _other_format(head, format_name)
    if recognised is not None:
        description, way_out = recognised
        raise SourceError(
            f"{file_label} is {description}, not {format_name}",
            received=repr(head[:24])[1:],
            way_out=f"{way_out}, or correct path in the dataset's YAML",
        )


def describe_binary(head: bytes) -> str | None:
    """Name of the binary or markup format that begins like this; None if it may be text."""
    recognised = _other_format(head, "")
    compression = compression_name(head)
    return recognised[0] if recognised else compression and f"a {compression} archive"


def compression_name(head: bytes) -> str | None:
    """Compression of a file by its first bytes; None if it is not compressed."""
    return next(
        (
            name
            for signature, name in COMPRESSION_SIGNATURES.items()
            if head.startswith(signature) and not (name == "bz2" and not _is_bz2(head))
        ),
        None,
    )


def _is_bz2(head: bytes) -> bool:
    """Whether ``BZh`` begins a bzip2 stream and not a text."""
    return head[3:4].isdigit() and head[4:10] in (b"1AY&SY", b"\x17rE8P\x90")


def _other_format(head: bytes, format_name: str) -> tuple[str, str] | None:
    for signature, recognised in _FORMAT_SIGNATURES.items():
        is_ascii_word = signature.isalnum()  # as ORC is, with which a header may begin
        if head.startswith(signature) and (not is_ascii_word or b"\x00" in head):
            return recognised
    if head[_TAR_POSITION : _TAR_POSITION + 5] == b"ustar":
        return "a tar archive", "Unpack it, and set path to the log"
    first_text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if first_text.startswith((b"<!doctype html", b"<html")):
        return "an HTML page", "Download the file itself, not a page about it (a login page?)"
    if first_text.startswith(b"<?xml"):
        return "an XML document", "Export the log as CSV, JSON Lines or Parquet"
    if format_name == "csv" and first_text.startswith((b'{"', b"[{", b"[\n", b"{\n")):
        return "JSON", "Set format: json"
    return None
