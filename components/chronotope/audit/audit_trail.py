"""Hash-chained, append-only file of decisions, one JSON object a line.

    mac_n = HMAC-SHA256(secret, mac_(n-1) || entry n)

Any changed, removed, added or moved byte breaks the chain at its line. ``head.json`` holds the last
entry that was acknowledged, so a shortened trail is found as well. Who can write both files and
read the secrets can forge a trail: keep the secrets elsewhere, and note the head now and then.
No entry holds the id of a user.
"""

import fcntl
import getpass
import hashlib
import hmac
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from chronotope.audit.audit_secrets import AuditSecrets, secrets_path
from chronotope.contracts.errors import StoreError
from chronotope.runtime.durable_files import read_json, write_json
from chronotope.runtime.private_files import private_folder, restrict_to_owner

TRAIL: Final = "trail.jsonl"
HEAD: Final = "head.json"
SECRETS: Final = "secrets.json"
ACTOR: Final = "CHRONOTOPE_ACTOR"
"""Variable that names who acts; by default the account of the process."""

ROTATION: Final = "rotate secret"

_MAX_ENTRY_BYTES: Final = 2**20


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One decision.

    Attributes:
        seq: Number of the entry, from 1.
        occurred_at: Moment, ISO 8601, UTC.
        actor: Who acted.
        action: What was done, such as ``promote``.
        dataset: Dataset; "" if it concerns all.
        detail: Versions, reason and counts.
        once_key: Key of an act that is recorded once; "" without one.
        secret_id: Secret that signed the entry.
        mac: Signature of this entry and all before it, hexadecimal.
    """

    seq: int
    occurred_at: str
    actor: str
    action: str
    dataset: str
    detail: dict[str, Any] = field(default_factory=dict)
    once_key: str = ""
    secret_id: str = ""
    mac: str = ""

    @property
    def next_secret_id(self) -> str:
        """Secret that signs the entry after this one."""
        return str(self.detail.get("to")) if self.action == ROTATION else self.secret_id

    def signed_text(self) -> bytes:
        """What is signed: every field but the signature, in one form."""
        entry_content = {name: value for name, value in asdict(self).items() if name != "mac"}
        return _canonical(entry_content)


@dataclass(frozen=True, slots=True)
class TrailCheck:
    """Result of a verification.

    Attributes:
        n_entries: Entries whose signatures hold, before the first problem.
        head: Signature of the last of them; note it elsewhere to find a trail that was replaced.
        problem: First problem; "" if there is none.
    """

    n_entries: int
    head: str
    problem: str


class AuditTrail:
    """Trail of one installation; threads and processes may append at once.

    Attributes:
        folder: Folder of the trail.
    """

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is written before the first entry."""
        self.folder = folder

    def append(
        self,
        action: str,
        dataset: str,
        detail: dict[str, Any],
        *,
        once_key: str = "",
    ) -> AuditEntry:
        """Append an entry; it is on the disk on return.

        Args:
            action: What was done.
            dataset: Dataset; "" if it concerns all.
            detail: Versions, reason and counts; no ids of users.
            once_key: A second entry with this key is not written; the first is returned.

        Raises:
            StoreError: The trail or its secrets cannot be read or written.
        """
        with self._locked() as trail_file:
            return self._append(trail_file.fileno(), action, dataset, detail, once_key)

    def rotate_secret(self) -> AuditEntry:
        """Sign later entries with a new secret; the old one signs the id of the new one.

        Raises:
            StoreError: The trail or its secrets cannot be read or written.
        """
        with self._locked() as trail_file:
            rotated = AuditSecrets.open(self.folder / SECRETS).rotated(self.folder / SECRETS)
            # the entry decides which secret is current: a kill before it leaves one unused
            detail = {"to": rotated.current}
            return self._append(trail_file.fileno(), ROTATION, "", detail, "")

    def entries(self) -> list[AuditEntry]:
        """All entries, oldest first, unverified.

        Raises:
            StoreError: A line is no entry.
        """
        trail_lines = self._lines()
        try:
            return [AuditEntry(**json.loads(trail_line)) for trail_line in trail_lines]
        except (ValueError, TypeError) as error:
            raise self._damaged(error) from error

    def verify(self) -> TrailCheck:
        """Verify every line, and that none is missing at the end.

        Raises:
            StoreError: The secrets are missing or damaged.
        """
        if not (self.folder / TRAIL).is_file():
            was_written = any((self.folder / name).exists() for name in (HEAD, SECRETS))
            return TrailCheck(0, "", f"{TRAIL} is missing" if was_written else "")
        if not secrets_path(self.folder / SECRETS).is_file():  # opening it would make a new one
            return TrailCheck(0, "", "the file of the secrets is missing")
        by_id = AuditSecrets.open(self.folder / SECRETS).by_id
        head, n_verified, secret_id = "", 0, ""
        for number, trail_line in enumerate(self._lines(keep_torn=True), 1):
            problem_text = _line_problem(trail_line, number, head, by_id, secret_id)
            if problem_text:
                return TrailCheck(n_verified, head, f"line {number}: {problem_text}")
            entry = AuditEntry(**json.loads(trail_line))
            head, n_verified, secret_id = entry.mac, number, entry.next_secret_id
        return TrailCheck(n_verified, head, self._head_problem(n_verified))

    def _head_problem(self, n_verified: int) -> str:
        """Whether the acknowledged last entry is missing or another; "" if not."""
        try:
            entry_content = read_json(self.folder / HEAD, subject="The head", way_out="")
            seq, mac = (entry_content.pop(name) for name in ("seq", "mac"))
        except (StoreError, KeyError):
            return f"{HEAD} is missing or damaged"
        if entry_content or not isinstance(seq, int):
            return f"{HEAD} is damaged"
        if seq > n_verified:
            return f"entries {n_verified + 1} to {seq} are missing"
        trail_lines = self._lines()
        if seq < 1 or json.loads(trail_lines[seq - 1])["mac"] != mac:
            return f"entry {seq} is not the one that {HEAD} names"
        return ""

    def _append(
        self, descriptor: int, action: str, dataset: str, detail: dict[str, Any], once_key: str
    ) -> AuditEntry:
        for entry in self.entries() if once_key else ():
            if entry.once_key == once_key:
                return entry
        self._cut_torn_line(descriptor)
        audit_secrets, last = AuditSecrets.open(self.folder / SECRETS), self._last_entry()
        unsigned = AuditEntry(
            seq=1 if last is None else last.seq + 1,
            occurred_at=datetime.now(UTC).isoformat(),
            actor=os.environ.get(ACTOR) or getpass.getuser(),
            action=action,
            dataset=dataset,
            detail=detail,
            once_key=once_key,
            secret_id=audit_secrets.current if last is None else last.next_secret_id,
        )
        entry_secret = audit_secrets.by_id.get(unsigned.secret_id)
        if entry_secret is None:
            raise StoreError(
                "The secret of the audit trail is missing",
                received=unsigned.secret_id,
                way_out="Restore the file of the audit secrets from a copy",
            )
        mac = _mac(entry_secret, "" if last is None else last.mac, unsigned.signed_text())
        signed = AuditEntry(**{**asdict(unsigned), "mac": mac})
        os.write(descriptor, _canonical(asdict(signed)) + b"\n")
        os.fsync(descriptor)
        write_json(self.folder / HEAD, {"seq": signed.seq, "mac": mac})
        return signed

    def _last_entry(self) -> AuditEntry | None:
        """The last entry; None in an empty trail. Only the end of the file is read."""
        with (self.folder / TRAIL).open("rb") as trail_file:
            size = trail_file.seek(0, os.SEEK_END)
            trail_file.seek(max(0, size - _MAX_ENTRY_BYTES))
            trail_lines = trail_file.read().rstrip(b"\n").split(b"\n")
        try:
            return AuditEntry(**json.loads(trail_lines[-1])) if trail_lines[-1] else None
        except (ValueError, TypeError) as error:
            raise self._damaged(error) from error

    def _damaged(self, error: Exception) -> StoreError:
        return StoreError(
            "The audit trail is damaged",
            received=f"{self.folder / TRAIL}: {error}",
            way_out="`chronotope audit verify` names the first line that was changed",
        )

    def _cut_torn_line(self, descriptor: int) -> None:
        """Remove the start of a line whose writer was killed: it was never acknowledged."""
        entry_content = (self.folder / TRAIL).read_bytes()
        if entry_content and not entry_content.endswith(b"\n"):
            os.ftruncate(descriptor, entry_content.rfind(b"\n") + 1)

    def _lines(self, *, keep_torn: bool = False) -> list[bytes]:
        path = self.folder / TRAIL
        if not path.is_file():
            return []
        *trail_lines, torn = path.read_bytes().split(b"\n")
        return [*trail_lines, torn] if torn and keep_torn else trail_lines

    @contextmanager
    def _locked(self) -> Iterator[Any]:
        """The file, opened for appending, under a lock that dies with its holder."""
        path = self.folder / TRAIL
        try:
            private_folder(self.folder)
            with path.open("ab") as trail_file:
                restrict_to_owner(path)
                fcntl.flock(trail_file, fcntl.LOCK_EX)
                yield trail_file
        except OSError as error:
            raise StoreError(
                "The audit trail cannot be written",
                received=f"{path}: {error}",
                way_out="Check free disk space, and that its folder is writable",
            ) from error


def _line_problem(
    trail_line: bytes, number: int, previous: str, by_id: dict[str, bytes], secret_id: str
) -> str:
    """What is wrong with a line; "" if nothing is."""
    try:
        entry = AuditEntry(**json.loads(trail_line))
    except (ValueError, TypeError):
        return "is no entry"
    if entry.secret_id not in by_id:
        return f"its secret {entry.secret_id} is not in the file of the secrets"
    if secret_id and entry.secret_id != secret_id:
        return f"is signed by {entry.secret_id}, and not by {secret_id}"
    mac = _mac(by_id[entry.secret_id], previous, entry.signed_text())
    if not hmac.compare_digest(mac, str(entry.mac)) or trail_line != _canonical(asdict(entry)):
        return "was changed, or a line before it is missing"
    return "" if entry.seq == number else f"has the number {entry.seq}"


def _mac(entry_secret: bytes, previous: str, entry_content: bytes) -> str:
    return hmac.new(
        entry_secret, previous.encode() + b"\n" + entry_content, hashlib.sha256
    ).hexdigest()


def _canonical(entry_content: dict[str, Any]) -> bytes:
    return json.dumps(
        entry_content, sort_keys=True, separators=(",", ":"), allow_nan=False
    ).encode()
