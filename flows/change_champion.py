"""Change the champion by hand from the UI: promote a version, or roll back."""

from pathlib import Path

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict, Field

from chronotope.contracts.escaping import markdown_text
from chronotope.registry.manual_promotion import promote_by_hand, roll_back
from chronotope.runtime.allowed_paths import AllowedPath


class ChampionSettings(BaseModel):
    """Change of the champion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: AllowedPath = Field(Path(), description="Project root; stores lie below it")
    dry_run: bool = Field(False, description="Check and show, and change nothing")


class ChampionChange(BaseModel):
    """Champion after a change by hand, and before it."""

    model_config = ConfigDict(frozen=True, extra="forbid", from_attributes=True)

    dataset: str = Field(description="Name of the dataset")
    champion: str = Field(description="Version that is champion now")
    previous: str | None = Field(description="Champion before; None if there was none")
    dry_run: bool = Field(description="Whether nothing was changed")


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
        reason: Reason for the history.
        settings: Location of the registry, and whether to change anything.
    """
    return change_champion(dataset, settings, reason, version)


@flow(name="roll-back-model", result_serializer="json")
def roll_back_model(
    dataset: str,
    reason: str,
    settings: ChampionSettings = ChampionSettings(),  # noqa: B008 - frozen
) -> ChampionChange:
    """Return to the champion before the present one.

    Args:
        dataset: Name of the dataset.
        reason: Reason for the history.
        settings: Location of the registry, and whether to change anything.
    """
    return change_champion(dataset, settings, reason, None)


@task(cache_policy=NO_CACHE, result_serializer="json")
def change_champion(
    dataset: str, settings: ChampionSettings, reason: str, version: str | None
) -> ChampionChange:
    """Change the champion and show the new one.

    Args:
        dataset: Name of the dataset.
        settings: Location of the registry, and whether to change anything.
        reason: Reason for the history.
        version: The new champion; None for the one before.
    """
    root, dry_run = settings.root, settings.dry_run
    if version is None:
        change_record = roll_back(root, dataset, reason, dry_run=dry_run)
    else:
        change_record = promote_by_hand(root, dataset, version, reason, dry_run=dry_run)
    champion_change = ChampionChange.model_validate(change_record)
    state_verb = "would be" if dry_run else "is"
    create_markdown_artifact(
        f"Champion of `{dataset}` {state_verb} version {champion_change.champion}. "
        f"Reason: {markdown_text(reason)}",
        key=f"champion-{dataset.replace('_', '-')}",
    )
    return champion_change
