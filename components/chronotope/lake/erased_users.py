"""Users that were erased from a lake, as keyed digests: their rows are not taken in again."""

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
from chronotope.lake.store import Lake
from chronotope.lake.table_schemas import DIGEST, DIGEST_KEY, ERASED_AT, ERASED_USERS


@dataclass(frozen=True, slots=True)
class ErasedUsers:
    """Digests of erased users.

    A digest tells only whether a given id was erased. Who holds the lake can still try ids one by
    one, so the table is as private as the lake.

    Attributes:
        key: Key of the digests, drawn at random for each lake.
        digests: HMAC-SHA-256 of the ids.
    """

    key: str
    digests: frozenset[str]

    def digest(self, user_id: str) -> str:
        """Digest of a user's id.

        Args:
            user_id: Id of the user.
        """
        return hmac.new(bytes.fromhex(self.key), user_id.encode(), hashlib.sha256).hexdigest()

    def mask(self, user_ids: pa.ChunkedArray) -> npt.NDArray[np.bool_]:
        """Whether each row is of an erased user, shape (n_rows,).

        Args:
            user_ids: Ids of the rows' users; a null is nobody.
        """
        encoded_ids = user_ids.dictionary_encode().combine_chunks()
        is_erased = np.array(
            [
                user_id is not None and self.digest(user_id) in self.digests
                for user_id in encoded_ids.dictionary.to_pylist()
            ],
            dtype=np.bool_,
        )
        idx = encoded_ids.indices.fill_null(-1).to_numpy(zero_copy_only=False)
        return np.asarray(np.append(is_erased, False)[idx], dtype=np.bool_)


def read_erased_users(lake: Lake) -> ErasedUsers | None:
    """The erased users of a lake; None if nobody was erased.

    Args:
        lake: Lake of the dataset.

    Raises:
        StoreError: The lake cannot be read.
    """
    if not lake.exists(ERASED_USERS):
        return None
    rows = lake.read(ERASED_USERS)
    digests = frozenset(rows.column(DIGEST).to_pylist())
    return ErasedUsers(rows.column(DIGEST_KEY)[0].as_py(), digests)


def record_erased_users(lake: Lake, user_ids: Sequence[str]) -> ErasedUsers:
    """Add users to the erased ones; nobody is added twice.

    Args:
        lake: Lake of the dataset.
        user_ids: Ids of the users.

    Raises:
        StoreError: The lake cannot be written.
    """
    known = read_erased_users(lake) or ErasedUsers(secrets.token_hex(32), frozenset())
    digests = [known.digest(user_id) for user_id in user_ids]
    n_rows = len(digests)
    lake.upsert_keyed(
        ERASED_USERS,
        pa.table(
            {
                DIGEST: pa.array(digests, pa.string()),
                DIGEST_KEY: pa.repeat(known.key, n_rows),
                ERASED_AT: pa.repeat(pa.scalar(datetime.now(UTC), INSTANT), n_rows),
            }
        ),
    )
    return ErasedUsers(known.key, known.digests | frozenset(digests))
