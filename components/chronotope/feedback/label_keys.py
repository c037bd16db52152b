"""Labels of events that are named by their key in the interaction log, not by their id yet."""

import json
from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Final

from chronotope.contracts import columns as c
from chronotope.datasets.spec import DatasetSpec
from chronotope.feedback.payloads import payloads_to_batch
from chronotope.lake.event_labels import (
    KEY_PREFIX,
    EventLabel,
    EventLabelLog,
    read_event_labels,
)
from chronotope.lake.interaction_log import InteractionLog
from chronotope.runtime.state import state_exists
from chronotope.runtime.workspace import Workspace

_FIND: Final = "SELECT payload FROM interactions WHERE key = ? AND kind = 'event'"


def resolved_labels(dataset_spec: DatasetSpec, workspace: Workspace) -> dict[str, bool]:
    """Posted labels by event id; a label by key gets the id that ingestion gives its event.

    Args:
        dataset_spec: The dataset, by whose rules payloads are normalised.
        workspace: Folders of the dataset.
    """
    labels_path = workspace.event_labels(dataset_spec.name)
    event_labels = read_event_labels(labels_path)
    by_key = {
        name.removeprefix(KEY_PREFIX): is_anomalous
        for name, is_anomalous in event_labels.items()
        if name.startswith(KEY_PREFIX)
    }
    resolved_ids = _event_ids(by_key, dataset_spec, workspace.interactions(dataset_spec.name))
    new_labels = [
        EventLabel(event_id, by_key[event_key])
        for event_key, event_id in resolved_ids.items()
        if event_id not in event_labels
    ]
    if new_labels:
        with closing(EventLabelLog(labels_path)) as label_log:
            label_log.append(new_labels)
            event_labels = label_log.read()
    return {name: label for name, label in event_labels.items() if not name.startswith(KEY_PREFIX)}


def anomalous_event_ids(dataset_spec: DatasetSpec, workspace: Workspace) -> tuple[str, ...]:
    """Sorted ids of the events that a posted label calls anomalous: they train no recommender.

    Args:
        dataset_spec: The dataset.
        workspace: Folders of the dataset.
    """
    if not state_exists(workspace.event_labels(dataset_spec.name)):
        return ()
    posted_labels = resolved_labels(dataset_spec, workspace)
    return tuple(sorted(event_id for event_id, is_bad in posted_labels.items() if is_bad))


def _event_ids(
    by_key: Mapping[str, bool], dataset_spec: DatasetSpec, log_path: Path
) -> dict[str, str]:
    """Id of the event of each key that the interaction log holds."""
    if not by_key or not state_exists(log_path):
        return {}
    event_ids = {}
    with closing(InteractionLog(log_path)) as interaction_log:
        for event_key in by_key:
            for (payload,) in interaction_log.fetch(_FIND, (event_key,)):
                event_rows = payloads_to_batch([json.loads(payload)], dataset_spec).rows
                if len(event_rows):
                    event_ids[event_key] = str(event_rows[c.EVENT_ID][0].as_py())
    return event_ids
