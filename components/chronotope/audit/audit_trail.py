"""Hash-chained, append-only lines of decisions, one JSON object a line.

    mac_n = HMAC-SHA256(secret, mac_(n-1) || entry n)

Any changed, removed, added or moved byte breaks the chain at its line. The head is the last entry
that was acknowledged, so a shortened trail is found as well. Who can write both and read the
secrets can forge a trail: keep the secrets elsewhere, and note the head now and then. No entry
holds the id of a user. The lines are in a file below the root, or in the state database, where all
roots share one chain.
"""

import getpass
import os
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Protocol

from chronotope.audit.audit_secrets import AuditSecrets
from chronotope.audit.database_trail import DatabaseTrail, lines_digest
from chronotope.audit.file_trail import HEAD, FileTrail
from chronotope.audit.trail_entry import (
    ADOPTION,
    ROTATION,
    AuditEntry,
    TrailSnapshot,
    line_problem,
    parse_entry,
)
from chronotope.contracts.errors import StoreError
from chronotope.runtime.store_urls import state_url

ACTOR: Final = "CHRONOTOPE_ACTOR"
"""Variable that names who acts; by default the account of the process."""


@dataclass(frozen=True, slots=True)
class TrailCheck:
    """Result of a verification.

    Attributes:
        n_entries: Entries whose signatures hold, before the first problem.
        head: Signature of the last of them; note it elsewhere to find a trail that was replaced.
        problem: First problem; "" if there is none.
        n_adopted: Entries of trails of migrated roots that entries of this one bind.
    """

    n_entries: int
    head: str
    problem: str
    n_adopted: int = 0


class TrailLines(Protocol):
    """Where the lines of a trail are: ``FileTrail`` or ``DatabaseTrail``."""

    def location(self) -> str:
        """Where the lines are, for messages."""

    def missing_part(self) -> str:
        """Name of a part of a written trail that is gone; "" if none is."""

    def snapshot(self) -> TrailSnapshot:
        """Content at one moment."""

    def last_line(self) -> bytes:
        """The last line; empty in an empty trail."""

    def secrets(self) -> AuditSecrets:
        """Secrets that sign and verify."""

    def rotate_secrets(self) -> AuditSecrets:
        """Add a secret that signs later entries."""

    def writing(self) -> AbstractContextManager[None]:
        """Exclusive right to append."""

    def add_entry(self, entry: AuditEntry) -> None:
        """Append a signed entry."""


class AuditTrail:
    """Trail of one installation; threads, processes and machines may append at once.

    Attributes:
        folder: Folder of the trail; with ``CHRONOTOPE_STATE_URL``, its name is that of a schema.
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
        trail_lines = open_lines(self.folder)
        with trail_lines.writing():
            for entry in _known_entries(trail_lines) if once_key else ():
                if entry.once_key == once_key:
                    return entry
            return append_entry(trail_lines, action, dataset, detail, once_key=once_key)

    def rotate_secret(self) -> AuditEntry:
        """Sign later entries with a new secret; the old one signs the id of the new one.

        Raises:
            StoreError: The trail or its secrets cannot be read or written.
        """
        trail_lines = open_lines(self.folder)
        with trail_lines.writing():
            rotated = trail_lines.rotate_secrets()
            # the entry decides which secret is current: a kill before it leaves one unused
            return append_entry(trail_lines, ROTATION, "", {"to": rotated.current})

    def entries(self) -> list[AuditEntry]:
        """All entries of this trail, oldest first, unverified.

        Raises:
            StoreError: A line is no entry.
        """
        trail_lines = open_lines(self.folder)
        return [_parsed(trail_lines, line) for line in trail_lines.snapshot().lines]

    def adopted_entries(self) -> list[AuditEntry]:
        """Entries of the trails of migrated roots, oldest first, unverified.

        Raises:
            StoreError: A line is no entry.
        """
        trail_lines = open_lines(self.folder)
        adopted = trail_lines.snapshot().adopted.values()
        entries = [_parsed(trail_lines, line) for lines in adopted for line in lines]
        return sorted(entries, key=lambda entry: entry.occurred_at)

    def verify(self) -> TrailCheck:
        """Verify every line, and that none is missing at the end.

        Raises:
            StoreError: The secrets are missing or damaged.
        """
        return verify_lines(open_lines(self.folder))


def open_lines(folder: Path) -> TrailLines:
    """Lines in the state database if the environment names one, else in the folder's file.

    Args:
        folder: Folder of the trail.
    """
    return DatabaseTrail(folder) if state_url() else FileTrail(folder)


def verify_lines(trail_lines: TrailLines) -> TrailCheck:
    """Verify every line, those of adopted trails, and that none is missing at the end.

    Args:
        trail_lines: The lines.

    Raises:
        StoreError: The secrets are missing or damaged.
    """
    missing_part, trail_content = trail_lines.missing_part(), trail_lines.snapshot()
    adopted = trail_content.adopted
    if missing_part or not trail_content.lines:
        return TrailCheck(0, "", missing_part or ("its lines are missing" if adopted else ""))
    by_id = trail_lines.secrets().by_id
    entries: list[AuditEntry] = []
    head = secret_id = ""
    for number, trail_line in enumerate(trail_content.lines, 1):
        problem_text = line_problem(trail_line, number, head, by_id, secret_id)
        if problem_text:
            return TrailCheck(len(entries), head, f"line {number}: {problem_text}")
        entries.append(parse_entry(trail_line))
        head, secret_id = entries[-1].mac, entries[-1].next_secret_id
    problem_text = _adoption_problem(entries, adopted) or _head_problem(entries, trail_content.head)
    return TrailCheck(len(entries), head, problem_text, sum(map(len, adopted.values())))


def append_entry(
    trail_lines: TrailLines, action: str, dataset: str, detail: dict[str, Any], once_key: str = ""
) -> AuditEntry:
    """Sign and append an entry, for the holder of ``writing``.

    Args:
        trail_lines: The lines.
        action: What was done.
        dataset: Dataset; "" if it concerns all.
        detail: Versions, reason and counts; no ids of users.
        once_key: Key of an act that is recorded once.

    Raises:
        StoreError: The last line is no entry, or the secret that has to sign is missing.
    """
    audit_secrets, last_line = trail_lines.secrets(), trail_lines.last_line()
    last = _parsed(trail_lines, last_line) if last_line else None
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
            way_out="Copy the file of the audit secrets from the machine that made it",
        )
    signed = unsigned.signed_by(entry_secret, "" if last is None else last.mac)
    trail_lines.add_entry(signed)
    return signed


def _known_entries(trail_lines: TrailLines) -> list[AuditEntry]:
    trail_content = trail_lines.snapshot()
    adopted = [line for lines in trail_content.adopted.values() for line in lines]
    return [_parsed(trail_lines, line) for line in (*adopted, *trail_content.lines)]


def _adoption_problem(entries: list[AuditEntry], adopted: dict[str, list[bytes]]) -> str:
    """Whether lines of an adopted trail differ from what an entry signs; "" if not."""
    n_bound = dict.fromkeys(adopted, 0)
    for entry in entries:
        if entry.action != ADOPTION:
            continue
        trail_name, first, last = (entry.detail[name] for name in ("trail", "first", "last"))
        bound_lines = adopted.get(trail_name, [])[first - 1 : last]
        if lines_digest(bound_lines) != entry.detail["sha256"]:
            return f"lines {first} to {last} of the adopted trail {trail_name} were changed"
        n_bound[trail_name] = last
    for trail_name, trail_lines in adopted.items():
        if len(trail_lines) != n_bound[trail_name]:
            return f"no entry signs line {n_bound[trail_name] + 1} of the trail {trail_name}"
    return ""


def _head_problem(entries: list[AuditEntry], named_head: dict[str, Any] | None) -> str:
    """Whether the acknowledged last entry is missing or another; "" if not."""
    if named_head is None or not {"seq", "mac"} <= set(named_head):
        return f"{HEAD} is missing or damaged"
    seq, mac = named_head["seq"], named_head["mac"]
    if len(named_head) > 2 or not isinstance(seq, int):
        return f"{HEAD} is damaged"
    if seq > len(entries):
        return f"entries {len(entries) + 1} to {seq} are missing"
    if seq < 1 or entries[seq - 1].mac != mac:
        return f"entry {seq} is not the one that {HEAD} names"
    return ""


def _parsed(trail_lines: TrailLines, trail_line: bytes) -> AuditEntry:
    """Entry of a line.

    Raises:
        StoreError: The line is no entry.
    """
    try:
        return parse_entry(trail_line)
    except (ValueError, TypeError) as error:
        raise StoreError(
            "The audit trail is damaged",
            received=f"{trail_lines.location()}: {error}",
            way_out="`chronotope audit verify` names the first line that was changed",
        ) from error
