"""What a training may read of a lake: no events of users who have opted out, no private columns."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.contracts.data_version import TableVersion
from chronotope.ingestion.noise import (
    COLUMNS,
    Mask,
    NoiseConfig,
    NoiseReport,
    filter_noise,
    is_among,
)
from chronotope.lake import Lake
from chronotope.lake.privacy import UserList, read_user_list
from chronotope.lake.table_schemas import OPTED_OUT_USERS
from chronotope.privacy import PrivacySettings


@dataclass(frozen=True, slots=True)
class EventSelection:
    """Events of a feature snapshot.

    Attributes:
        keep_mask: Whether each event is in it, shape (n_events,); None if all are.
        noise: What the noise filter left out.
        snapshot_key: Part of the key of the snapshot; empty while nobody has opted out.
    """

    keep_mask: Mask | None
    noise: NoiseReport
    snapshot_key: str


def select_events(
    lake: Lake, version: TableVersion, noise_config: NoiseConfig, anomalous_ids: Sequence[str]
) -> EventSelection:
    """Events that are neither noise nor labelled, of users who have not opted out.

    Args:
        lake: Lake of the dataset, with the list.
        version: Version of the events.
        noise_config: Thresholds of the noise filter.
        anomalous_ids: Ids of events that a label calls anomalous.
    """
    columns = [*COLUMNS, c.EVENT_ID] if anomalous_ids else COLUMNS
    events = lake.read("events", version, columns)
    is_kept, noise_report = filter_noise(events, noise_config, is_among(events, anomalous_ids))
    opted_out = opted_out_users(lake)
    if opted_out is not None:
        is_kept &= ~opted_out.mask(events[c.USER_ID])
    keep_mask = None if is_kept.all() else is_kept
    return EventSelection(keep_mask, noise_report, opted_out_key(opted_out))


def opted_out_users(lake: Lake) -> UserList | None:
    """Users who have opted out; None if nobody has.

    Args:
        lake: Lake of the dataset, with the list.
    """
    opted_out = read_user_list(lake, OPTED_OUT_USERS)
    return opted_out if opted_out is not None and opted_out.digests else None


def opted_out_key(opted_out: UserList | None) -> str:
    """Part of the key of a snapshot without the events of some users; empty if there are none.

    Args:
        opted_out: Users who have opted out.
    """
    if opted_out is None:
        return ""
    list_text = "".join(sorted(opted_out.digests))
    return f",opted_out={hashlib.sha256(list_text.encode()).hexdigest()}"


def without_private_columns(user_rows: pa.Table, settings: PrivacySettings) -> pa.Table:
    """Rows of the users table without the columns that are no features.

    Args:
        user_rows: ``user_id`` and attributes.
        settings: Classes of the columns.
    """
    return user_rows.drop_columns(
        [name for name in user_rows.column_names if name in settings.no_features]
    )
