"""Events of a feature snapshot, from a lake with or without buckets of users."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from chronotope.contracts.data_version import TableVersion
from chronotope.features.buckets import EventBuckets
from chronotope.features.sources import EventsSource
from chronotope.ingestion import NoiseConfig, NoiseReport
from chronotope.ingestion.bucket_selection import select_bucket_events
from chronotope.ingestion.consent import select_events
from chronotope.lake import Lake
from chronotope.runtime.engine import Engine
from chronotope.runtime.temp_dirs import temporary_folder


@dataclass(frozen=True, slots=True)
class SelectedEvents:
    """Events of a feature snapshot.

    Attributes:
        events: The events, the source of ``build_features``.
        noise: What the noise filter left out.
        snapshot_key: Part of the key of the snapshot; empty while nobody has opted out.
    """

    events: EventsSource | EventBuckets
    noise: NoiseReport
    snapshot_key: str


@contextmanager
def selected_events(
    engine: Engine,
    lake: Lake,
    version: TableVersion,
    noise_config: NoiseConfig,
    anomalous_ids: Sequence[str],
    work_dir: Path,
) -> Iterator[SelectedEvents]:
    """Context manager of the events that are neither noise nor labelled nor opted out.

    A lake without buckets is filtered in this process, one with buckets by tasks of the engine,
    which hold one bucket each.

    Args:
        engine: Runs the tasks.
        lake: Lake of the dataset.
        version: Version of the events.
        noise_config: Thresholds of the noise filter.
        anomalous_ids: Ids of events that a label calls anomalous.
        work_dir: Folder of temporary files, which every process of the engine can read.

    Raises:
        StoreError: The lake cannot be read, or the disk is full.
    """
    if lake.n_buckets(version) == 1:
        selection = select_events(lake, version, noise_config, anomalous_ids)
        events = lake.reader("events", version, selection.keep_mask)
        yield SelectedEvents(events, selection.noise, selection.snapshot_key)
        return
    with temporary_folder(work_dir, ".selection-") as masks_dir:
        masks = select_bucket_events(engine, lake, version, noise_config, anomalous_ids, masks_dir)
        buckets = EventBuckets(lake, version, masks.mask_paths)
        yield SelectedEvents(buckets, masks.noise, masks.snapshot_key)
