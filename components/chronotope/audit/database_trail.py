"""Lines of the audit trail in the state database, one chain for all roots.

An entry and the head are one transaction of the only writer, and the number of a line is the key
of its row: two writers cannot fork the chain. Triggers refuse changes of lines; who may drop
triggers can still change bytes, which the signatures show.
"""

import hashlib
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from chronotope.audit.audit_secrets import AuditSecrets, is_named_elsewhere, secrets_path
from chronotope.audit.file_trail import SECRETS
from chronotope.audit.trail_entry import AuditEntry, TrailSnapshot
from chronotope.contracts.errors import StoreError
from chronotope.contracts.strict_json import JsonObject
from chronotope.runtime.durable_files import checked_text, parse_checked
from chronotope.runtime.state import (
    StateConnection,
    open_existing,
    open_state,
    write_transaction,
)

_STORE: Final = "trail.db"
_HEAD, _SECRETS = "head", "secrets"
_LINE, _ADOPTED = 0, 1
"""Kinds of rows of a snapshot."""

_SNAPSHOT: Final = (
    "SELECT 0, '', seq, line FROM trail_lines "
    "UNION ALL SELECT 1, trail, seq, line FROM adopted_lines "
    "UNION ALL SELECT 2, name, 0, content FROM trail_documents WHERE name = 'head' "
    "ORDER BY 1, 2, 3"
)
_LAST: Final = "SELECT line FROM trail_lines ORDER BY seq DESC LIMIT 1"
_ADD: Final = "INSERT INTO trail_lines (seq, line) VALUES (?, ?)"
_ADD_ADOPTED: Final = "INSERT INTO adopted_lines (trail, seq, line) VALUES (?, ?, ?)"
_READ: Final = "SELECT content FROM trail_documents WHERE name = ?"
_REPLACE: Final = (
    "INSERT INTO trail_documents (name, content) VALUES (?, ?) "
    "ON CONFLICT (name) DO UPDATE SET content = excluded.content"
)


def _append_only(table_name: str) -> tuple[str, ...]:
    return (
        f"DROP TRIGGER IF EXISTS append_only ON {table_name}",
        f"CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table_name} "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()",
    )


_SCHEMA: Final = (
    "CREATE TABLE IF NOT EXISTS trail_lines (seq INTEGER PRIMARY KEY, line TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS adopted_lines "
    "(trail TEXT NOT NULL, seq INTEGER NOT NULL, line TEXT NOT NULL, PRIMARY KEY (trail, seq))",
    "CREATE TABLE IF NOT EXISTS trail_documents (name TEXT PRIMARY KEY, content TEXT NOT NULL)",
    "CREATE OR REPLACE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS "
    "'BEGIN RAISE EXCEPTION ''lines of the audit trail are never changed''; END'",
    *_append_only("trail_lines"),
    *_append_only("adopted_lines"),
)


class DatabaseTrail:
    """Trail of all roots that share a state database.

    Attributes:
        folder: Folder of the trail below this root; its name is that of the schema, and the file
            of the secrets is in it where the environment names none.
    """

    def __init__(self, folder: Path) -> None:
        """Name the trail; nothing is written before the first entry."""
        self.folder = folder
        self._writer: StateConnection | None = None

    def location(self) -> str:
        """Where the lines are, for messages."""
        return "the state database"

    def missing_part(self) -> str:
        """Name of a part of a written trail that is gone; "" if none is."""
        with self._reading() as connection:
            if connection is None:
                return ""
            has_lines = connection.execute(_LAST).fetchone() is not None
            if not has_lines:
                n_documents = connection.execute("SELECT 1 FROM trail_documents").fetchall()
                return "the first line is missing" if n_documents else ""
            if is_named_elsewhere():
                has_secrets = secrets_path(self.folder / SECRETS).is_file()
            else:
                has_secrets = _document(connection, _SECRETS) is not None
        return "" if has_secrets else "the file of the secrets is missing"

    def snapshot(self) -> TrailSnapshot:
        """Content at one moment, by one statement."""
        with self._reading() as connection:
            rows = [] if connection is None else connection.execute(_SNAPSHOT).fetchall()
        chain_lines: list[bytes] = []
        adopted: dict[str, list[bytes]] = {}
        head = None
        for kind, name, _, content in rows:
            if kind == _LINE:
                chain_lines.append(content.encode())
            elif kind == _ADOPTED:
                adopted.setdefault(name, []).append(content.encode())
            else:
                with suppress(StoreError):
                    head = self._parsed(content, "The head")
        return TrailSnapshot(chain_lines, adopted, head)

    def last_line(self) -> bytes:
        """The last line; empty in an empty trail."""
        with self._reading() as connection:
            row = None if connection is None else connection.execute(_LAST).fetchone()
        return b"" if row is None else row[0].encode()

    def secrets(self) -> AuditSecrets:
        """Secrets; the holder of ``writing`` makes the first one in an empty trail.

        Raises:
            StoreError: They are missing, damaged or cannot be written.
        """
        with self._reading() as connection:
            is_new = connection is None or connection.execute(_LAST).fetchone() is None
            content = None if connection is None else _document(connection, _SECRETS)
        if is_named_elsewhere():
            if not is_new and not secrets_path(self.folder / SECRETS).is_file():
                raise StoreError(
                    "The file of the audit secrets is missing",
                    received=secrets_path(self.folder / SECRETS),
                    way_out="Copy it from a machine that has signed entries",
                )
            return AuditSecrets.open(self.folder / SECRETS)
        if content is None and is_new and self._writer is not None:
            return self._store_secrets(AuditSecrets("", {}).with_new_secret())
        return AuditSecrets.of_content(self._parsed(content, "The audit secrets"), self.location())

    def rotate_secrets(self) -> AuditSecrets:
        """Add a secret that signs later entries; for the holder of ``writing``."""
        if is_named_elsewhere():
            return self.secrets().rotated(self.folder / SECRETS)
        return self._store_secrets(self.secrets().with_new_secret())

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Transaction of the only writer: committed at the end, or nothing of it is.

        Raises:
            StoreError: The server cannot be used.
        """
        with (
            closing(open_state(self.folder / _STORE, _SCHEMA)) as connection,
            write_transaction(connection),
        ):
            self._writer = connection
            try:
                yield
            finally:
                self._writer = None

    def add_entry(self, entry: AuditEntry) -> None:
        """Append a signed entry; visible with the commit of ``writing``."""
        writer = self._holder()
        writer.execute(_ADD, (entry.seq, entry.line().decode()))
        writer.execute(_REPLACE, (_HEAD, checked_text({"seq": entry.seq, "mac": entry.mac})))

    def add_adopted_lines(self, trail_name: str, first_seq: int, trail_lines: list[bytes]) -> None:
        """Store lines of the trail of a root; visible with the commit of ``writing``.

        Args:
            trail_name: Name of that trail.
            first_seq: Number of the first of the lines.
            trail_lines: The lines.
        """
        rows = [
            (trail_name, number, trail_line.decode())
            for number, trail_line in enumerate(trail_lines, first_seq)
        ]
        self._holder().executemany(_ADD_ADOPTED, rows)

    def _holder(self) -> StateConnection:
        assert self._writer is not None  # noqa: S101 - within `writing`
        return self._writer

    def _store_secrets(self, audit_secrets: AuditSecrets) -> AuditSecrets:
        self._holder().execute(_REPLACE, (_SECRETS, audit_secrets.text()))
        return audit_secrets

    def _parsed(self, content: str | None, subject: str) -> JsonObject:
        if content is None:
            raise StoreError(f"{subject} is missing", received=self.location())
        return parse_checked(
            content, Path(_STORE), subject=subject, way_out="Restore a backup of the database"
        )

    @contextmanager
    def _reading(self) -> Iterator[StateConnection | None]:
        """Connection of the writer, else one of its own; None where nothing was written."""
        if self._writer is not None:
            yield self._writer
            return
        connection = open_existing(self.folder / _STORE)
        if connection is None:
            yield None
            return
        with closing(connection):
            yield connection


def lines_digest(trail_lines: list[bytes]) -> str:
    """SHA-256 of lines, each with its line break.

    Args:
        trail_lines: The lines.
    """
    return hashlib.sha256(b"".join(line + b"\n" for line in trail_lines)).hexdigest()


def _document(connection: StateConnection, name: str) -> str | None:
    row = connection.execute(_READ, (name,)).fetchone()
    return None if row is None else str(row[0])
