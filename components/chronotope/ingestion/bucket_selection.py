"""Selection of the events of a lake in buckets: noise filter and opt-out, one task per bucket.

Repeats, speed and rate are of one user, and all events of a user are in one bucket. The k-core
also counts items: their counts are summed over the buckets in each step.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from chronotope.contracts import columns as c
from chronotope.contracts.data_version import TableVersion
from chronotope.contracts.ids import IdMap
from chronotope.ingestion.consent import opted_out_key, opted_out_users
from chronotope.ingestion.noise import (
    COLUMNS,
    EventCodes,
    Mask,
    NoiseConfig,
    NoiseReport,
    core_step,
    filter_user_noise,
    is_among,
)
from chronotope.lake import Lake
from chronotope.lake.privacy import UserList
from chronotope.lake.store_errors import translate_store_errors
from chronotope.runtime.durable_files import replacing
from chronotope.runtime.engine.protocol import Engine
from chronotope.runtime.stored_arrays import load_arrays, save_arrays

KEEP_MASK = "keep_mask"
"""Array of a file of ``BucketSelection.mask_paths``."""


@dataclass(frozen=True, slots=True)
class BucketSelection:
    """Events of a feature snapshot, bucket by bucket.

    Attributes:
        mask_paths: For each bucket, file with the mask of the events to keep; None if all are.
        noise: What the noise filter left out.
        snapshot_key: Part of the key of the snapshot; empty while nobody has opted out.
    """

    mask_paths: tuple[Path | None, ...]
    noise: NoiseReport
    snapshot_key: str


@dataclass(frozen=True, slots=True)
class BucketCounts:
    """Counts of one bucket.

    Attributes:
        n_events: Number of events.
        n_kept: Number of events that are kept so far.
        dropped: Number of events dropped by reason.
        keeps_all: Whether no event is left out, neither as noise nor by opt-out.
    """

    n_events: int
    n_kept: int
    dropped: dict[str, int]
    keeps_all: bool


def select_bucket_events(
    engine: Engine,
    lake: Lake,
    version: TableVersion,
    noise_config: NoiseConfig,
    anomalous_ids: Sequence[str],
    masks_dir: Path,
) -> BucketSelection:
    """Events that are neither noise nor labelled, of users who have not opted out.

    The masks and the counts by reason are those of ``select_events`` on all buckets together.

    Args:
        engine: Runs one task per bucket, and with a k-core one more in each of its steps.
        lake: Lake of the dataset, with the list of users who have opted out.
        version: Version of the events.
        noise_config: Thresholds of the noise filter.
        anomalous_ids: Ids of events that a label calls anomalous.
        masks_dir: Existing folder of the masks, which every process of the engine can read.

    Raises:
        StoreError: The lake cannot be read, or the masks cannot be written.
    """
    n_buckets = lake.n_buckets(version)
    opted_out = opted_out_users(lake)
    selection_task = SelectionTask(
        _absolute_lake(lake),
        version,
        noise_config,
        tuple(anomalous_ids),
        opted_out,
        masks_dir.resolve(),
    )
    bucket_counts = list(engine.map(selection_task, range(n_buckets)))
    dropped: Counter[str] = Counter()
    for counts in bucket_counts:
        dropped.update(counts.dropped)
    n_kept = n_before_core = sum(counts.n_kept for counts in bucket_counts)
    if noise_config.min_events:
        bucket_counts = _remove_to_core(engine, selection_task, bucket_counts)
        n_kept = sum(counts.n_kept for counts in bucket_counts)
    noise_report = NoiseReport(
        sum(counts.n_events for counts in bucket_counts),
        n_kept,
        {**dropped, "core": n_before_core - n_kept},
    )
    mask_paths = tuple(
        None if counts.keeps_all else selection_task.mask_path(bucket)
        for bucket, counts in enumerate(bucket_counts)
    )
    return BucketSelection(mask_paths, noise_report, opted_out_key(opted_out))


@dataclass(frozen=True, slots=True)
class SelectionTask:
    """Noise filter of one bucket; sent to other processes.

    Attributes:
        lake: The lake, by an absolute path or an address.
        version: Version of the events.
        noise_config: Thresholds of the noise filter.
        anomalous_ids: Ids of events that a label calls anomalous.
        opted_out: Users who have opted out; None if nobody has.
        masks_dir: Folder of the masks, absolute.
    """

    lake: Lake
    version: TableVersion
    noise_config: NoiseConfig
    anomalous_ids: tuple[str, ...]
    opted_out: UserList | None
    masks_dir: Path

    def __call__(self, bucket: int) -> BucketCounts:
        """Write the mask of a bucket, and for a k-core the codes of its users and items."""
        column_names = [*COLUMNS, c.EVENT_ID] if self.anomalous_ids else list(COLUMNS)
        with translate_store_errors("events"):
            events = self.lake.bucket_rows(bucket, self.version).to_table(columns=column_names)
            event_codes = EventCodes.of(events)
            is_labelled = is_among(events, self.anomalous_ids)
            keep_mask, dropped = filter_user_noise(
                events, event_codes, self.noise_config, is_labelled
            )
            user_mask = np.ones(0, np.bool_)
            if self.opted_out is not None:
                user_mask = ~self.opted_out.mask(events[c.USER_ID])
            if self.noise_config.min_events:
                self._write_codes(bucket, event_codes, user_mask, keep_mask)
            return self.write_mask(bucket, keep_mask, user_mask, dropped)

    def write_mask(
        self, bucket: int, keep_mask: Mask, user_mask: Mask, dropped: dict[str, int]
    ) -> BucketCounts:
        """Write the mask of a bucket, unless all events are kept; returns its counts.

        Args:
            bucket: Number of the bucket.
            keep_mask: Events that are no noise, shape (n_events,).
            user_mask: Events of users who have not opted out, shape (n_events,), or empty.
            dropped: Number of events dropped by reason.
        """
        selected_mask = keep_mask & user_mask if len(user_mask) else keep_mask
        keeps_all = bool(selected_mask.all())
        if not keeps_all:
            save_arrays(self.mask_path(bucket), **{KEEP_MASK: selected_mask})
        return BucketCounts(len(keep_mask), int(keep_mask.sum()), dropped, keeps_all)

    def _write_codes(
        self, bucket: int, event_codes: EventCodes, user_mask: Mask, keep_mask: Mask
    ) -> None:
        with replacing(self.items_path(bucket)) as draft_path:
            pq.write_table(pa.table({"id": event_codes.item_ids}), draft_path)
        save_arrays(
            self.codes_path(bucket),
            user_idx=event_codes.user_idx,
            item_idx=event_codes.item_idx,
            user_mask=user_mask,
        )
        write_core_state(self.core_path(bucket, 0), event_codes, keep_mask)

    def mask_path(self, bucket: int) -> Path:
        """File of the mask of a bucket."""
        return self.masks_dir / f"mask-{bucket:05d}.npz"

    def codes_path(self, bucket: int) -> Path:
        """File of the codes of a bucket's users and items."""
        return self.masks_dir / f"codes-{bucket:05d}.npz"

    def items_path(self, bucket: int) -> Path:
        """File of the ids of a bucket's items, in the order of their codes."""
        return self.masks_dir / f"items-{bucket:05d}.parquet"

    def core_path(self, bucket: int, step_idx: int) -> Path:
        """File of the kept events of a bucket, and their number by item, before a step."""
        return self.masks_dir / f"core-{bucket:05d}-{step_idx}.npz"

    def summed_path(self, bucket: int, step_idx: int) -> Path:
        """File of the number of kept events of a bucket's items in all buckets, before a step."""
        return self.masks_dir / f"summed-{bucket:05d}-{step_idx}.npz"


@dataclass(frozen=True, slots=True)
class CoreTask:
    """One step to the k-core in one bucket; sent to other processes.

    Attributes:
        selection: The task that wrote the codes of the bucket.
        step_idx: Number of the step, from 0.
    """

    selection: SelectionTask
    step_idx: int

    def __call__(self, bucket: int) -> int:
        """Write the kept events after the step; returns their number."""
        selection, step_idx = self.selection, self.step_idx
        event_codes, _ = _read_codes(selection, bucket)
        keep_mask = load_arrays(selection.core_path(bucket, step_idx))[KEEP_MASK]
        item_counts = load_arrays(selection.summed_path(bucket, step_idx))["item_counts"]
        core_mask = core_step(
            event_codes, keep_mask, item_counts, selection.noise_config.min_events
        )
        write_core_state(selection.core_path(bucket, step_idx + 1), event_codes, core_mask)
        return int(core_mask.sum())


@dataclass(frozen=True, slots=True)
class CoreMaskTask:
    """Final mask of a bucket after the k-core; sent to other processes.

    Attributes:
        selection: The task that wrote the codes of the bucket.
        n_steps: Number of steps to the k-core.
    """

    selection: SelectionTask
    n_steps: int

    def __call__(self, bucket: int) -> BucketCounts:
        """Write the mask of a bucket."""
        _, user_mask = _read_codes(self.selection, bucket)
        keep_mask = load_arrays(self.selection.core_path(bucket, self.n_steps))[KEEP_MASK]
        return self.selection.write_mask(bucket, keep_mask, user_mask, {})


def write_core_state(file_path: Path, event_codes: EventCodes, keep_mask: Mask) -> None:
    """Write the kept events of a bucket, and their number by code of the item."""
    item_counts = np.bincount(
        event_codes.item_idx[keep_mask], minlength=event_codes.item_idx.max(initial=-1) + 1
    )
    save_arrays(file_path, **{KEEP_MASK: keep_mask}, item_counts=item_counts)


def _remove_to_core(
    engine: Engine, selection: SelectionTask, bucket_counts: Sequence[BucketCounts]
) -> list[BucketCounts]:
    """Remove users and items with too few events, until none is left; counts of each bucket."""
    buckets, n_kept = range(len(bucket_counts)), sum(counts.n_kept for counts in bucket_counts)
    item_maps = list(_joined_items(selection, buckets))
    n_items = 1 + max((int(item_map.max(initial=0)) for item_map in item_maps), default=0)
    step_idx = 0
    while True:
        summed_counts = np.zeros(n_items, np.int64)
        for bucket, item_map in zip(buckets, item_maps, strict=True):
            core_state = load_arrays(selection.core_path(bucket, step_idx))
            summed_counts[item_map] += core_state["item_counts"]
        for bucket, item_map in zip(buckets, item_maps, strict=True):
            save_arrays(
                selection.summed_path(bucket, step_idx), item_counts=summed_counts[item_map]
            )
        n_left = sum(engine.map(CoreTask(selection, step_idx), buckets))
        if n_left == n_kept:
            return list(engine.map(CoreMaskTask(selection, step_idx), buckets))
        n_kept, step_idx = n_left, step_idx + 1


def _joined_items(
    selection: SelectionTask, buckets: Sequence[int]
) -> Iterator[npt.NDArray[np.int32]]:
    """Index of each code of an item of a bucket among the items of all buckets."""
    bucket_ids = [pq.read_table(selection.items_path(bucket))["id"] for bucket in buckets]
    joined_ids = IdMap.of(
        pa.chunked_array([chunk for id_column in bucket_ids for chunk in id_column.chunks])
    )
    for id_column in bucket_ids:
        yield joined_ids.index(id_column)


def _read_codes(selection: SelectionTask, bucket: int) -> tuple[EventCodes, Mask]:
    """Codes of the events of a bucket, and the mask of users who have not opted out."""
    code_arrays = load_arrays(selection.codes_path(bucket))
    event_codes = EventCodes(
        code_arrays["user_idx"], code_arrays["item_idx"], pa.array([], pa.string())
    )
    return event_codes, code_arrays["user_mask"]


def _absolute_lake(lake: Lake) -> Lake:
    return replace(lake, root=lake.root.resolve()) if isinstance(lake.root, Path) else lake
