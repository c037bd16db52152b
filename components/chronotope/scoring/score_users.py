"""Scoring of all or some users of a dataset, from the champion to the committed table."""

import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from chronotope.datasets.values.users_file import read_users_file
from chronotope.lake.prediction_table import replace_predictions, scored_users
from chronotope.registry.champion import Champion, load_champion, require_dataset
from chronotope.runtime.workspace import Workspace
from chronotope.scoring.config import ScoringConfig, ScoringResult
from chronotope.scoring.export import ExportTarget, parse_target
from chronotope.scoring.exported_rows import exported_rows
from chronotope.scoring.prediction_rows import RowOrigin
from chronotope.scoring.progress import ProgressListener
from chronotope.scoring.score_blocks import score_blocks
from chronotope.scoring.source import ScoringSource, open_source
from chronotope.scoring.staging import StagedScoring, scoring_lock
from chronotope.scoring.user_selection import (
    LogUsers,
    UserSelection,
    scoring_key,
    select_users,
)
from chronotope.scoring.validate_blocks import find_suite, validate_blocks
from chronotope.validation.gx_context import load_suite


def score_users(
    dataset: str,
    config: ScoringConfig,
    *,
    on_progress: ProgressListener = lambda _: None,
    load: Callable[[Path, str], Champion] = load_champion,
) -> ScoringResult:
    """Score users, validate the rows, replace the predictions table, and write the copy.

    A run that was killed continues after its last stored block, as of its own moment. Nothing
    is committed unless all rows pass the suite of predictions.

    Args:
        dataset: Name of the dataset.
        config: Whom to score, how many items, as of when, and where to write.
        on_progress: Called about once a second.
        load: Loader of the champion.

    Raises:
        ConfigError: No such dataset, k exceeds the catalogue, or the users file or the target
            cannot be used.
        StoreError: There is no champion, another run is scoring, or a store refused the rows.
        NotEnoughData: The log has no user.
        ValidationFailed: The rows fail the suite; the present table stays.
    """
    start_s = time.perf_counter()
    require_dataset(config.root, dataset)
    target = _checked_target(config)
    dataset_dir = Workspace(config.root).scoring(dataset)
    with (
        scoring_lock(dataset_dir, dataset),
        open_source(dataset, config, load, by_bucket=True) as source,
    ):
        result, listed = _score(source, dataset, config, dataset_dir, on_progress)
        if target is not None:
            n_rows = target.write(exported_rows(source.lake, listed))
            result = result.model_copy(update={"out": target.label, "n_exported": n_rows})
    return result.model_copy(update={"seconds": round(time.perf_counter() - start_s, 3)})


def plan_scoring(
    dataset: str,
    config: ScoringConfig,
    *,
    load: Callable[[Path, str], Champion] = load_champion,
) -> ScoringResult:
    """Counts of the users that ``score_users`` would score; nothing is written.

    Args:
        dataset: Name of the dataset.
        config: Whom to score, how many items, as of when, and where to write.
        load: Loader of the champion.

    Raises:
        ConfigError, StoreError, NotEnoughData: As ``score_users``.
    """
    require_dataset(config.root, dataset)
    _checked_target(config)
    with open_source(dataset, config, load, by_bucket=True) as source:
        _, selection = _select(source, config)
        moment = config.scored_at or datetime.now(UTC).replace(microsecond=0)
        return _selection_result(source, dataset, selection, moment)


def _checked_target(config: ScoringConfig) -> ExportTarget | None:
    """Target of the copy; it, the suite and the users file are checked before hours of scoring."""
    load_suite(find_suite(config.suites, config.root))
    if config.users_file is not None:
        read_users_file(config.users_file)
    if config.out is None:
        return None
    target = parse_target(config.out, config.sql_table)
    target.check()
    return target


def _score(
    source: ScoringSource,
    dataset: str,
    config: ScoringConfig,
    dataset_dir: Path,
    on_progress: ProgressListener,
) -> tuple[ScoringResult, pa.Array | None]:
    """Score and commit; returns the result and the listed users, None without a users file."""
    key, selection = _select(source, config)
    staged = StagedScoring.open(
        dataset_dir,
        selection,
        f"{key} {source.data_version}",
        scored_at=config.scored_at,
        block_users=config.block_users,
    )
    origin = RowOrigin(
        staged.plan.scored_at, source.champion.version, str(source.data_version), key
    )
    progress = score_blocks(source, config, selection, staged, origin, on_progress)
    table_version = _commit(source, config, selection, staged, origin)
    staged.remove()
    result = _selection_result(source, dataset, selection, staged.plan.scored_at).model_copy(
        update={
            "n_resumed": progress.n_resumed,
            "table_version": table_version,
            "users_per_s": progress.users_per_s,
        }
    )
    return result, selection.listed


def _select(source: ScoringSource, config: ScoringConfig) -> tuple[str, UserSelection]:
    """Key of the scoring, and the users to score."""
    key = scoring_key(source.champion, source.data_version, config)
    log_users = LogUsers.read(
        source.lake,
        source.data_version.events,
        source.live_users,
        lambda user_id: source.logged_events(user_id)[-1].seq,
        source.stored_users.is_excluded,
    )
    present, stored_id = scored_users(source.lake), source.stored_users.stored_id
    return key, select_users(log_users, present, key, config, stored_id, source.n_buckets)


def _selection_result(
    source: ScoringSource, dataset: str, selection: UserSelection, scored_at: datetime
) -> ScoringResult:
    """Result of a scoring that has computed nothing yet."""
    return ScoringResult(
        dataset=dataset,
        model_version=source.champion.version,
        data_version=str(source.data_version),
        scored_at=scored_at,
        n_scored=len(selection.ids),
        n_resumed=0,
        n_unchanged=selection.n_unchanged,
        n_removed=len(selection.removed),
        n_unknown=selection.n_unknown,
        table_version=None,
        users_per_s=0.0,
        seconds=0.0,
    )


def _commit(
    source: ScoringSource,
    config: ScoringConfig,
    selection: UserSelection,
    staged: StagedScoring,
    origin: RowOrigin,
) -> int | None:
    """Validate the staged rows and replace the table; None if there is nothing to change."""
    if not len(selection.ids) and not len(selection.removed):
        return None
    block_paths = staged.block_paths()
    known_items = source.champion.vocabulary.items.ids
    validate_blocks(
        block_paths,
        known_items,
        find_suite(config.suites, config.root),
        is_reranked=config.tail_exposure > 0,
    )
    replaced_users = pa.concat_arrays([selection.ids, selection.removed])
    commit_metadata = {
        "model_version": origin.model_version,
        "data_version": origin.data_version,
        "scored_at": origin.scored_at.isoformat(),
        "n_scored": str(len(selection.ids)),
    }
    return replace_predictions(
        source.lake, block_paths, replaced_users, staged.folder, commit_metadata
    )
