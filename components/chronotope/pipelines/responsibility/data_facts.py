"""Facts on the data of a training, for the data card."""

from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from chronotope.contracts.errors import ChronotopeError
from chronotope.contracts.event_log import EventLog
from chronotope.datasets.loading import load_spec
from chronotope.features.snapshot import load_features


def data_facts(dataset: str, features: Path) -> dict[str, str]:
    """Description, licence, span, and how unevenly events are spread.

    Args:
        dataset: Name of the dataset; one whose YAML is not found has no description.
        features: Feature snapshot of the training.
    """
    log = load_features(features)[0]
    return {**_description(dataset), **(log_facts(log) if len(log) else {})}


def log_facts(log: EventLog) -> dict[str, str]:
    """Span and spread of a log with events.

    Args:
        log: Events.
    """
    events_of_user = np.bincount(log.user_idx)
    events_of_user = events_of_user[events_of_user > 0]
    events_of_item = np.sort(np.bincount(log.item_idx))[::-1]
    n_top = max(1, int(np.count_nonzero(events_of_item) / 100))
    top_share = events_of_item[:n_top].sum() / len(log)
    return {
        "First event": _day(int(log.occurred_s.min())),
        "Last event": _day(int(log.occurred_s.max())),
        "Events": f"{len(log):,}",
        "Events of a user": f"median {np.median(events_of_user):,.0f}, "
        f"at most {events_of_user.max():,}",
        "Users with fewer than five events": f"{(events_of_user < 5).mean():.1%}",
        "Share of the most frequent percent of items": f"{top_share:.1%}",
    }


def _description(dataset: str) -> dict[str, str]:
    try:
        spec = load_spec(dataset)
    except ChronotopeError:
        return {}
    return {"Description": spec.description, "Licence": spec.licence}


def _day(second: int) -> str:
    return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%d}"
