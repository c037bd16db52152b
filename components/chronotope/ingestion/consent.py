"""What a training may read of a lake: no events of users who have opted out, no private columns."""

import hashlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chronotope.contracts import columns as c
from chronotope.lake import Lake
from chronotope.lake.privacy import read_user_list
from chronotope.lake.table_schemas import OPTED_OUT_USERS
from chronotope.privacy import PrivacySettings


@dataclass(frozen=True, slots=True)
class ConsentMask:
    """Events that a training may read.

    Attributes:
        is_given: Whether the user of each event has not opted out, shape (n_events,).
        snapshot_key: Part of the key of a feature snapshot; empty while nobody has opted out.
    """

    is_given: npt.NDArray[np.bool_]
    snapshot_key: str


def consent_mask(lake: Lake, events: pa.Table) -> ConsentMask:
    """Events of users who have not opted out.

    Args:
        lake: Lake of the dataset, with the list.
        events: Column ``user_id`` of the events.
    """
    opted_out = read_user_list(lake, OPTED_OUT_USERS)
    if opted_out is None or not opted_out.digests:
        return ConsentMask(np.ones(len(events), np.bool_), "")
    list_digest = hashlib.sha256("".join(sorted(opted_out.digests)).encode()).hexdigest()
    return ConsentMask(~opted_out.mask(events[c.USER_ID]), f",opted_out={list_digest}")


def without_private_columns(user_rows: pa.Table, settings: PrivacySettings) -> pa.Table:
    """Rows of the users table without the columns that are no features.

    Args:
        user_rows: ``user_id`` and attributes.
        settings: Classes of the columns.
    """
    return user_rows.drop_columns(
        [name for name in user_rows.column_names if name in settings.no_features]
    )
