"""Log, split and targets shared by all models."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.data_sets import load_data_set
from chronotope.contracts import columns as c
from chronotope.contracts.event_log import Catalog, EventLog, Int64
from chronotope.datasets.normalise import normalise
from chronotope.datasets.readers import read_events, read_items
from chronotope.datasets.spec import DatasetSpec
from chronotope.features.build import build_features
from chronotope.features.snapshot import load_features
from chronotope.features.sources import FeaturesConfig
from chronotope.splitting.targets import global_split, leave_one_out

Protocol = Literal["global", "leave_one_out"]

PROTOCOLS: Final[tuple[Protocol, ...]] = ("global", "leave_one_out")


@dataclass(frozen=True, slots=True)
class DatasetRules:
    """Rules of a dataset that hold for all models.

    Attributes:
        min_item_events: Rarer items are removed from targets and histories.
        drops_seen: No user repeats an item, so items of the history are excluded for all models.
    """

    min_item_events: int = 1
    drops_seen: bool = False


RULES: Final[dict[str, DatasetRules]] = {
    "movielens_100k": DatasetRules(drops_seen=True),
    "foursquare_nyc": DatasetRules(),
    "complete_journey": DatasetRules(min_item_events=10),
}


@dataclass(frozen=True, slots=True)
class Split:
    """Training events and targets.

    Attributes:
        train: Training events.
        targets: Positions in the whole log, shape (n_targets,), one a user.
    """

    train: EventLog
    targets: Int64


def read_dataset(name: str, data: Path, work: Path, min_item_events: int | None = None) -> Path:
    """Read a dataset's events and items into a numeric snapshot; returns its folder.

    Args:
        name: One of ``RULES``.
        data: Folder that holds a folder for each dataset of files.
        work: Folder of the snapshot.
        min_item_events: Rarer items are removed; None takes the number of the rules.

    Raises:
        SourceError: The data are missing.
    """
    spec = load_data_set(name, data)
    at_least = RULES[name].min_item_events if min_item_events is None else min_item_events
    events = _frequent(pa.concat_tables(_events(spec)), at_least)
    items = read_items(spec)
    config = FeaturesConfig(items_are_places=spec.items_are_places)
    return build_features(
        events, items if len(items) else None, config=config, out=work / "features"
    ).path


def cut(log: EventLog, protocol: Protocol) -> Split:
    """Cut a log by a protocol.

    ``global``: train on the events before the .9 quantile of time; the target is each user's last
    event after it. ``leave_one_out``: the target is each user's last event; train on all but the
    baskets of the targets. A basket is a user's events of one instant.
    """
    if protocol == "global":
        split = global_split(log)
        return Split(log.before(split.cut_s), split.positions)
    targets = leave_one_out(log)
    asked = np.isin(log.basket_start(), log.basket_start()[targets])
    return Split(log.take(~asked), targets)


def write_task(
    features: Path, protocol: Protocol, folder: Path, limits: dict[str, float | int]
) -> tuple[EventLog, Catalog, Split]:
    """Write the files that workers read; returns the targets for the evaluator."""
    log, catalog = load_features(features)
    split = cut(log, protocol)
    folder.mkdir(parents=True, exist_ok=True)
    train = split.train
    kept = {name: getattr(train, name) for name in ("user_idx", "item_idx", "occurred_s")}
    pq.write_table(pa.table(kept), folder / "train.parquet")
    pq.write_table(histories(log, split.targets), folder / "histories.parquet")
    sizes = {
        "n_users": catalog.users.size,
        "n_items": catalog.n_items,
        "n_targets": len(split.targets),
    }
    (folder / "task.json").write_text(json.dumps(sizes | limits), encoding="utf-8")
    return log, catalog, split


def histories(log: EventLog, targets: Int64) -> pa.Table:
    """Events before each target's basket: row of the target, user, item and time."""
    first, end = log.user_start()[targets], log.basket_start()[targets]
    sizes = end - first
    row = np.repeat(np.arange(len(targets)), sizes)
    before = np.cumsum(sizes) - sizes
    at = np.arange(len(row)) - before[row] + first[row]
    return pa.table(
        {
            "row": row,
            "user_idx": log.user_idx[at],
            "item_idx": log.item_idx[at],
            "occurred_s": log.occurred_s[at],
        }
    )


def _events(spec: DatasetSpec) -> Iterator[pa.Table]:
    for raw in read_events(spec):
        yield normalise(spec, raw).rows


def _frequent(events: pa.Table, at_least: int) -> pa.Table:
    """Events of items with a minimum number of events."""
    if at_least <= 1:
        return events
    counts = pc.value_counts(events[c.ITEM_ID].combine_chunks())
    often = counts.field("values").filter(pc.greater_equal(counts.field("counts"), at_least))
    return events.filter(pc.is_in(events[c.ITEM_ID], value_set=often))
