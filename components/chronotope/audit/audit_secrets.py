"""Secrets of the audit trail: one is current, the earlier ones verify what they signed."""

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from chronotope.contracts.errors import StoreError
from chronotope.runtime.durable_files import checked_text, read_json, write_text
from chronotope.runtime.private_files import private_folder, restrict_to_owner

SECRETS_FILE: Final = "CHRONOTOPE_AUDIT_SECRETS"
"""Variable with the path of the secrets' file, best on another disk than the trail."""

_N_BYTES: Final = 32
_WAY_OUT: Final = "Restore the file from a copy; without it the trail cannot be verified"


@dataclass(frozen=True, slots=True)
class AuditSecrets:
    """Secrets by their ids.

    Attributes:
        current: Id of the secret that signs new entries.
        by_id: Secrets.
    """

    current: str
    by_id: dict[str, bytes]

    @classmethod
    def open(cls, default_path: Path) -> Self:
        """Read the file of the secrets; the first secret is made if there is no file.

        Args:
            default_path: The file unless the environment names another.

        Raises:
            StoreError: The file is damaged or cannot be written.
        """
        path = secrets_path(default_path)
        if not path.is_file():
            return cls("", {}).rotated(default_path)
        content = read_json(path, subject="The file of the audit secrets", way_out=_WAY_OUT)
        return cls.of_content(content, path)

    @classmethod
    def of_content(cls, content: dict[str, Any], source: object) -> Self:
        """Secrets of a JSON object of ``text``.

        Args:
            content: The object.
            source: Where it was read, for messages.

        Raises:
            StoreError: The object is damaged.
        """
        try:
            by_id = {str(key): bytes.fromhex(str(text)) for key, text in content["secrets"].items()}
            current = str(content["current"])
            by_id[current]
        except (KeyError, AttributeError, ValueError) as error:
            raise StoreError(
                "The file of the audit secrets is damaged", received=source, way_out=_WAY_OUT
            ) from error
        return cls(current, by_id)

    def rotated(self, default_path: Path) -> Self:
        """The same secrets and a new current one, written to the file.

        Args:
            default_path: The file unless the environment names another.
        """
        rotated_secrets, path = self.with_new_secret(), secrets_path(default_path)
        private_folder(path.parent)
        write_text(path, rotated_secrets.text())
        restrict_to_owner(path)
        return rotated_secrets

    def with_new_secret(self) -> Self:
        """The same secrets and a new current one; nothing is written."""
        secret = secrets.token_bytes(_N_BYTES)
        secret_id = f"{len(self.by_id) + 1}-{fingerprint(secret)[:12]}"
        return type(self)(secret_id, {**self.by_id, secret_id: secret})

    def text(self) -> str:
        """JSON object of the secrets with its checksum; ``of_content`` reads the object."""
        by_id = {key: value.hex() for key, value in self.by_id.items()}
        return checked_text({"current": self.current, "secrets": by_id})


def secrets_path(default_path: Path) -> Path:
    """File of the secrets: that of the environment, else the default.

    Args:
        default_path: File beside the trail.
    """
    return Path(os.environ.get(SECRETS_FILE) or default_path)


def is_named_elsewhere() -> bool:
    """Whether the environment names the file of the secrets."""
    return bool(os.environ.get(SECRETS_FILE))


def fingerprint(secret: bytes) -> str:
    """Digest that names a secret without telling it."""
    return hashlib.sha256(b"chronotope audit secret" + secret).hexdigest()
