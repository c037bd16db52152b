"""Flows ``promote-model`` and ``roll-back-model``: change the champion by hand."""

from pathlib import Path
from typing import Final

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict, Field

from chronotope.contracts.escaping import markdown_text
from chronotope.registry.manual_promotion import promote_by_hand, roll_back
from chronotope.runtime.allowed_paths import AllowedPath
from flows.watch_interactions import emit_dataset_event

PROMOTED: Final = "champion.promoted"
"""Name of the event that starts ``score-users`` after a change of the champion."""


def emit_promoted(dataset: str, version: str) -> None:
    """Emit the event ``champion.promoted`` for the dataset's resource.

    Args:
        dataset: Name of the dataset.
        version: Version that is the champion now.
    """
    emit_dataset_event(PROMOTED, dataset, {"version": version})


class ChampionSettings(BaseModel):
    """Settings of a manual change of the champion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: AllowedPath = Field(Path(), description="Project root, the parent folder of all stores")
    dry_run: bool = Field(False, description="Check and show the change, but do not apply it")


class ChampionChange(BaseModel):
    """Champion before and after a manual change."""

    model_config = ConfigDict(frozen=True, extra="forbid", from_attributes=True)

    dataset: str = Field(description="Name of the dataset")
    champion: str = Field(description="Version of the champion after the change")
    previous: str | None = Field(description="Version of the champion before; None if none")
    dry_run: bool = Field(description="Whether the change was only checked, not applied")


@flow(name="promote-model", result_serializer="json")
def promote_model(
    dataset: str,
    version: str,
    reason: str,
    settings: ChampionSettings = ChampionSettings(),  # noqa: B008 - frozen
) -> ChampionChange:
    """Make a registered version the champion, without the gate.

    Args:
        dataset: Name of the dataset.
        version: Number of the version, as MLflow shows it.
        reason: Reason of the promotion, stored in the history.
        settings: Location of the registry, and dry run.
    """
    return change_champion(dataset, settings, reason, version)


@flow(name="roll-back-model", result_serializer="json")
def roll_back_model(
    dataset: str,
    reason: str,
    settings: ChampionSettings = ChampionSettings(),  # noqa: B008 - frozen
) -> ChampionChange:
    """Make the previous champion the champion again.

    Args:
        dataset: Name of the dataset.
        reason: Reason of the rollback, stored in the history.
        settings: Location of the registry, and dry run.
    """
    return change_champion(dataset, settings, reason, None)


@task(cache_policy=NO_CACHE, result_serializer="json")
def change_champion(
    dataset: str, settings: ChampionSettings, reason: str, version: str | None
) -> ChampionChange:
    """Change the champion and show the new one as an artifact.

    Args:
        dataset: Name of the dataset.
        settings: Location of the registry, and dry run.
        reason: Reason of the change, stored in the history.
        version: Version to promote; None rolls back to the previous champion.
    """
    root, dry_run = settings.root, settings.dry_run
    if version is None:
        change_record = roll_back(root, dataset, reason, dry_run=dry_run)
    else:
        change_record = promote_by_hand(root, dataset, version, reason, dry_run=dry_run)
    champion_change = ChampionChange.model_validate(change_record)
    if not dry_run:
        emit_promoted(dataset, champion_change.champion)
    state_verb = "would be" if dry_run else "is"
    create_markdown_artifact(
        f"Champion of `{dataset}` {state_verb} version {champion_change.champion}. "
        f"Reason: {markdown_text(reason)}",
        key=f"champion-{dataset.replace('_', '-')}",
    )
    return champion_change
