"""Live counts of all users in a loaded model: its graph holds those of the end of its training.

A graph with a discovery head ranks new items by what others had in the last days. The counts
follow the lake, so that a model need not be trained again to know what is new.
"""

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from chronotope.artifact.onnx_recommender import OnnxRecommender
from chronotope.contracts import columns as c
from chronotope.contracts.event_log import Int32, Int64
from chronotope.contracts.ids import UNKNOWN, IdMap
from chronotope.features.activity_counts import ActivityCounter
from chronotope.inference.history import event_times_us
from chronotope.lake import Lake
from chronotope.registry.champion import Champion


def with_live_activity(
    champion: Champion, user_idx: Int32, item_idx: Int32, occurred_us: Int64, item_category: Int32
) -> Champion:
    """The champion with the counts after the last event; unchanged if its graph reads none.

    Args:
        champion: The model version.
        user_idx: Any index of each event's user, shape (n_events,); events by user, then time.
        item_idx: The model's index of each event's item, 0 if unknown, shape (n_events,).
        occurred_us: UTC microseconds, shape (n_events,).
        item_category: Category of each item of the model, shape (n_items,).
    """
    model, is_known = champion.model, item_idx != UNKNOWN
    if not (isinstance(model, OnnxRecommender) and model.reads_activity and is_known.any()):
        return champion
    occurred_s = occurred_us[is_known] // 1_000_000
    counter = ActivityCounter(user_idx[is_known], item_idx[is_known], occurred_s, item_category)
    activity = counter.at(int(occurred_s.max()) + 1)
    return replace(champion, model=model.with_activity(activity))


def read_live_activity(champion: Champion, lake: Lake, item_category: Int32) -> Champion:
    """The champion with the counts of the lake; the events are read only if its graph needs them.

    Args:
        champion: The model version.
        lake: The dataset's lake.
        item_category: Category of each item of the model, shape (n_items,).
    """
    if not (isinstance(champion.model, OnnxRecommender) and champion.model.reads_activity):
        return champion
    events = lake.read("events", columns=[c.USER_ID, c.ITEM_ID, c.OCCURRED_AT])
    user_idx = _codes(events[c.USER_ID])
    occurred_us = event_times_us(events)
    order = np.lexsort((occurred_us, user_idx))
    item_idx = champion.vocabulary.items.index(events[c.ITEM_ID])
    return with_live_activity(
        champion, user_idx[order], item_idx[order], occurred_us[order], item_category
    )


def _codes(ids: pa.ChunkedArray) -> npt.NDArray[np.int32]:
    """Index of each id among its distinct values, shape (n,)."""
    return IdMap.of(ids).index(ids)
