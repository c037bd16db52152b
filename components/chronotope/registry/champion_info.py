"""Information on the present champion: its training and its promotion."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from chronotope.artifact.bundle import Manifest, read_manifest
from chronotope.contracts.data_version import DataVersion, TableVersion
from chronotope.contracts.errors import DataError
from chronotope.registry.mlflow_store import MlflowStore
from chronotope.registry.model_versions import download_version
from chronotope.registry.promotion import current_champion, promotion_history
from chronotope.runtime.workspace import Workspace


@dataclass(frozen=True, slots=True)
class ChampionInfo:
    """The champion, its training and its promotion.

    Attributes:
        version: Its version in the registry.
        run: Folder of its training; its files may be gone.
        features: Snapshot it was trained on; it may be gone.
        learned_version: Version of the events at its training: it was trained on those
            until ``trained_until_s`` and evaluated on the others; None if unknown.
        trained_until_s: Last event it was trained on, UTC seconds.
        promoted_at: Time of its promotion, UTC.
    """

    version: str
    run: Path
    features: Path
    learned_version: TableVersion | None
    trained_until_s: int
    promoted_at: datetime


def champion_info(
    mlflow_store: MlflowStore, workspace: Workspace, dataset: str
) -> ChampionInfo | None:
    """The champion of a dataset; None if there is none.

    Args:
        mlflow_store: The registry.
        workspace: Folders of the trainings.
        dataset: Name of the registered model.
    """
    version = current_champion(mlflow_store, dataset)
    if version is None:
        return None
    version_tags = dict(mlflow_store.client.get_model_version(dataset, version).tags)
    bundle_manifest = read_manifest(download_version(mlflow_store, dataset, version))
    committed_entries = [
        journal_entry
        for journal_entry in promotion_history(mlflow_store, dataset)
        if journal_entry.state == "committed"
    ]
    return ChampionInfo(
        version=version,
        run=workspace.runs(dataset) / version_tags.get("training", "unknown"),
        features=workspace.features(dataset) / version_tags.get("features", "unknown"),
        learned_version=events_version(bundle_manifest),
        trained_until_s=bundle_manifest.trained_until_s,
        promoted_at=committed_entries[-1].opened_at,
    )


def events_version(bundle_manifest: Manifest) -> TableVersion | None:
    """Version of the events that a bundle was trained on; None if not of a lake."""
    try:
        return DataVersion.parse(bundle_manifest.data_version).events
    except DataError:
        return None
