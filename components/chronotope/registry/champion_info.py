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
        learned_version: Version of the events that its training saw: it was trained on those
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


def champion_info(store: MlflowStore, workspace: Workspace, dataset: str) -> ChampionInfo | None:
    """The champion of a dataset; None if there is none.

    Args:
        store: The registry.
        workspace: Folders of the trainings.
        dataset: Name of the registered model.
    """
    version = current_champion(store, dataset)
    if version is None:
        return None
    tags = dict(store.client.get_model_version(dataset, version).tags)
    manifest = read_manifest(download_version(store, dataset, version))
    committed = [entry for entry in promotion_history(store, dataset) if entry.state == "committed"]
    return ChampionInfo(
        version=version,
        run=workspace.runs(dataset) / tags.get("training", "unknown"),
        features=workspace.features(dataset) / tags.get("features", "unknown"),
        learned_version=events_version(manifest),
        trained_until_s=manifest.trained_until_s,
        promoted_at=committed[-1].opened_at,
    )


def events_version(manifest: Manifest) -> TableVersion | None:
    """Version of the events that a bundle was trained on; None if not of a lake."""
    try:
        return DataVersion.parse(manifest.data_version).events
    except DataError:
        return None
