"""Manual promotion and rollback of the champion."""

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
    """Make a version the champion without the gate; its files are verified.

    Args:
        root: Project root.
        dataset: Dataset of the version.
        version: Number of the version.
        reason: Reason of the promotion, stored in the history.
        dry_run: Check only; change nothing.

    Returns:
        ``dataset``, ``champion``, ``previous`` (None if there was no champion) and ``dry_run``.

    Raises:
        ConfigError: The version is not a number.
        StoreError: The version does not exist, or is the champion already.
    """
    if not version.isdecimal():
        raise ConfigError(
            "A version is a number", received=version, way_out="Write a number such as 3"
        )
    mlflow_store = open_registry(root, dataset)
    read_manifest(download_version(mlflow_store, dataset, version))
    previous_version = promotion.current_champion(mlflow_store, dataset)
    if not dry_run:
        promotion.promote(
            mlflow_store,
            dataset,
            version,
            expected_champion=previous_version,
            key=f"by hand {uuid.uuid4()}",
            reason=reason,
        )
    return {
        "dataset": dataset,
        "champion": version,
        "previous": previous_version,
        "dry_run": dry_run,
    }


def roll_back(root: Path, dataset: str, reason: str, *, dry_run: bool = False) -> dict[str, object]:
    """Make the previous champion the champion again.

    Args:
        root: Project root.
        dataset: Dataset of the champion.
        reason: Reason of the rollback, stored in the history.
        dry_run: Check only; change nothing.

    Returns:
        ``dataset``, ``champion`` (after the rollback), ``previous`` (before) and ``dry_run``.

    Raises:
        StoreError: There is no earlier champion.
    """
    mlflow_store = open_registry(root, dataset)
    previous_version = champion_version(mlflow_store, dataset)
    next_version = previous_champion(mlflow_store, dataset)
    if not dry_run:
        next_version = promotion.rollback(
            mlflow_store, dataset, reason, expected_champion=previous_version
        ).version
    return {
        "dataset": dataset,
        "champion": next_version,
        "previous": previous_version,
        "dry_run": dry_run,
    }
