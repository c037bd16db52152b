"""Rows that are not stored: of users who were erased or opted out, and those past retention."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from chronotope.contracts import columns as c
from chronotope.contracts.errors import StoreError
from chronotope.datasets.values.id_texts import id_texts
from chronotope.lake import Lake
from chronotope.lake.privacy import LakePrivacy, UserList, read_privacy, read_user_list
from chronotope.lake.table_schemas import ERASED_USERS, OPTED_OUT_USERS
from chronotope.privacy import is_pseudonym

ERASED_USER: Final = "erased user"
OPTED_OUT: Final = "opted out"
PAST_RETENTION: Final = "past retention"
"""Names among the filters of rows that are dropped."""


@dataclass(frozen=True, slots=True)
class ExcludedRows:
    """Filter of the rows of a delivery.

    Attributes:
        privacy: Privacy settings of the lake.
        user_lists: Users whose rows are dropped, by the name of the filter.
        first_time: Earliest time that is kept; None keeps all.
    """

    privacy: LakePrivacy
    user_lists: dict[str, UserList]
    first_time: datetime | None

    @classmethod
    def of_lake(cls, lake: Lake) -> Self:
        """Filter by the lists and the settings of a lake.

        Args:
            lake: Lake of the dataset.

        Raises:
            StoreError: The lake cannot be read.
        """
        privacy = read_privacy(lake)
        user_lists = {
            filter_name: user_list
            for filter_name, table_name in (
                (ERASED_USER, ERASED_USERS),
                (OPTED_OUT, OPTED_OUT_USERS),
            )
            if (user_list := read_user_list(lake, table_name)) is not None
        }
        return cls(privacy, user_lists, retention_start(privacy.settings.retain_days))

    def filter_events(self, good_rows: pa.Table) -> tuple[pa.Table, dict[str, int]]:
        """Rows that are stored, and the number of the others by filter.

        Args:
            good_rows: Valid rows of events.

        Raises:
            StoreError: The lake has pseudonyms, and the rows have other ids.
        """
        if not len(good_rows):
            return good_rows, {}
        self._require_pseudonyms(good_rows[c.USER_ID])
        dropped = {}
        for filter_name, user_list in self.user_lists.items():
            is_listed = user_list.mask(good_rows[c.USER_ID])
            dropped[filter_name] = int(is_listed.sum())
            good_rows = good_rows.filter(pa.array(~is_listed))
        if self.first_time is not None:
            is_kept = pc.greater_equal(good_rows[c.OCCURRED_AT], pa.scalar(self.first_time))
            dropped[PAST_RETENTION] = len(good_rows) - (pc.sum(is_kept).as_py() or 0)
            good_rows = good_rows.filter(is_kept)
        return good_rows, {name: n_rows for name, n_rows in dropped.items() if n_rows}

    def filter_users(self, user_rows: pa.Table) -> pa.Table:
        """Rows of the users table that are stored; the others are not even counted.

        Args:
            user_rows: Rows of users.

        Raises:
            StoreError: The lake has pseudonyms, and the rows have other ids.
        """
        self._require_pseudonyms(user_rows[c.USER_ID])
        for user_list in self.user_lists.values():
            user_rows = user_rows.filter(pa.array(~user_list.mask(user_rows[c.USER_ID])))
        return user_rows

    def filter_refused(
        self, refused_rows: pa.Table, raw_rows: pa.Table
    ) -> tuple[pa.Table, dict[str, int]]:
        """Refused rows that go to quarantine, and the number of the others by filter.

        Args:
            refused_rows: ``row``, the position in ``raw_rows``, and reasons.
            raw_rows: Rows as they would be stored.
        """
        if not self.user_lists or not len(refused_rows) or c.USER_ID not in raw_rows.column_names:
            return refused_rows, {}
        dropped = {}
        for filter_name, user_list in self.user_lists.items():
            raw_ids = raw_rows[c.USER_ID].take(refused_rows["row"]).combine_chunks()
            if pa.types.is_dictionary(raw_ids.type):
                raw_ids = raw_ids.dictionary_decode()
            is_listed = user_list.mask(id_texts(raw_ids).texts)
            dropped[filter_name] = int(is_listed.sum())
            refused_rows = refused_rows.filter(pa.array(~is_listed))
        return refused_rows, {name: n_rows for name, n_rows in dropped.items() if n_rows}

    def _require_pseudonyms(self, user_ids: pa.ChunkedArray) -> None:
        """Refuse to write ids into a lake of pseudonyms, whoever calls."""
        if not self.privacy.fingerprints:
            return
        fingerprint = self.privacy.fingerprints[-1]
        distinct_ids = np.array(pc.unique(user_ids).drop_null().to_pylist(), dtype=object)
        if not all(is_pseudonym(text) and text[3:11] == fingerprint for text in distinct_ids):
            raise StoreError(
                "The lake holds pseudonyms by its newest key, and these rows have other ids",
                received=f"{len(distinct_ids):,} users",
                way_out="Ingest through the dataset's YAML, with privacy.pseudonyms and the keys "
                "of the lake",
            )


def retention_start(retain_days: float | None) -> datetime | None:
    """Earliest time of rows that are kept now; None keeps all.

    Args:
        retain_days: Days for which rows are kept; None for good.
    """
    return None if retain_days is None else datetime.now(UTC) - timedelta(days=retain_days)
