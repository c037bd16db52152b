"""Scoring of the blocks of a run that are not staged yet: in this process, or by workers."""

import secrets
from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from chronotope.artifact.onnx_recommender import OnnxRecommender
from chronotope.contracts import columns as c
from chronotope.contracts.data_version import EVENTS
from chronotope.contracts.errors import ConfigError
from chronotope.inference.history import event_times_us
from chronotope.inference.recent_activity import RECENT, utc_midnight
from chronotope.inference.recommend import trained_until
from chronotope.runtime.engine import Engine, open_engine
from chronotope.scoring.block_transfer import BlockTransfer
from chronotope.scoring.block_worker import (
    ACTIVITY_FILE,
    ActivityTask,
    BlockTask,
    BlockUsers,
    ScoringJob,
    close_workers,
    count_activity,
    make_scorer,
    score_task,
)
from chronotope.scoring.bucket_activity import sum_buckets
from chronotope.scoring.config import ScoringConfig
from chronotope.scoring.prediction_rows import PredictionRows, RowOrigin
from chronotope.scoring.progress import ProgressListener, ProgressReporter
from chronotope.scoring.source import ScoringSource
from chronotope.scoring.staging import StagedScoring, UserBlock
from chronotope.scoring.user_selection import UserSelection


def score_blocks(
    source: ScoringSource,
    config: ScoringConfig,
    selection: UserSelection,
    staged: StagedScoring,
    origin: RowOrigin,
    on_progress: ProgressListener,
) -> ProgressReporter:
    """Score the blocks that are not stored yet; every engine stores the same rows.

    Args:
        source: Model and data.
        config: Settings of the scoring.
        selection: Users to score.
        staged: Folder of the blocks.
        origin: Origin of the rows.
        on_progress: Called about once a second; with workers, after each block.

    Raises:
        EngineError: A block was lost more often than the engine retries, or there is no cluster.
        ChronotopeError: A worker cannot open model or tables.
    """
    n_users, missing = len(selection.ids), staged.missing_blocks()
    blocks = staged.plan.blocks
    n_missing = sum(blocks[number].n_users for number in missing)
    progress = ProgressReporter(n_users, n_users - n_missing, on_progress)
    progress.report()
    if missing:
        with open_engine(config.engine) as engine:
            if engine.in_process and source.n_buckets == 1:
                _score_here(source, config, selection, staged, origin, missing, progress)
            else:
                job = _scoring_job(source, config, staged, origin)
                try:
                    _score_tasks(engine, job, source, selection, staged, missing, progress)
                finally:
                    close_workers()  # of this process, if the engine is local
    progress.report()
    return progress


def _score_here(
    source: ScoringSource,
    config: ScoringConfig,
    selection: UserSelection,
    staged: StagedScoring,
    origin: RowOrigin,
    missing: Sequence[int],
    progress: ProgressReporter,
) -> None:
    """Score blocks one after the other in this process."""
    scorer = make_scorer(
        config, source.loaded_champion, source.read_state, origin.scored_at, source.levels
    )
    row_builder = PredictionRows(source.loaded_champion, origin)
    blocks = staged.plan.blocks
    for number in missing:
        rows = blocks[number].rows
        block_ids: list[str] = selection.ids[rows].to_pylist()
        predictions = scorer.predict(block_ids, on_batch=progress.add)
        staged.store(number, row_builder.table(block_ids, selection.digests[rows], predictions))


def _score_tasks(
    engine: Engine,
    job: ScoringJob,
    source: ScoringSource,
    selection: UserSelection,
    staged: StagedScoring,
    missing: Sequence[int],
    progress: ProgressReporter,
) -> None:
    """Score blocks by tasks of the engine; a block of a lost worker is scored again."""
    transfer = job.transfer
    if transfer is not None:
        transfer.clear_store()
        transfer.send_bundle(job.bundle_dir)
    try:
        if job.n_buckets > 1:
            _stage_activity(engine, job, source)
        groups = _task_blocks(staged.plan.blocks, missing, job.n_buckets)
        tasks = (_block_task(job, source, selection, staged, numbers) for numbers in groups)
        for numbers, n_users in zip(groups, engine.map(score_task, tasks), strict=True):
            if transfer is not None:
                for number in numbers:
                    transfer.take_block(staged.block_path(number))
            progress.add(n_users)
    finally:
        if transfer is not None:
            transfer.clear_store()


def _task_blocks(
    blocks: Sequence[UserBlock], missing: Sequence[int], n_buckets: int
) -> list[list[int]]:
    """Numbers of the blocks of each task: those of a bucket, whose events are then read once.

    Without buckets a worker reads all events anyway, and each block is a task.
    """
    if n_buckets == 1:
        return [[number] for number in missing]
    of_bucket = groupby(missing, key=lambda number: blocks[number].bucket)
    return [list(numbers) for _, numbers in of_bucket]


def _block_task(
    job: ScoringJob,
    source: ScoringSource,
    selection: UserSelection,
    staged: StagedScoring,
    numbers: Sequence[int],
) -> BlockTask:
    """Task of some blocks of one bucket, with the posted events of their users."""
    blocks, logged_events, users = staged.plan.blocks, {}, []
    for number in numbers:
        rows = blocks[number].rows
        user_ids: list[str] = selection.ids[rows].to_pylist()
        for user_id in source.live_users.intersection(user_ids):
            logged_events[user_id] = source.logged_events(user_id)
        file_name = staged.block_path(number).name
        users.append(BlockUsers(file_name, user_ids, selection.digests[rows]))
    return BlockTask(job, blocks[numbers[0]].bucket, tuple(users), logged_events)


def _stage_activity(engine: Engine, job: ScoringJob, source: ScoringSource) -> None:
    """Count the activity of all users bucket by bucket, and stage the sum for the workers."""
    champion, day = source.champion, utc_midnight(job.origin.scored_at)
    metadata, model = source.loaded_champion.item_metadata, champion.model
    reads_activity = isinstance(model, OnnxRecommender) and model.reads_activity
    live_until_s = _live_until_s(source) if reads_activity else None
    activity = None
    for end_time in (day, trained_until(champion)):  # without recent events, those before training
        end_us = int(end_time.timestamp() * 1_000_000)
        window_us = (end_us - int(RECENT.total_seconds()) * 1_000_000, end_us)
        tasks = [
            ActivityTask(job, bucket, window_us, live_until_s) for bucket in range(job.n_buckets)
        ]
        activity = sum_buckets(
            engine.map(count_activity, tasks),
            metadata.category_idx,
            metadata.min_group_users,
            live_until_s,
        )
        if end_time != day:
            activity = replace(activity, recent=activity.recent.ending(end_time))
        if not activity.recent.is_empty:
            break
    assert activity is not None  # noqa: S101 - for the type checker
    if job.transfer is not None:
        job.transfer.store_folder.write_object(ACTIVITY_FILE, activity.to_bytes())
    else:
        (job.staging_dir / ACTIVITY_FILE).write_bytes(activity.to_bytes())


def _live_until_s(source: ScoringSource) -> int | None:
    """Moment after the last event of a known item, as ``with_live_activity``; None without one."""
    excluded_ids = source.loaded_champion.event_store.excluded_ids
    excluded = pa.array(sorted(excluded_ids), pa.string())
    known_items, last_us = source.champion.vocabulary.items.ids, -1
    rows = source.lake.dataset(EVENTS, source.data_version.events)
    for batch in rows.to_batches(columns=[c.ITEM_ID, c.OCCURRED_AT, c.EVENT_ID]):
        counts = pc.is_in(batch.column(0).cast(pa.string()), value_set=known_items)
        if len(excluded):
            is_excluded = pc.is_in(batch.column(2).cast(pa.string()), value_set=excluded)
            counts = pc.and_(counts, pc.invert(is_excluded))
        times_us = event_times_us(pa.Table.from_batches([batch.filter(counts)]))
        last_us = max(last_us, int(times_us.max(initial=-1)))
    return None if last_us < 0 else last_us // 1_000_000 + 1


def _scoring_job(
    source: ScoringSource, config: ScoringConfig, staged: StagedScoring, origin: RowOrigin
) -> ScoringJob:
    """What workers open: model and data of the source."""
    bundle_dir = source.champion.folder
    if bundle_dir is None:
        raise ConfigError(
            "Workers cannot open a model that is not in a folder",
            received=f"version {source.champion.version}, engine {config.engine.kind}",
            way_out="Set the engine to local",
        )
    lake_root = source.lake.root
    is_remote = config.engine.kind == "ray" and not isinstance(lake_root, Path)
    lakes_url, _, dataset = str(lake_root).rpartition("/")
    return ScoringJob(
        secrets.token_hex(8),
        source.champion.model.manifest.dataset,
        config.model_copy(update={"root": config.root.resolve()}),
        bundle_dir.resolve(),
        source.data_version,
        source.n_buckets,
        source.loaded_champion.event_store.excluded_ids,
        origin,
        tuple(source.levels.tolist()),
        staged.folder.resolve(),
        BlockTransfer(lakes_url, dataset, staged.folder.name) if is_remote else None,
    )
