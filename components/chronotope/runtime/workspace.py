"""Folder layout of an installation: one root; the lake may be in an object store."""

from dataclasses import dataclass
from pathlib import Path

from chronotope.runtime.store_urls import Location, lake_location, named_cache_dir
from chronotope.runtime.usable_paths import require_usable_root


@dataclass(frozen=True, slots=True)
class Workspace:
    """Folders of one Chronotope installation.

    Attributes:
        root: Project root. Everything is written below it, except to stores whose addresses
            are set in the environment (``runtime.store_urls``).

    Raises:
        ConfigError: The root is no folder, or its path has characters that stores cannot address.
    """

    root: Path

    def __post_init__(self) -> None:
        """Check the root before anything is written below it."""
        require_usable_root(self.root)

    def lakes(self) -> Location:
        """Lakes of all datasets, one folder per dataset.

        Raises:
            ConfigError: ``CHRONOTOPE_LAKE_URL`` is not an address of an object store.
        """
        return lake_location(self.root / "data" / "lake")

    def lake(self, dataset: str) -> Location:
        """Delta tables of a dataset, one folder per table.

        Raises:
            ConfigError: ``CHRONOTOPE_LAKE_URL`` is not an address of an object store.
        """
        lakes = self.lakes()
        return lakes / dataset if isinstance(lakes, Path) else f"{lakes}/{dataset}"

    def staging(self) -> Path:
        """Staged deliveries of lakes in an object store that workers of an engine write to."""
        return self.root / "data" / "staging"

    def features(self, dataset: str) -> Path:
        """Feature snapshots, one folder per digest."""
        return self.root / "data" / "features" / dataset

    def runs(self, dataset: str) -> Path:
        """Folds, checkpoints and unfinished bundles, one folder per training run."""
        return self.root / "data" / "runs" / dataset

    def federation(self, dataset: str) -> Path:
        """What this installation keeps as a client of federations."""
        return self.root / "data" / "federation" / dataset

    def backfills(self, dataset: str) -> Path:
        """Results of replayed periods, one folder per backfill."""
        return self.root / "data" / "backfill" / dataset

    def interactions(self, dataset: str) -> Path:
        """SQLite file of the interaction log: posted events and shown impressions."""
        return self.root / "data" / "interactions" / dataset / "interactions.db"

    def posted_items(self, dataset: str) -> Path:
        """SQLite file of the items that were posted to a service."""
        return self.root / "data" / "interactions" / dataset / "posted_items.db"

    def posted_item_context(self, dataset: str) -> Path:
        """SQLite file of the item context that was posted to a service."""
        return self.root / "data" / "interactions" / dataset / "posted_item_context.db"

    def erasures(self, dataset: str) -> Path:
        """Certificates of erasures, one file each."""
        return self.root / "data" / "erasures" / dataset

    def event_labels(self, dataset: str) -> Path:
        """SQLite file of the outcomes of events that were posted to a service."""
        return self.root / "data" / "interactions" / dataset / "event_labels.db"

    def anomaly_alerts(self, dataset: str) -> Path:
        """SQLite file of the events that a service flagged as anomalous."""
        return self.root / "data" / "interactions" / dataset / "anomalies.db"

    def experiments(self, dataset: str) -> Path:
        """Configurations of the served experiments, one file per experiment."""
        return self.root / "data" / "experiments" / dataset

    def monitoring(self, dataset: str) -> Path:
        """Drift reports, one file per data version and champion."""
        return self.root / "data" / "monitoring" / dataset

    def scoring(self, dataset: str) -> Path:
        """Staged blocks of unfinished batch predictions, one folder per scoring."""
        return self.root / "data" / "scoring" / dataset

    def cache(self) -> Path:
        """Content that is slow to make, one folder for each kind; it may be deleted any time."""
        return named_cache_dir() or self.root / "data" / "cache"

    def classifiers(self, dataset: str) -> Path:
        """Text classifiers of the items, one file for each column."""
        return self.root / "data" / "classifiers" / dataset

    def reports(self) -> Path:
        """HTML reports."""
        return self.root / "data" / "reports"

    @property
    def mlruns(self) -> Path:
        """MLflow's and Optuna's stores and MLflow's artifacts."""
        return self.root / "mlruns"

    def audit(self) -> Path:
        """Audit trail of the installation, its head and its secrets."""
        return audit_folder(self.mlruns)


def audit_folder(mlruns_dir: Path) -> Path:
    """Folder of the audit trail beside the journal of promotions.

    Args:
        mlruns_dir: The ``mlruns`` folder.
    """
    return mlruns_dir / "audit"
