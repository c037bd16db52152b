"""Change the champion by hand: to a version that exists, or back to the one before."""

import uuid
from pathlib import Path

from chronotope.artifact.bundle import read_manifest
from chronotope.contracts.errors import ConfigError
from chronotope.registry import promotion
from chronotope.registry.champion import champion_version, open_registry, previous_champion
from chronotope.registry.model_versions import download_version


def promote_by_hand(
    root: Path, dataset: str, version: str, reason: str, *, dry_run: bool = False
) -> dict[str, object]:
    """Make a version the champion, without the gate; its files are verified.

    Args:
        root: Project root.
        dataset: Whose version it is.
        version: Its number.
        reason: Why, for the history.
        dry_run: Only check.

    Returns:
        ``dataset``, ``champion``, ``previous`` (None without) and ``dry_run``.

    Raises:
        ConfigError: The version is no number.
        StoreError: There is no such version, or it is the champion already.
    """
    if not version.isdecimal():
        raise ConfigError("A version is a number", received=version, way_out="Write it like 3")
    store = open_registry(root, dataset)
    read_manifest(download_version(store, dataset, version))
    before = promotion.current_champion(store, dataset)
    if not dry_run:
        promotion.promote(
            store,
            dataset,
            version,
            expected_champion=before,
            key=f"by hand {uuid.uuid4()}",
            reason=reason,
        )
    return {"dataset": dataset, "champion": version, "previous": before, "dry_run": dry_run}


def roll_back(root: Path, dataset: str, reason: str, *, dry_run: bool = False) -> dict[str, object]:
    """Return to the champion before the present one.

    Args:
        root: Project root.
        dataset: Whose champion is meant.
        reason: Why, for the history.
        dry_run: Only check.

    Returns:
        ``dataset``, ``champion``, ``previous`` and ``dry_run``.

    Raises:
        StoreError: There is no earlier champion.
    """
    store = open_registry(root, dataset)
    before = champion_version(store, dataset)
    after = previous_champion(store, dataset)
    if not dry_run:
        after = promotion.rollback(store, dataset, reason, expected_champion=before).version
    return {"dataset": dataset, "champion": after, "previous": before, "dry_run": dry_run}
