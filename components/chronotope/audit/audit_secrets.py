"""Secrets of the audit trail: one is current, the earlier ones verify what they signed."""

import hashlib
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from chronotope.contracts.errors import StoreError
from chronotope.runtime.durable_files import read_json, write_json
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
        try:
            by_id = {str(key): bytes.fromhex(str(text)) for key, text in content["secrets"].items()}
            current = str(content["current"])
            by_id[current]
        except (KeyError, AttributeError, ValueError) as error:
            raise StoreError(
                "The file of the audit secrets is damaged", received=path, way_out=_WAY_OUT
            ) from error
        return cls(current, by_id)

    def rotated(self, default_path: Path) -> Self:
        """The same secrets and a new current one, written to the file.

        Args:
            default_path: The file unless the environment names another.
        """
        secret = secrets.token_bytes(_N_BYTES)
        secret_id = f"{len(self.by_id) + 1}-{fingerprint(secret)[:12]}"
        by_id = {**self.by_id, secret_id: secret}
        path = secrets_path(default_path)
        private_folder(path.parent)
        write_json(
            path,
            {"current": secret_id, "secrets": {key: value.hex() for key, value in by_id.items()}},
        )
        restrict_to_owner(path)
        return type(self)(secret_id, by_id)


def secrets_path(default_path: Path) -> Path:
    """File of the secrets: that of the environment, else the default.

    Args:
        default_path: File beside the trail.
    """
    return Path(os.environ.get(SECRETS_FILE) or default_path)


def fingerprint(secret: bytes) -> str:
    """Digest that names a secret without telling it."""
    return hashlib.sha256(b"chronotope audit secret" + secret).hexdigest()
