"""Lists of users as keyed digests: those who were erased, and those who have opted out."""

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chronotope.contracts.schemas import INSTANT
from chronotope.lake.erase_rows import erase_rows, forget_versions, replace_rows
from chronotope.lake.store import Lake
from chronotope.lake.table_schemas import DIGEST, DIGEST_KEY, ERASED_AT
from chronotope.privacy import PseudonymKeys, is_pseudonym

_DIGEST_CHARS = 32  # of a pseudonym, at its end


@dataclass(frozen=True, slots=True)
class UserList:
    """Digests of users.

    A digest tells only whether a given id is in the list. In a lake without pseudonyms who holds
    the lake can try ids one by one, so the table is as private as the lake.

    Attributes:
        key: Key of the digests, drawn at random for each lake.
        digests: HMAC-SHA-256 of the ids; of a pseudonym, which is one already, its own digits.
    """

    key: str
    digests: frozenset[str]

    def __contains__(self, user_id: str) -> bool:
        """Whether a user is in the list."""
        return self.digest(user_id) in self.digests

    def digest(self, user_id: str) -> str:
        """Digest of a user's id.

        Args:
            user_id: Id of the user as it is stored.
        """
        if is_pseudonym(user_id):
            return user_id[-_DIGEST_CHARS:]
        return hmac.new(bytes.fromhex(self.key), user_id.encode(), hashlib.sha256).hexdigest()

    def mask(self, user_ids: pa.ChunkedArray | pa.Array) -> npt.NDArray[np.bool_]:
        """Whether each row is of a user in the list, shape (n_rows,).

        Args:
            user_ids: Ids of the rows' users; a null is nobody.
        """
        encoded_ids = user_ids.cast(pa.string()).dictionary_encode()
        if isinstance(encoded_ids, pa.ChunkedArray):
            encoded_ids = encoded_ids.combine_chunks()
        is_listed = np.array(
            [
                user_id is not None and user_id in self
                for user_id in encoded_ids.dictionary.to_pylist()
            ],
            dtype=np.bool_,
        )
        idx = encoded_ids.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return np.asarray(np.append(is_listed, False)[idx], dtype=np.bool_)


def read_user_list(lake: Lake, table_name: str) -> UserList | None:
    """A list of a lake; None if nobody was ever in it.

    Args:
        lake: Lake of the dataset.
        table_name: ``ERASED_USERS`` or ``OPTED_OUT_USERS``.

    Raises:
        StoreError: The lake cannot be read.
    """
    if not lake.exists(table_name):
        return None
    rows = lake.read(table_name)
    key = rows.column(DIGEST_KEY)[0].as_py() if len(rows) else secrets.token_hex(32)
    return UserList(key, frozenset(rows.column(DIGEST).to_pylist()))


def add_to_user_list(lake: Lake, table_name: str, user_ids: Sequence[str]) -> UserList:
    """Add users to a list; nobody is added twice.

    Args:
        lake: Lake of the dataset.
        table_name: ``ERASED_USERS`` or ``OPTED_OUT_USERS``.
        user_ids: Ids of the users as they are stored.

    Raises:
        StoreError: The lake cannot be written.
    """
    known = read_user_list(lake, table_name) or UserList(secrets.token_hex(32), frozenset())
    digests = [known.digest(user_id) for user_id in user_ids]
    n_rows = len(digests)
    lake.upsert_keyed(
        table_name,
        pa.table(
            {
                DIGEST: pa.array(digests, pa.string()),
                DIGEST_KEY: pa.repeat(known.key, n_rows),
                ERASED_AT: pa.repeat(pa.scalar(datetime.now(UTC), INSTANT), n_rows),
            }
        ),
    )
    return UserList(known.key, known.digests | frozenset(digests))


def remove_from_user_list(lake: Lake, table_name: str, user_ids: Sequence[str]) -> int:
    """Remove users from a list; returns how many were in it.

    Args:
        lake: Lake of the dataset.
        table_name: ``OPTED_OUT_USERS``.
        user_ids: Ids of the users as they are stored.

    Raises:
        StoreError: The lake cannot be written.
    """
    known = read_user_list(lake, table_name)
    if known is None:
        return 0
    digests = [known.digest(user_id) for user_id in user_ids if user_id in known]
    return erase_rows(lake, table_name, DIGEST, digests) if digests else 0


def rotate_user_list(lake: Lake, table_name: str, keys: PseudonymKeys) -> int:
    """Bring the digests of a list to the newest key; returns their number.

    The fingerprint of the key becomes the key of the list, so that a rotation that was killed
    does not count a digest as one of the key before again.

    Args:
        lake: Lake of the dataset.
        table_name: ``ERASED_USERS`` or ``OPTED_OUT_USERS``.
        keys: Keys of the pseudonyms, of which the last one is new.

    Raises:
        StoreError: The lake cannot be written.
    """
    if not lake.exists(table_name):
        return 0
    old_fingerprint, new_fingerprint = keys.fingerprints[-2:]

    def convert(rows: pa.Table) -> pa.Table:
        digests = [
            digest
            if key == new_fingerprint
            else keys.pseudonym(f"pn-{old_fingerprint}-{digest}")[-_DIGEST_CHARS:]
            for digest, key in zip(
                rows[DIGEST].to_pylist(), rows[DIGEST_KEY].to_pylist(), strict=True
            )
        ]
        columns = {
            DIGEST: pa.array(digests, pa.string()),
            DIGEST_KEY: pa.repeat(new_fingerprint, len(rows)),
            ERASED_AT: rows[ERASED_AT],
        }
        return pa.table(columns)

    n_rows = replace_rows(lake, table_name, convert)
    forget_versions(lake, table_name)
    return n_rows
