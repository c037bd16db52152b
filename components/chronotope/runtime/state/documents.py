"""Small texts that are replaced as a whole: files below the root, or rows in Postgres."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from chronotope.contracts.strict_json import JsonObject
from chronotope.runtime.durable_files import (
    checked_text,
    parse_checked,
    read_json,
    replacing,
    write_new_text,
    write_text,
)
from chronotope.runtime.private_files import private_folder
from chronotope.runtime.state.postgres import PostgresConnection, schema_name
from chronotope.runtime.store_urls import state_url

_TABLE: Final = (
    "CREATE TABLE IF NOT EXISTS documents (name TEXT PRIMARY KEY, content TEXT NOT NULL)"
)
_READ: Final = "SELECT content FROM documents WHERE name = ?"
_ADD: Final = "INSERT INTO documents (name, content) VALUES (?, ?) ON CONFLICT (name) DO NOTHING"
_REPLACE: Final = (
    "INSERT INTO documents (name, content) VALUES (?, ?) "
    "ON CONFLICT (name) DO UPDATE SET content = excluded.content"
)
_DELETE: Final = "DELETE FROM documents WHERE name = ?"
_NAME_PARTS: Final = 3
"""Folders and name that name a document below any root, as ``feedback/shop/watermark.json``."""


def read_document(file_path: Path) -> str | None:
    """Content of a document; None where there is none.

    Args:
        file_path: The file; with ``CHRONOTOPE_STATE_URL``, its last three parts are its name.

    Raises:
        OSError: The file cannot be read.
        UnicodeDecodeError: The file is no text.
        StoreError: The server cannot be used.
    """
    if not state_url():
        return file_path.read_text(encoding="utf-8") if file_path.exists() else None
    with _open_documents() as documents_connection:
        document_row = documents_connection.execute(_READ, (_document_name(file_path),)).fetchone()
    return None if document_row is None else str(document_row[0])


def read_checked_document(file_path: Path, *, subject: str, way_out: str) -> JsonObject | None:
    """JSON object of ``write_checked_document``; None where there is none.

    Args:
        file_path: The file, or name of the document.
        subject: Name of its role for errors.
        way_out: Advice for the error message if it is damaged.

    Raises:
        StoreError: It cannot be read, is no JSON object, or differs from its checksum.
    """
    if not state_url():
        if not file_path.exists():
            return None
        return read_json(file_path, subject=subject, way_out=way_out)
    content_text = read_document(file_path)
    if content_text is None:
        return None
    return parse_checked(content_text, file_path, subject=subject, way_out=way_out)


def document_exists(file_path: Path) -> bool:
    """Whether there is a document.

    Args:
        file_path: The file, or name of the document.
    """
    return read_document(file_path) is not None if state_url() else file_path.exists()


def write_document(file_path: Path, content_text: str) -> None:
    """Replace a document as a whole; it is on the disk on return.

    Args:
        file_path: The file, or name of the document.
        content_text: The new content.

    Raises:
        OSError: The file cannot be written.
        StoreError: The server cannot be used.
    """
    if state_url():
        with _open_documents() as documents_connection:
            documents_connection.execute(_REPLACE, (_document_name(file_path), content_text))
        return
    write_text(file_path, content_text)


def write_checked_document(file_path: Path, json_content: dict[str, Any]) -> None:
    """Replace a JSON object and its checksum as a whole; on the disk on return.

    Args:
        file_path: The file, or name of the document.
        json_content: Object with values that JSON can represent.

    Raises:
        OSError: The file cannot be written.
        StoreError: The server cannot be used.
    """
    write_document(file_path, checked_text(json_content))


def write_new_document(file_path: Path, content_text: str) -> None:
    """Write a document that must not exist.

    Args:
        file_path: The file, or name of the document.
        content_text: Its content.

    Raises:
        FileExistsError: There is one.
        OSError: The file cannot be written.
        StoreError: The server cannot be used.
    """
    if not state_url():
        private_folder(file_path.parent)
        write_new_text(file_path, content_text)
        return
    with _open_documents() as documents_connection:
        if not documents_connection.execute(
            _ADD, (_document_name(file_path), content_text)
        ).rowcount:
            raise FileExistsError(_document_name(file_path))


def read_binary_document(file_path: Path) -> bytes | None:
    """Content of ``write_binary_document``; None where there is none.

    Args:
        file_path: The file, or name of the document.

    Raises:
        OSError: The file cannot be read.
        StoreError: The server cannot be used.
    """
    if not state_url():
        return file_path.read_bytes() if file_path.exists() else None
    content_text = read_document(file_path)
    return None if content_text is None else base64.b64decode(content_text)


def write_binary_document(file_path: Path, content: bytes) -> None:
    """Replace a document of bytes as a whole; base64 in Postgres.

    Args:
        file_path: The file, or name of the document.
        content: The new content; some megabytes.

    Raises:
        OSError: The file cannot be written.
        StoreError: The server cannot be used.
    """
    if state_url():
        write_document(file_path, base64.b64encode(content).decode())
        return
    with replacing(file_path) as draft_path:
        draft_path.write_bytes(content)


def delete_document(file_path: Path) -> None:
    """Delete a document if there is one.

    Args:
        file_path: The file, or name of the document.
    """
    if not state_url():
        file_path.unlink(missing_ok=True)
        return
    with _open_documents() as documents_connection:
        documents_connection.execute(_DELETE, (_document_name(file_path),))


def document_names(folder_path: Path, suffix: str) -> list[str]:
    """Names of the documents of a folder, sorted.

    Args:
        folder_path: The folder; with ``CHRONOTOPE_STATE_URL``, its last two parts name it.
        suffix: End of the names, such as ``.json``.
    """
    if not state_url():
        return sorted(path.name for path in folder_path.glob(f"*{suffix}"))
    folder_prefix = f"{_document_name(folder_path / 'any').removesuffix('any')}"
    with _open_documents() as documents_connection:
        name_rows = documents_connection.execute(
            "SELECT name FROM documents ORDER BY name"
        ).fetchall()
    return [
        name.removeprefix(folder_prefix)
        for (name,) in name_rows
        if name.startswith(folder_prefix) and name.endswith(suffix)
    ]


@contextmanager
def _open_documents() -> Iterator[PostgresConnection]:
    documents_connection = PostgresConnection(state_url(), schema_name("documents"))
    try:
        documents_connection.prepare_schema((_TABLE,))
        yield documents_connection
    finally:
        documents_connection.close()


def _document_name(file_path: Path) -> str:
    return "/".join(file_path.parts[-_NAME_PARTS:])
