"""Entry of the audit trail, its signature, and the one form that its line may have."""

import hashlib
import hmac
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Final

ROTATION: Final = "rotate secret"
ADOPTION: Final = "adopt trail"
"""Action of an entry that binds lines of the trail of a root that was migrated."""


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

    def signed_by(self, entry_secret: bytes, previous_mac: str) -> "AuditEntry":
        """The entry with its signature.

        Args:
            entry_secret: Secret that ``secret_id`` names.
            previous_mac: Signature of the entry before; "" for the first.
        """
        return AuditEntry(**{**asdict(self), "mac": self._mac(entry_secret, previous_mac)})

    def line(self) -> bytes:
        """The one form of the entry, without a line break."""
        return _canonical(asdict(self))

    def _mac(self, entry_secret: bytes, previous_mac: str) -> str:
        """Signature over the one before and every field but the signature."""
        unsigned = {name: value for name, value in asdict(self).items() if name != "mac"}
        signed_text = previous_mac.encode() + b"\n" + _canonical(unsigned)
        return hmac.new(entry_secret, signed_text, hashlib.sha256).hexdigest()

    def has_signature(self, entry_secret: bytes, previous_mac: str) -> bool:
        """Whether the signature is that of the entry and all before it.

        Args:
            entry_secret: Secret that ``secret_id`` names.
            previous_mac: Signature of the entry before; "" for the first.
        """
        return hmac.compare_digest(self._mac(entry_secret, previous_mac), str(self.mac))


@dataclass(frozen=True, slots=True)
class TrailSnapshot:
    """Content of a trail at one moment.

    Attributes:
        lines: All lines, oldest first; the last may be torn by a kill.
        adopted: Lines of the trails of migrated roots, by the name of the trail.
        head: Number and signature of the last acknowledged entry; None if missing or damaged.
    """

    lines: list[bytes]
    adopted: dict[str, list[bytes]] = field(default_factory=dict)
    head: dict[str, Any] | None = None


def parse_entry(trail_line: bytes) -> AuditEntry:
    """Entry of a line, unverified.

    Args:
        trail_line: Line without its line break.

    Raises:
        ValueError: The line is no JSON.
        TypeError: It has other fields.
    """
    return AuditEntry(**json.loads(trail_line))


def line_problem(
    trail_line: bytes, number: int, previous_mac: str, by_id: dict[str, bytes], secret_id: str
) -> str:
    """What is wrong with a line; "" if nothing is.

    Args:
        trail_line: Line without its line break.
        number: Its number, from 1.
        previous_mac: Signature of the line before.
        by_id: Secrets by their ids.
        secret_id: Secret that has to sign it; "" for the first line.
    """
    try:
        entry = parse_entry(trail_line)
    except (ValueError, TypeError):
        return "is no entry"
    if entry.secret_id not in by_id:
        return f"its secret {entry.secret_id} is not in the file of the secrets"
    if secret_id and entry.secret_id != secret_id:
        return f"is signed by {entry.secret_id}, and not by {secret_id}"
    if not entry.has_signature(by_id[entry.secret_id], previous_mac) or trail_line != entry.line():
        return "was changed, or a line before it is missing"
    return "" if entry.seq == number else f"has the number {entry.seq}"


def _canonical(entry_content: dict[str, Any]) -> bytes:
    return json.dumps(
        entry_content, sort_keys=True, separators=(",", ":"), allow_nan=False
    ).encode()
