"""Event ``champion.promoted``, which starts the batch predictions of a dataset."""

from typing import Final

from prefect.events import emit_event

from flows.watch_interactions import dataset_resource

PROMOTED: Final = "champion.promoted"
"""Name of the event that starts ``score-users`` after a change of the champion."""


def emit_promoted(dataset: str, version: str) -> None:
    """Emit the event ``champion.promoted`` for the dataset's resource.

    Args:
        dataset: Name of the dataset.
        version: Version that is the champion now.
    """
    event_resource = {
        "prefect.resource.id": dataset_resource(dataset),
        "prefect.resource.name": dataset,
    }
    emit_event(PROMOTED, event_resource, payload={"version": version})
