"""Lines of the audit trail in a file, its head and its secrets beside it."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Final

from chronotope.audit.audit_secrets import AuditSecrets, secrets_path
from chronotope.audit.trail_entry import AuditEntry, TrailSnapshot
from chronotope.contracts.errors import StoreError
from chronotope.runtime.durable_files import read_json, write_json
from chronotope.runtime.private_files import private_folder, restrict_to_owner
from chronotope.runtime.store_urls import STATE_URL

TRAIL: Final = "trail.jsonl"
HEAD: Final = "head.json"
SECRETS: Final = "secrets.json"
MIGRATED: Final = ".migrated"
"""Suffix of a trail whose lines are in the state database."""

_MAX_ENTRY_BYTES: Final = 2**20


class FileTrail:
    """Trail below one root; the lock dies with its holder.

    Attributes:
        folder: Folder of the trail.
    """

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is written before the first entry."""
        self.folder = folder
        self._file: IO[bytes] | None = None

    def location(self) -> str:
        """Where the lines are, for messages."""
        return str(self.folder / TRAIL)

    def missing_part(self) -> str:
        """Name of a part of a written trail that is gone; "" if none is."""
        if not (self.folder / TRAIL).is_file():
            was_written = any((self.folder / name).exists() for name in (HEAD, SECRETS))
            return f"{TRAIL} is missing" if was_written else ""
        if not secrets_path(self.folder / SECRETS).is_file():  # opening it would make a new one
            return "the file of the secrets is missing"
        return ""

    def snapshot(self) -> TrailSnapshot:
        """Content of the file; the head is read first, so that it never names a later line."""
        path = self.folder / TRAIL
        try:
            head = dict(read_json(self.folder / HEAD, subject="The head", way_out=""))
        except StoreError:
            head = None
        *trail_lines, torn = path.read_bytes().split(b"\n") if path.is_file() else [b""]
        return TrailSnapshot([*trail_lines, torn] if torn else trail_lines, head=head)

    def last_line(self) -> bytes:
        """The last line; empty in an empty trail. Only the end of the file is read."""
        with (self.folder / TRAIL).open("rb") as trail_file:
            size = trail_file.seek(0, os.SEEK_END)
            trail_file.seek(max(0, size - _MAX_ENTRY_BYTES))
            return trail_file.read().rstrip(b"\n").split(b"\n")[-1]

    def secrets(self) -> AuditSecrets:
        """Secrets; the first one is made if there is none.

        Raises:
            StoreError: They are damaged or cannot be written.
        """
        return AuditSecrets.open(self.folder / SECRETS)

    def rotate_secrets(self) -> AuditSecrets:
        """Add a secret that signs later entries; for the holder of ``writing``."""
        return self.secrets().rotated(self.folder / SECRETS)

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Exclusive right to append.

        Raises:
            StoreError: The trail cannot be written, or was migrated.
        """
        path = self.folder / TRAIL
        try:
            private_folder(self.folder)
            with path.open("ab") as trail_file:
                restrict_to_owner(path)
                fcntl.flock(trail_file, fcntl.LOCK_EX)
                self._require_unmigrated(trail_file)
                self._cut_torn_line(trail_file)
                self._file = trail_file
                try:
                    yield
                finally:
                    self._file = None
        except OSError as error:
            raise StoreError(
                "The audit trail cannot be written",
                received=f"{path}: {error}",
                way_out="Check free disk space, and that its folder is writable",
            ) from error

    def add_entry(self, entry: AuditEntry) -> None:
        """Append a signed entry; on the disk on return. For the holder of ``writing``."""
        assert self._file is not None  # noqa: S101 - within `writing`
        os.write(self._file.fileno(), entry.line() + b"\n")
        os.fsync(self._file.fileno())
        write_json(self.folder / HEAD, {"seq": entry.seq, "mac": entry.mac})

    def close_migrated(self) -> None:
        """Rename the file, so that a forgotten writer is refused. For the holder of ``writing``."""
        (self.folder / TRAIL).rename(self.folder / (TRAIL + MIGRATED))

    def _require_unmigrated(self, trail_file: IO[bytes]) -> None:
        path = self.folder / TRAIL
        if not (self.folder / (TRAIL + MIGRATED)).exists():
            return
        if os.fstat(trail_file.fileno()).st_size == 0:  # opening it has made it
            path.unlink(missing_ok=True)
        raise StoreError(
            "The audit trail was migrated to the state database",
            received=path,
            way_out=f"Set {STATE_URL} to that database",
        )

    def _cut_torn_line(self, trail_file: IO[bytes]) -> None:
        """Remove the start of a line whose writer was killed: it was never acknowledged."""
        file_content = (self.folder / TRAIL).read_bytes()
        if file_content and not file_content.endswith(b"\n"):
            os.ftruncate(trail_file.fileno(), file_content.rfind(b"\n") + 1)
