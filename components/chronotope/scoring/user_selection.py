"""Users to score: those with news since the last scoring of the same kind.

A row of the predictions table holds the key of its scoring and the digest of its user's events.
A user is up to date if both are as they would be now.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from chronotope.contracts import columns as c
from chronotope.contracts.data_version import EVENTS, DataVersion, TableVersion
from chronotope.contracts.errors import NotEnoughData
from chronotope.contracts.event_log import Int64
from chronotope.contracts.predictions import HISTORY_DIGEST, SCORING_KEY
from chronotope.contracts.user_buckets import user_buckets
from chronotope.datasets.values.users_file import read_users_file, unknown_users_error
from chronotope.inference.recommend import N_PLACES
from chronotope.lake import Lake
from chronotope.lake.row_conformance import key_hashes
from chronotope.registry.champion import Champion
from chronotope.scoring.config import ScoringConfig

_FORMAT = 1
"""Version of the rows' content; part of the key, so that old rows are scored again."""


@dataclass(frozen=True, slots=True)
class LogUsers:
    """All users of the log, of the lake and posted since.

    Attributes:
        ids: External ids, sorted.
        digests: Digest of each user's events, shape (n_users,).
    """

    ids: pa.StringArray
    digests: Int64

    @classmethod
    def read(
        cls,
        lake: Lake,
        version: TableVersion,
        live_users: frozenset[str],
        log_position: Callable[[str], int],
        is_excluded: Callable[[str], bool] = lambda _: False,
    ) -> Self:
        """Read the users and digest their events, bucket by bucket.

        Args:
            lake: The dataset's lake.
            version: Version of the events.
            live_users: Users with posted events that may be missing in the lake.
            log_position: Log position of the latest event of such a user.
            is_excluded: Whether a user has opted out or was erased: no predictions are stored.

        Raises:
            NotEnoughData: The log has no user.
        """
        live = pa.array([u for u in sorted(live_users) if not is_excluded(u)], pa.string())
        live_buckets = user_buckets(live, lake.n_buckets(version))
        parts = [
            _bucket_users(
                lake.bucket_rows(bucket, version),
                live.filter(pa.array(live_buckets == bucket)),
                is_excluded,
            )
            for bucket in range(lake.n_buckets(version))
        ]
        ids = pa.concat_arrays([part_ids for part_ids, _ in parts])
        if not len(ids):
            raise NotEnoughData(
                "The log has no user to score", way_out="Ingest events first: chronotope ingest"
            )
        order = pc.sort_indices(ids)
        ids = ids.take(order)
        digests = np.concatenate([part_digests for _, part_digests in parts])[order.to_numpy()]
        for user_id, row in zip(live.to_pylist(), positions(live, ids).tolist(), strict=True):
            digests[row] += np.uint64(log_position(user_id))
        return cls(ids, digests.view(np.int64))


def _bucket_users(
    rows: pads.Dataset, live: pa.StringArray, is_excluded: Callable[[str], bool]
) -> tuple[pa.StringArray, npt.NDArray[np.uint64]]:
    """Users of a bucket, those who only posted included, and the digests of their events."""
    batches = rows.to_batches(columns=[c.USER_ID])
    distinct = [pc.unique(batch.column(0)).cast(pa.string()) for batch in batches]
    ids = pc.unique(pa.chunked_array([*distinct, live], pa.string()))
    excluded_mask = [is_excluded(user_id) for user_id in ids.to_pylist()]
    if any(excluded_mask):
        ids = ids.filter(pc.invert(pa.array(excluded_mask)))
    digests = np.zeros(len(ids), np.uint64)
    for batch in rows.to_batches(columns=[c.USER_ID, c.EVENT_ID]):
        user_rows = positions(batch.column(0).cast(pa.string()), ids)
        is_listed = user_rows >= 0
        hashes = key_hashes(pa.chunked_array([batch.column(1)]))
        np.add.at(digests, user_rows[is_listed], hashes[is_listed])
    return ids, digests


@dataclass(frozen=True, slots=True)
class UserSelection:
    """Users of one scoring.

    Attributes:
        ids: Users to score, by bucket and id.
        digests: Digest of each one's events, shape (n_users,).
        bucket_users: Number of them in each bucket of the events.
        removed: Users of the present table who are not in the log any more.
        listed: Users of the users file that are in the log; None without a file.
        n_unchanged: Users without news.
        n_unknown: Ids of the users file that are not in the log.
    """

    ids: pa.StringArray
    digests: Int64
    bucket_users: tuple[int, ...]
    removed: pa.StringArray
    listed: pa.StringArray | None
    n_unchanged: int
    n_unknown: int


def select_users(
    log_users: LogUsers,
    present: pa.Table,
    scoring_key: str,
    config: ScoringConfig,
    stored_id: Callable[[str], str] = lambda user_id: user_id,
    n_buckets: int = 1,
) -> UserSelection:
    """Choose the users to score.

    Args:
        log_users: All users of the log.
        present: Result of ``lake.prediction_table.scored_users``.
        scoring_key: Key of this scoring.
        config: Users file, and whether users without news are scored as well.
        stored_id: Id under which a user of the file is stored.
        n_buckets: Number of buckets of the events.

    Raises:
        ConfigError: The users file cannot be used, or has ids that are not in the log.
    """
    ids, digests = log_users.ids, log_users.digests
    listed, n_unknown = None, 0
    if config.users_file is not None:
        listed, n_unknown = _listed_users(
            ids, config.users_file, stored_id, skip=config.skip_unknown
        )
        listed_rows = positions(listed, ids)
        ids, digests = listed, digests[listed_rows]
    has_news = np.ones(len(ids), np.bool_)
    if not config.rescore_all:
        has_news = ~_is_current(ids, digests, present, scoring_key)
    present_ids = present[c.USER_ID].combine_chunks()
    removed = present_ids.filter(pc.invert(pc.is_in(present_ids, value_set=log_users.ids)))
    ids, digests = ids.filter(pa.array(has_news)), digests[has_news]
    buckets = user_buckets(ids, n_buckets)
    order = np.argsort(buckets, kind="stable")
    return UserSelection(
        ids.take(pa.array(order)),
        digests[order],
        tuple(np.bincount(buckets, minlength=n_buckets).tolist()),
        removed,
        listed,
        int((~has_news).sum()),
        n_unknown,
    )


def scoring_key(champion: Champion, data_version: DataVersion, config: ScoringConfig) -> str:
    """Identity of a scoring: model, catalogue, context and settings, without the events.

    The moment counts if it was given: a user without news is up to date at any later moment, but
    not as of another one that was asked for.

    Args:
        champion: The model.
        data_version: Versions of the tables.
        config: Length and filter of the lists.
    """
    tables = [(name, version.identity) for name, version in data_version.tables if name != EVENTS]
    model = champion.model.manifest.serving_digest
    moment = None if config.scored_at is None else config.scored_at.timestamp()
    settings = [config.k, config.new_only, N_PLACES, moment]
    if config.tail_exposure:  # without it, earlier scorings stay up to date
        settings.append(config.tail_exposure)
    identity = [_FORMAT, champion.version, model, tables, settings]
    return hashlib.blake2b(json.dumps(identity).encode(), digest_size=8).hexdigest()


def positions(values: pa.Array, known: pa.Array) -> Int64:
    """Position of each value in ``known``, shape (n,); -1 where it is not there."""
    known_rows = pc.fill_null(pc.index_in(values, value_set=known), -1)
    return np.asarray(known_rows.to_numpy(zero_copy_only=False), np.int64)


def _is_current(
    ids: pa.StringArray, digests: Int64, present: pa.Table, key: str
) -> npt.NDArray[np.bool_]:
    """Whether the rows of each user are as they would be now, shape (n_users,)."""
    rows = positions(ids, present[c.USER_ID].combine_chunks())
    same_key = pc.equal(present[SCORING_KEY], key).to_numpy()
    stored_digests = present[HISTORY_DIGEST].to_numpy()
    is_current = np.zeros(len(ids), np.bool_)
    is_scored = rows >= 0
    scored_rows = rows[is_scored]
    same_digest = stored_digests[scored_rows] == digests[is_scored]
    is_current[is_scored] = same_key[scored_rows] & same_digest
    return is_current


def _listed_users(
    log_ids: pa.StringArray, users_file: Path, stored_id: Callable[[str], str], *, skip: bool
) -> tuple[pa.StringArray, int]:
    """Stored ids of the users file that are in the log, and the number of the others."""
    file_ids = read_users_file(users_file).user_ids
    wanted = pa.array([stored_id(user_id) for user_id in file_ids], pa.string())
    is_known = pc.is_in(wanted, value_set=log_ids)
    unknown = [
        user_id for user_id, known in zip(file_ids, is_known.to_pylist(), strict=True) if not known
    ]
    if unknown and not skip:
        raise unknown_users_error(unknown, frozenset(log_ids.to_pylist()), users_file)
    listed = wanted.filter(is_known)
    return listed.take(pc.sort_indices(listed)), len(unknown)
