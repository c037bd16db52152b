"""Change the champion by hand from the UI: promote a version, or roll back."""

from pathlib import Path
from typing import Any

from prefect import flow, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from pydantic import BaseModel, ConfigDict, Field

from chronotope.contracts.escaping import markdown_text
from chronotope.registry.manual_promotion import promote_by_hand, roll_back
from chronotope.runtime.allowed_paths import AllowedPath


class ChampionSettings(BaseModel):
    """How the champion is changed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    root: AllowedPath = Field(Path(), description="Project root, below which stores lie")
    dry_run: bool = Field(False, description="Check and show, and change nothing")


@flow(name="promote-model", result_serializer="json")
def promote_model(
    dataset: str,
    version: str,
    reason: str,
    settings: ChampionSettings = ChampionSettings(),  # noqa: B008 - frozen
) -> dict[str, Any]:
    """Make a registered version the champion, without the gate.

    Args:
        dataset: Whose version it is.
        version: Its number, as MLflow shows it.
        reason: Why; kept in the history.
        settings: Where the registry is, and whether anything is changed.

    Returns:
        ``champion`` and ``previous``.
    """
    return change_champion(dataset, settings, reason, version)


@flow(name="roll-back-model", result_serializer="json")
def roll_back_model(
    dataset: str,
    reason: str,
    settings: ChampionSettings = ChampionSettings(),  # noqa: B008 - frozen
) -> dict[str, Any]:
    """Return to the champion before the present one.

    Args:
        dataset: Whose champion is meant.
        reason: Why; kept in the history.
        settings: Where the registry is, and whether anything is changed.

    Returns:
        ``champion`` and ``previous``.
    """
    return change_champion(dataset, settings, reason, None)


@task(cache_policy=NO_CACHE, result_serializer="json")
def change_champion(
    dataset: str, settings: ChampionSettings, reason: str, version: str | None
) -> dict[str, Any]:
    """Change the champion and show who reigns now.

    Args:
        dataset: Whose champion is meant.
        settings: Where the registry is, and whether anything is changed.
        reason: Why.
        version: The new champion; None for the one before.
    """
    root, dry_run = settings.root, settings.dry_run
    if version is None:
        done = roll_back(root, dataset, reason, dry_run=dry_run)
    else:
        done = promote_by_hand(root, dataset, version, reason, dry_run=dry_run)
    would = "would be" if dry_run else "is"
    told = (
        f"Champion of `{dataset}` {would} version {done['champion']}. Why: {markdown_text(reason)}"
    )
    create_markdown_artifact(told, key=f"champion-{dataset.replace('_', '-')}")
    return done
