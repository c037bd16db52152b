"""Scoring of the blocks of a run that are not staged yet: in this process, or by workers."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from chronotope.contracts.errors import ConfigError
from chronotope.runtime.engine import Engine, open_engine
from chronotope.scoring.block_transfer import BlockTransfer
from chronotope.scoring.block_worker import BlockTask, ScoringJob, make_scorer, score_block
from chronotope.scoring.config import ScoringConfig
from chronotope.scoring.prediction_rows import PredictionRows, RowOrigin
from chronotope.scoring.progress import ProgressListener, ProgressReporter
from chronotope.scoring.source import ScoringSource
from chronotope.scoring.staging import StagedScoring
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
    user_ids, missing = selection.ids, staged.missing_blocks()
    n_missing = sum(len(user_ids[staged.plan.block_rows(block)]) for block in missing)
    progress = ProgressReporter(len(user_ids), len(user_ids) - n_missing, on_progress)
    progress.report()
    if missing:
        with open_engine(config.engine) as engine:
            if engine.in_process:
                _score_here(source, config, selection, staged, origin, missing, progress)
            else:
                job = _scoring_job(source, config, staged, origin)
                _score_elsewhere(engine, job, source, selection, staged, missing, progress)
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
    for block in missing:
        rows = staged.plan.block_rows(block)
        block_ids: list[str] = selection.ids[rows].to_pylist()
        predictions = scorer.predict(block_ids, on_batch=progress.add)
        staged.store(block, row_builder.table(block_ids, selection.digests[rows], predictions))


def _score_elsewhere(
    engine: Engine,
    job: ScoringJob,
    source: ScoringSource,
    selection: UserSelection,
    staged: StagedScoring,
    missing: Sequence[int],
    progress: ProgressReporter,
) -> None:
    """Score blocks in worker processes; a block of a lost worker is scored again."""

    def tasks() -> Iterator[BlockTask]:
        for block in missing:
            rows = staged.plan.block_rows(block)
            block_ids: list[str] = selection.ids[rows].to_pylist()
            live_ids = source.live_users.intersection(block_ids)
            logged = {user_id: source.logged_events(user_id) for user_id in live_ids}
            file_name = staged.block_path(block).name
            yield BlockTask(job, file_name, block_ids, selection.digests[rows], logged)

    transfer = job.transfer
    if transfer is not None:
        transfer.clear()
        transfer.send_bundle(job.bundle_dir)
    for block, n_users in zip(missing, engine.map(score_block, tasks()), strict=True):
        if transfer is not None:
            transfer.take_block(staged.block_path(block))
        progress.add(n_users)
    if transfer is not None:
        transfer.clear()


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
        source.champion.model.manifest.dataset,
        config.model_copy(update={"root": config.root.resolve()}),
        bundle_dir.resolve(),
        source.data_version,
        source.loaded_champion.event_store.excluded_ids,
        origin,
        tuple(source.levels.tolist()),
        staged.folder.resolve(),
        BlockTransfer(lakes_url, dataset, staged.folder.name) if is_remote else None,
    )
