"""Keyed pseudonyms of users, and event ids that follow a change of the key.

A pseudonym of the first key is HMAC-SHA-256 of the user's id; that of each later key is
HMAC-SHA-256 of the pseudonym before. So a rotation needs no ids, stored rows follow it, and without
the newest key nobody can tell whose a pseudonym is, not even by trying all ids.

A pseudonym names its key by eight digits of a fingerprint. Text in this form passes unchanged, and
one of an earlier key is brought to the newest: rows that are read twice stay what they are.
"""

import hashlib
import hmac
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Self

import pyarrow as pa

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.ids import xor_with_digests
from chronotope.privacy.settings import PseudonymSettings

MIN_KEY_CHARS: Final = 32
"""Characters of a key; a hexadecimal one of 32 has 128 bits."""

_FORM: Final = re.compile(r"pn-([0-9a-f]{8})-([0-9a-f]{32})", re.ASCII)
_FINGERPRINT_OF: Final = b"chronotope pseudonym key"
_NEW_KEY: Final = "`chronotope pseudonyms new-key`"


@dataclass(frozen=True, slots=True)
class PseudonymKeys:
    """Keys of the pseudonyms of a dataset, oldest first.

    Attributes:
        keys: The keys; they are in no message and no representation.
        fingerprints: Eight hexadecimal digits for each key.
    """

    keys: tuple[bytes, ...] = field(repr=False)
    fingerprints: tuple[str, ...]

    @classmethod
    def of(cls, keys: Sequence[bytes]) -> Self:
        """Keys with their fingerprints.

        Args:
            keys: Oldest first.
        """
        return cls(
            tuple(keys),
            tuple(hmac.new(key, _FINGERPRINT_OF, hashlib.sha256).hexdigest()[:8] for key in keys),
        )

    def pseudonym(self, user_id: str) -> str:
        """Pseudonym of a user by the newest key.

        Args:
            user_id: Id of the user, or a pseudonym by one of the keys.

        Example:
            >>> keys = PseudonymKeys.of([b"k" * 32])
            >>> ann = keys.pseudonym("ann")
            >>> ann == keys.pseudonym(ann), len(ann), is_pseudonym(ann)
            (True, 44, True)
        """
        match = _FORM.fullmatch(user_id)
        n_applied = 0
        if match is not None and match[1] in self.fingerprints:
            n_applied = self.fingerprints.index(match[1]) + 1
        for key, fingerprint in zip(
            self.keys[n_applied:], self.fingerprints[n_applied:], strict=True
        ):
            digest = hmac.new(key, user_id.encode(), hashlib.sha256).hexdigest()[:32]
            user_id = f"pn-{fingerprint}-{digest}"
        return user_id

    def is_current(self, user_id: str) -> bool:
        """Whether a text is a pseudonym by the newest key.

        Args:
            user_id: The text.
        """
        match = _FORM.fullmatch(user_id)
        return match is not None and match[1] == self.fingerprints[-1]

    def pseudonyms(self, user_ids: pa.Array | pa.ChunkedArray) -> pa.Array:
        """Pseudonym of each row; a null stays a null.

        Args:
            user_ids: Ids as text; each distinct one is computed once.
        """
        if isinstance(user_ids, pa.ChunkedArray):
            user_ids = user_ids.combine_chunks()
        encoded_ids = user_ids.cast(pa.string()).dictionary_encode()
        pseudonyms = [self.pseudonym(user_id) for user_id in encoded_ids.dictionary.to_pylist()]
        return pa.array(pseudonyms, pa.string()).take(encoded_ids.indices)


def is_pseudonym(user_id: str) -> bool:
    """Whether a text has the form of a pseudonym.

    Args:
        user_id: The text.
    """
    return _FORM.fullmatch(user_id) is not None


def read_keys(settings: PseudonymSettings, dataset: str) -> PseudonymKeys:
    """Keys of a dataset's pseudonyms from the environment.

    Args:
        settings: Name of the variable.
        dataset: Name of the dataset, for the message.

    Raises:
        ConfigError: The variable is not set, or a key is too short or stands twice.
    """
    key_texts = [text.strip() for text in os.environ.get(settings.variable, "").split(",")]
    key_texts = [text for text in key_texts if text]
    if not key_texts:
        block_hint = (
            f", or store it in the Prefect Secret block {settings.block}" if settings.block else ""
        )
        raise ConfigError(
            f"The key of the pseudonyms of {dataset} is missing",
            received=f"no environment variable {settings.variable}",
            way_out=f"Set it to the key that the lake was made with{block_hint}; a new one: "
            f"{_NEW_KEY}",
        )
    if any(len(text) < MIN_KEY_CHARS for text in key_texts):
        raise ConfigError(
            f"A key of the pseudonyms of {dataset} is too short",
            received=f"{min(map(len, key_texts))} characters in {settings.variable}",
            way_out=f"A key has {MIN_KEY_CHARS} characters or more; a new one: {_NEW_KEY}",
        )
    if len(set(key_texts)) < len(key_texts):
        raise ConfigError(
            f"A key of the pseudonyms of {dataset} stands twice in {settings.variable}",
            way_out="Write each key once, the oldest first",
        )
    return PseudonymKeys.of([text.encode() for text in key_texts])


def rotated_event_ids(
    event_ids: pa.StringArray, old_ids: pa.StringArray, new_ids: pa.StringArray
) -> pa.StringArray:
    """Event ids of the same rows after their users have got other pseudonyms.

    Args:
        event_ids: Ids of ``contracts.ids.xor_with_digests`` over the old pseudonyms.
        old_ids: Pseudonym of each row's user before.
        new_ids: Pseudonym of each row's user now.
    """
    return xor_with_digests(xor_with_digests(event_ids, old_ids), new_ids)
