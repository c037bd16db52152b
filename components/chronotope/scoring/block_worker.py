"""Scoring of blocks in worker processes, on this machine or on the nodes of a cluster.

A task names a block of users. The worker opens model and events once for all of its tasks, as the
driver read them, writes the block's rows to the staging folder, and returns a count. Posted events
come with the task: a node need not reach the interaction log.
"""

import atexit
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

import numpy as np
import pyarrow as pa

from chronotope.artifact.bundle import read_vocabulary
from chronotope.artifact.open_bundle import open_bundle
from chronotope.contracts.data_version import EVENTS, DataVersion
from chronotope.contracts.errors import ConfigError, StoreError
from chronotope.contracts.event_log import Float64, Int64
from chronotope.inference.request import RecommendOptions
from chronotope.lake import Lake
from chronotope.lake.version_poller import VersionPoller
from chronotope.registry.champion import Champion
from chronotope.runtime.store_urls import LAKE_URL
from chronotope.runtime.workspace import Workspace
from chronotope.scoring.batch_scorer import BatchScorer
from chronotope.scoring.block_transfer import BlockTransfer
from chronotope.scoring.bucket_activity import BucketActivity, GlobalActivity, count_bucket
from chronotope.scoring.config import ScoringConfig
from chronotope.scoring.prediction_rows import PredictionRows, RowOrigin
from chronotope.scoring.staging import write_block
from chronotope.serving.model.loaded import LoadedChampion, read_data_version
from chronotope.serving.state.event_store import EventStore
from chronotope.serving.state.live_state import LoggedEvent, UserState, build_user_state

ACTIVITY_FILE: Final = "activity.npz"
"""File of the staging folder with the activity of all users."""


@dataclass(frozen=True, slots=True)
class ScoringJob:
    """What a worker opens for all tasks of one run.

    Attributes:
        run_key: Random key of the run.
        dataset: Name of the dataset.
        config: Settings of the scoring, its root an absolute path.
        bundle_dir: Folder of the champion's bundle on the driver's machine.
        data_version: Versions of the tables that the driver read.
        n_buckets: Number of buckets of the events.
        excluded_ids: Ids of events that are nobody's history.
        origin: Origin of the rows.
        levels: Of low end, median and high end of the time.
        staging_dir: Folder of the staged blocks on the driver's machine.
        transfer: Prefix of the object store through which blocks and bundle travel; None if
            every worker reaches the driver's folders.
    """

    run_key: str
    dataset: str
    config: ScoringConfig
    bundle_dir: Path
    data_version: DataVersion
    n_buckets: int
    excluded_ids: frozenset[str]
    origin: RowOrigin
    levels: tuple[float, ...]
    staging_dir: Path
    transfer: BlockTransfer | None


@dataclass(frozen=True, slots=True)
class BlockUsers:
    """Users of a block.

    Attributes:
        file_name: File of the block.
        user_ids: Stored ids.
        digests: Digest of each user's events, shape (n_users,).
    """

    file_name: str
    user_ids: Sequence[str]
    digests: Int64


@dataclass(frozen=True, slots=True)
class BlockTask:
    """Blocks of users of one bucket, whose events are read once.

    Attributes:
        job: What to open.
        bucket: Bucket of the events in which the users are.
        blocks: The blocks.
        logged_events: Posted events of those users who have some.
    """

    job: ScoringJob
    bucket: int
    blocks: tuple[BlockUsers, ...]
    logged_events: Mapping[str, list[LoggedEvent]]

    @property
    def n_users(self) -> int:
        """Number of users."""
        return sum(len(block.user_ids) for block in self.blocks)


@dataclass(frozen=True, slots=True)
class ActivityTask:
    """A bucket whose activity is counted.

    Attributes:
        job: What to open.
        bucket: The bucket.
        window_us: Start and end of the recent period, UTC microseconds.
        live_until_s: Moment of the graph's live counts; None if it reads none.
    """

    job: ScoringJob
    bucket: int
    window_us: tuple[int, int]
    live_until_s: int | None


@dataclass
class BlockWorker:
    """Model over the events of one bucket at a time, opened by a worker process.

    Attributes:
        job: What was opened.
        lake: The dataset's lake.
        bucket: Bucket whose events are in memory.
        loaded_champion: Model over these events.
        logged_events: Posted events of the users of the present block.
        has_activity: Whether the activity of all users was read.
    """

    job: ScoringJob
    lake: Lake
    bucket: int
    loaded_champion: LoadedChampion
    logged_events: Mapping[str, list[LoggedEvent]] = field(default_factory=dict)
    has_activity: bool = False

    @classmethod
    def open(cls, job: ScoringJob, bucket: int) -> "BlockWorker":
        """Open model and events as the driver read them.

        Args:
            job: What to open.
            bucket: Bucket of the events.

        Raises:
            ConfigError: The worker does not reach the project's folder.
            StoreError: The tables have changed since the driver read them.
            ArtifactError: The bundle is damaged.
        """
        if job.transfer is not None:
            os.environ[LAKE_URL] = job.transfer.lakes_url  # credentials are those of the node
        bundle_dir, root = _worker_folders(job)
        model = open_bundle(bundle_dir)
        if root != job.config.root and model.manifest.item_context:
            raise ConfigError(
                "A model with item context is scored on nodes that share the project's folder",
                received=f"{job.config.root} does not exist on this node",
                way_out="Mount the folder on every node, or set the engine to processes",
            )
        vocabulary = read_vocabulary(bundle_dir)
        champion = Champion(job.origin.model_version, model, vocabulary, bundle_dir)
        lake = Lake(Workspace(root).lake(job.dataset))
        event_store = _read_bucket(job, lake, bucket)
        loaded = LoadedChampion.load(champion, root, event_store, job.data_version)
        _require_same_tables(lake, job.data_version)
        return cls(job, lake, bucket, loaded)

    def use_bucket(self, bucket: int) -> None:
        """Replace the events in memory by those of a bucket.

        Args:
            bucket: The bucket.
        """
        if bucket != self.bucket:
            event_store = _read_bucket(self.job, self.lake, bucket)
            self.loaded_champion = self.loaded_champion.with_events(event_store)
            self.bucket = bucket

    def score(self, task: BlockTask) -> Iterator[tuple[str, pa.Table]]:
        """File name and rows of each block.

        Args:
            task: The blocks.
        """
        self._read_activity()
        self.logged_events = task.logged_events
        job, levels = self.job, np.array(self.job.levels)
        scorer = make_scorer(
            job.config, self.loaded_champion, self.read_state, job.origin.scored_at, levels
        )
        row_builder = PredictionRows(self.loaded_champion, job.origin)
        for block in task.blocks:
            predictions = scorer.predict(block.user_ids)
            yield (
                block.file_name,
                row_builder.table(block.user_ids, block.digests, predictions),
            )

    def read_state(self, user_id: str) -> UserState:
        """State of a user, posted events included."""
        return build_user_state(user_id, self.logged_events.get(user_id, []), self.loaded_champion)

    def close(self) -> None:
        """Close what was opened."""
        if self.loaded_champion.item_context is not None:
            self.loaded_champion.item_context.close()

    def _read_activity(self) -> None:
        """Read the activity of all users, unless this worker has the events of all of them."""
        job = self.job
        if self.has_activity or job.n_buckets == 1:
            return
        content = (
            (job.staging_dir / ACTIVITY_FILE).read_bytes()
            if job.transfer is None
            else job.transfer.store_folder.read_object(ACTIVITY_FILE)
        )
        activity = GlobalActivity.from_bytes(content)
        self.loaded_champion = self.loaded_champion.with_activity(
            job.origin.scored_at, activity.recent, activity.live
        )
        self.has_activity = True


_opened_workers: Final[list[BlockWorker]] = []
"""The worker of this process: what was opened for the latest job."""


def score_task(task: BlockTask) -> int:
    """Score blocks in a worker process and stage their rows; returns the number of users.

    Args:
        task: The blocks.

    Raises:
        ChronotopeError: As ``BlockWorker.open``; or a block cannot be stored.
    """
    transfer = task.job.transfer
    for file_name, rows in _opened(task.job, task.bucket).score(task):
        if transfer is None:
            write_block(task.job.staging_dir / file_name, rows)
        else:
            transfer.send_block(file_name, rows)
    return task.n_users


def count_activity(task: ActivityTask) -> BucketActivity:
    """Count the activity of a bucket in a worker process.

    Args:
        task: The bucket.

    Raises:
        ChronotopeError: As ``BlockWorker.open``.
    """
    loaded = _opened(task.job, task.bucket).loaded_champion
    return count_bucket(
        loaded.event_store,
        loaded.item_idx,
        task.window_us,
        loaded.item_metadata.category_idx,
        task.live_until_s,
    )


def close_workers() -> None:
    """Close what this process has opened for blocks."""
    while _opened_workers:
        _opened_workers.pop().close()


def make_scorer(
    config: ScoringConfig,
    loaded_champion: LoadedChampion,
    read_state: Callable[[str], UserState],
    scored_at: datetime,
    levels: Float64,
) -> BatchScorer:
    """Scorer with the settings of a run.

    Args:
        config: Length and filter of the lists, and users of a run of the model.
        loaded_champion: Model over the events of the lake.
        read_state: State of a user by id.
        scored_at: Moment of scoring.
        levels: Of low end, median and high end of the time, shape (3,).
    """
    n_items = loaded_champion.champion.vocabulary.items.size - 1
    return BatchScorer.within_memory(
        loaded_champion,
        read_state,
        RecommendOptions(k=min(config.k, n_items), exclude_seen=config.new_only),
        scored_at,
        config.batch_users,
        levels,
        tail_exposure=config.tail_exposure,
    )


def _opened(job: ScoringJob, bucket: int) -> BlockWorker:
    """The worker of this process, with the events of a bucket."""
    if not _opened_workers or _opened_workers[0].job.run_key != job.run_key:
        close_workers()
        _opened_workers.append(BlockWorker.open(job, bucket))
    _opened_workers[0].use_bucket(bucket)
    return _opened_workers[0]


def _read_bucket(job: ScoringJob, lake: Lake, bucket: int) -> EventStore:
    """Events of a bucket, or of the whole table where it is one bucket."""
    only_bucket = bucket if job.n_buckets > 1 else None
    return EventStore.read(lake, job.excluded_ids, job.data_version.events, only_bucket)


def _worker_folders(job: ScoringJob) -> tuple[Path, Path]:
    """Folder of the bundle, and the project root: a temporary one on a node without the root."""
    root = job.config.root
    if job.transfer is None:
        if not job.staging_dir.is_dir():
            raise ConfigError(
                "A worker does not reach the project's folder",
                received=f"{root} on this node",
                way_out="Mount the folder under the same path on every node, keep the lake in an "
                "object store (CHRONOTOPE_LAKE_URL), or set the engine to processes",
            )
        return job.bundle_dir, root
    if job.staging_dir.is_dir():
        return job.bundle_dir, root
    scratch_dir = Path(tempfile.mkdtemp(prefix="chronotope-scoring-"))
    atexit.register(shutil.rmtree, scratch_dir, ignore_errors=True)
    return job.transfer.fetch_bundle(scratch_dir / "bundle"), scratch_dir


def _require_same_tables(lake: Lake, data_version: DataVersion) -> None:
    """Refuse tables that changed since the driver read them; events are read as of its version."""
    current_tables = set(read_data_version(VersionPoller(lake)).tables)
    changed = {name for name, _ in current_tables ^ set(data_version.tables)} - {EVENTS}
    if changed:
        raise StoreError(
            "A table changed while users were scored",
            received=", ".join(sorted(changed)),
            way_out="Run again: all blocks are then scored with the new table",
        )
