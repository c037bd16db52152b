"""Look-up and loading of the champion of a dataset.

MLflow is imported by the functions that need its client; ``load_champion`` rarely does.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from chronotope.artifact.bundle import Manifest, Vocabulary, read_vocabulary
from chronotope.artifact.onnx_recommender import ModelOutput
from chronotope.artifact.open_bundle import open_bundle
from chronotope.contracts.errors import ConfigError, StoreError
from chronotope.contracts.queries import Queries
from chronotope.lake import Lake
from chronotope.lake.listing import list_datasets
from chronotope.registry.champion_lookup import read_champion_record
from chronotope.registry.promotion_journal import Promotion, PromotionJournal
from chronotope.registry.version_files import bundle_folder
from chronotope.runtime.state import state_exists
from chronotope.runtime.store_urls import MLFLOW_URL
from chronotope.runtime.workspace import Workspace

if TYPE_CHECKING:
    from chronotope.registry.mlflow_store import MlflowStore


class BundledRecommender(Protocol):
    """Model of a bundle, which predicts item, time and place of the next event."""

    @property
    def manifest(self) -> Manifest:
        """Manifest of the bundle."""

    @property
    def history_lengths(self) -> tuple[int, ...]:
        """Lengths to which the graph's histories are padded, ascending."""

    def answer(self, queries: Queries) -> ModelOutput:
        """Predictions for a batch of queries."""


@dataclass(frozen=True, slots=True)
class Champion:
    """Loaded champion of a dataset.

    Attributes:
        version: Version in the registry.
        model: Model of the bundle.
        vocabulary: Item and user ids of the model.
        folder: Folder of the bundle; None if it was not read from a folder.
    """

    version: str
    model: BundledRecommender
    vocabulary: Vocabulary
    folder: Path | None = None


def known_datasets(root: Path) -> tuple[str, ...]:
    """Names of the ingested datasets of a project root, sorted."""
    return list_datasets(Workspace(root).lakes())


def require_dataset(root: Path, dataset: str) -> None:
    """Check that a dataset was ingested.

    Raises:
        ConfigError: The lake has no such dataset.
    """
    if not dataset:
        raise ConfigError(
            "No dataset is named",
            way_out=f"Pass --dataset NAME; known are {_comma_list(known_datasets(root))}",
        )
    lakes_location = Workspace(root).lakes()
    if isinstance(lakes_location, Path):
        listed_name, is_known = str(root.resolve()), dataset in list_datasets(lakes_location)
    else:  # a listing would block other threads until the store responds
        listed_name, is_known = lakes_location, Lake(f"{lakes_location}/{dataset}").exists("events")
    if not is_known:
        advice = "Ingest it with `chronotope ingest`, or choose one of"
        if dataset.endswith((".yaml", ".yml")):
            advice = "Pass the name that the YAML file gives, not the file; known are"
        raise ConfigError(
            f"No such dataset below {listed_name}",
            received=dataset,
            way_out=f"{advice}: {_comma_list(known_datasets(root))}",
        )


def has_registry(root: Path) -> bool:
    """Whether anything was ever trained below a root, or its registry is on a server."""
    return (Workspace(root).mlruns / "mlflow.db").is_file() or MLFLOW_URL in os.environ


def open_registry(root: Path, dataset: str) -> "MlflowStore":
    """Registry of an ingested dataset; does not create a registry if there is none.

    Raises:
        ConfigError: The lake has no such dataset.
        StoreError: No model has been trained yet.
    """
    mlruns_dir = _require_registry(root, dataset)
    from chronotope.registry.mlflow_store import open_store

    return open_store(mlruns_dir)


def promotion_entries(root: Path, dataset: str) -> list[Promotion]:
    """Every promotion and rollback, oldest first, aborted ones included; from the journal alone.

    Raises:
        ConfigError: No such dataset below the root.
        StoreError: Nothing has been trained yet, or the journal is damaged.
    """
    journal_path = _require_registry(root, dataset) / "promotions.db"
    return PromotionJournal(journal_path).entries(dataset)


def champion_version(mlflow_store: "MlflowStore", dataset: str) -> str:
    """Version of the champion.

    Raises:
        StoreError: No version has been promoted yet.
    """
    from chronotope.registry.promotion import current_champion

    version = current_champion(mlflow_store, dataset)
    if version is None:
        raise _no_champion(dataset)
    return version


def journal_champion_version(root: Path, dataset: str) -> str | None:
    """Version of the champion according to the promotion journal, without opening MLflow.

    Cheap enough for frequent polling.

    Returns:
        The version; None if no version has been promoted yet.
    """
    journal_path = Workspace(root).mlruns / "promotions.db"
    return PromotionJournal(journal_path).champion(dataset) if state_exists(journal_path) else None


def previous_champion(mlflow_store: "MlflowStore", dataset: str) -> str:
    """Version that a rollback returns to.

    Raises:
        StoreError: There is no earlier champion.
    """
    with PromotionJournal(mlflow_store.root / "promotions.db").locked() as journal_reader:
        champion_periods = journal_reader.champion_periods(dataset)
    if len(champion_periods) < 2:
        raise StoreError(
            "There is no earlier champion to return to",
            received=f"{dataset}: {[journal_entry.version for journal_entry in champion_periods]}",
            way_out="Promote another version instead",
        )
    return champion_periods[-2].version


def load_champion(root: Path, dataset: str) -> Champion:
    """Load the champion's bundle; its checksums are verified.

    Raises:
        ConfigError: The lake has no such dataset.
        StoreError: There is no champion yet.
        ArtifactError: Files of the bundle are missing or damaged.
    """
    require_dataset(root, dataset)
    mlruns_dir = Workspace(root).mlruns
    champion_record = read_champion_record(mlruns_dir, dataset)
    if champion_record is None:
        return load_version(root, dataset, champion_version(open_registry(root, dataset), dataset))
    folder = bundle_folder(mlruns_dir, champion_record.source, champion_record.checksum)
    return _open_champion(champion_record.version, folder)


def load_version(root: Path, dataset: str, version: str) -> Champion:
    """Load the bundle of a registered version; its checksums are verified.

    Raises:
        ConfigError: The lake has no such dataset.
        StoreError: The version does not exist.
        ArtifactError: Files of the bundle are missing or damaged.
    """
    mlflow_store = open_registry(root, dataset)
    from chronotope.registry.model_versions import download_version

    return _open_champion(version, download_version(mlflow_store, dataset, version))


def alias_version(root: Path, dataset: str, alias_name: str) -> str:
    """Version that an alias points to.

    Raises:
        ConfigError: The lake has no such dataset.
        StoreError: The alias does not exist.
    """
    mlflow_store = open_registry(root, dataset)
    from chronotope.registry.model_versions import find_version

    return find_version(mlflow_store, dataset, alias_name)


def _open_champion(version: str, folder: Path) -> Champion:
    return Champion(version, open_bundle(folder), read_vocabulary(folder), folder)


def _require_registry(root: Path, dataset: str) -> Path:
    """Folder of the registry, once the dataset was ingested and something was trained."""
    require_dataset(root, dataset)
    if not has_registry(root):
        raise _no_champion(dataset)
    return Workspace(root).mlruns


def _no_champion(dataset: str) -> StoreError:
    return StoreError(
        f"Dataset {dataset!r} has no champion yet",
        way_out="Train a model, or promote a version with `chronotope promote`",
    )


def _comma_list(dataset_names: tuple[str, ...]) -> str:
    return ", ".join(dataset_names) or "none yet"
