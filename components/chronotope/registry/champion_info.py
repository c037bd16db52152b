"""Information on the present champion: version, training data and promotion."""

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
    """Version, training data and promotion of the champion.

    Attributes:
        version: Version in the registry.
        run: Folder of the training run; it may have been deleted.
        features: Folder of the feature snapshot of the training; it may have been deleted.
        learned_version: Version of the events table at the training. Events until
            ``trained_until_s`` are training data, later ones the holdout. None if unknown.
        trained_until_s: Time of the last training event, UTC seconds.
        promoted_at: Time of the promotion, UTC.
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
    """Information on the champion of a dataset; None if there is none.

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
    """Version of the events table that a bundle was trained on; None if not from a lake."""
    try:
        return DataVersion.parse(bundle_manifest.data_version).events
    except DataError:
        return None
