"""Users held out of every training of a dataset, so that membership can be audited.

A user is held out by a hash of its id, so it stays held out in retrainings and warm starts.
"""

import hashlib
from typing import Final

import numpy as np
import numpy.typing as npt

from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.pipelines.settings import TrainSettings
from chronotope.pipelines.trust.config import AuditConfig

_HASH_BYTES: Final = 8


def held_out_users(catalog: Catalog, audit: AuditConfig) -> npt.NDArray[np.bool_]:
    """Users that no training uses, bool, shape (n_users,).

    Args:
        catalog: The users.
        audit: Share and seed.
    """
    is_held_out = np.zeros(catalog.users.size, np.bool_)
    if audit.held_out_share == 0.0:
        return is_held_out
    threshold = int(audit.held_out_share * 256**_HASH_BYTES)
    is_held_out[1:] = [
        _user_hash(user_id, audit.seed) < threshold for user_id in catalog.users.ids.to_pylist()
    ]
    return is_held_out


def training_log(
    log: EventLog, catalog: Catalog, settings: TrainSettings, train_end_s: int
) -> EventLog:
    """Events that a final training may use: before the holdout, without held-out users.

    Args:
        log: All events.
        catalog: The users.
        settings: Audit.
        train_end_s: End of the training events, UTC seconds.
    """
    visible_log = log.before(train_end_s)
    if settings.privacy.audit.held_out_share == 0.0:
        return visible_log
    is_held_out = held_out_users(catalog, settings.privacy.audit)
    return visible_log.take(~is_held_out[visible_log.user_idx])


def _user_hash(user_id: str, seed: int) -> int:
    content_digest = hashlib.sha256(f"held-out {seed} {user_id}".encode()).digest()
    return int.from_bytes(content_digest[:_HASH_BYTES])
