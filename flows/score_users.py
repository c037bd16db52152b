"""Flow ``score-users``: predictions for all users into a table of the lake."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Final, cast
from uuid import UUID

from prefect import flow, get_run_logger, task
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    update_progress_artifact,
)
from prefect.cache_policies import NO_CACHE

from chronotope.contracts.escaping import markdown_text
from chronotope.scoring.config import ScoringConfig, ScoringProgress, ScoringResult
from chronotope.scoring.progress import ProgressListener
from chronotope.scoring.score_users import score_users as score_dataset_users
from flows.privacy.secret_keys import provide_lake_keys

_LISTENER: Final[ContextVar[ProgressListener | None]] = ContextVar("listener", default=None)
"""Further listener of the progress: the command line's, in whose process the flow runs."""

_ARTIFACT_S: Final = 5.0
"""Seconds between two updates of the progress artifact, each of which is a request."""


@flow(name="score-users", result_serializer="json")
def score_users(
    dataset: str,
    scoring: ScoringConfig = ScoringConfig(),  # noqa: B008 - frozen
) -> ScoringResult:
    """Predict the next items, time and places of all users, into the table ``predictions``.

    Only users with news since the last scoring with the same model are scored. A run that was
    killed continues after its last stored block of users. The rows are validated before they
    replace the present ones.

    Args:
        dataset: Name of a dataset with a champion.
        scoring: Whom to score, how many items, as of when, and where to write a copy.
    """
    provide_lake_keys(scoring.root, dataset)
    scoring_result = score_blocks(dataset, scoring)
    publish_scoring(scoring_result)
    return scoring_result


@task(cache_policy=NO_CACHE, result_serializer="json")
def score_blocks(dataset: str, scoring: ScoringConfig) -> ScoringResult:
    """Score, validate and commit, with a progress artifact.

    Args:
        dataset: Name of the dataset.
        scoring: Whom to score, how many items, as of when, and where to write a copy.
    """
    run_logger = get_run_logger()
    artifact_key = f"scoring-{dataset.replace('_', '-')}"
    artifact_id = cast(
        "UUID",
        create_progress_artifact(0.0, key=artifact_key, description="Share of users scored"),
    )
    last_update = datetime.min.replace(tzinfo=UTC)

    def show(progress: ScoringProgress) -> None:
        nonlocal last_update
        if (listener := _LISTENER.get()) is not None:
            listener(progress)
        now, is_done = datetime.now(UTC), progress.n_done == progress.n_users
        if is_done or (now - last_update).total_seconds() >= _ARTIFACT_S:
            last_update = now
            share = 100.0 if is_done else 100.0 * progress.n_done / progress.n_users
            update_progress_artifact(artifact_id, round(share, 1))
            run_logger.info(
                "%s of %s users, %s a second",
                f"{progress.n_done:,}",
                f"{progress.n_users:,}",
                f"{progress.users_per_s:,.0f}",
            )

    return score_dataset_users(dataset, scoring, on_progress=show)


@task(cache_policy=NO_CACHE, result_serializer="json")
def publish_scoring(scoring_result: ScoringResult) -> None:
    """Create an artifact with the counts of the scoring.

    Args:
        scoring_result: Result of ``score_blocks``.
    """
    create_markdown_artifact(
        scoring_markdown(scoring_result),
        key=f"predictions-{scoring_result.dataset.replace('_', '-')}",
        description="Batch predictions",
    )


def scoring_markdown(scoring_result: ScoringResult) -> str:
    """Counts of a scoring, as Markdown.

    Args:
        scoring_result: Result of the scoring.
    """
    table_text = (
        "The table is unchanged"
        if scoring_result.table_version is None
        else f"Version {scoring_result.table_version} of the table `predictions`"
    )
    rows = [
        ("users scored", f"{scoring_result.n_scored:,}"),
        ("of these, by an earlier run that was killed", f"{scoring_result.n_resumed:,}"),
        ("users without news, rows unchanged", f"{scoring_result.n_unchanged:,}"),
        ("users removed", f"{scoring_result.n_removed:,}"),
        ("users a second", f"{scoring_result.users_per_s:,.1f}"),
        ("copy", markdown_text(scoring_result.out or "none")),
    ]
    table_rows = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return (
        f"{table_text}: model version {scoring_result.model_version} as of "
        f"{scoring_result.scored_at:%Y-%m-%d %H:%M:%S %Z}, data version "
        f"`{scoring_result.data_version}`.\n\n| | |\n|---|---:|\n{table_rows}"
    )


@contextmanager
def progress_shown_to(listener: ProgressListener) -> Iterator[None]:
    """Send the progress of flows that run in this block to a listener, too.

    Args:
        listener: Called about once a second.
    """
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)
