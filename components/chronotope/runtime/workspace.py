"""Where things lie: one root, one folder a kind; the lake may lie in an object store."""

from dataclasses import dataclass
from pathlib import Path

from chronotope.runtime.store_urls import Location, lake_location


@dataclass(frozen=True, slots=True)
class Workspace:
    """Folders of one Chronotope installation.

    Attributes:
        root: The project's root; everything written lies below it, but for stores that the
            environment names (``contracts.stores``).
    """

    root: Path

    def lakes(self) -> Location:
        """The lakes of all datasets, a folder each.

        Raises:
            ConfigError: The environment names no place for them.
        """
        return lake_location(self.root / "data" / "lake")

    def lake(self, dataset: str) -> Location:
        """Delta tables of a dataset, one folder a table.

        Raises:
            ConfigError: The environment names no place for it.
        """
        lakes = self.lakes()
        return lakes / dataset if isinstance(lakes, Path) else f"{lakes}/{dataset}"

    def features(self, dataset: str) -> Path:
        """Feature snapshots, one folder a digest."""
        return self.root / "data" / "features" / dataset

    def runs(self, dataset: str) -> Path:
        """Folds, checkpoints and bundles in the making, one folder a training."""
        return self.root / "data" / "runs" / dataset

    def backfills(self, dataset: str) -> Path:
        """What periods that were replayed brought, one folder a backfill."""
        return self.root / "data" / "backfill" / dataset

    def interactions(self, dataset: str) -> Path:
        """The log of what users did and were shown since the service was asked."""
        return self.root / "data" / "interactions" / dataset / "interactions.db"

    def experiments(self, dataset: str) -> Path:
        """Designs of the experiments that were served, one file each."""
        return self.root / "data" / "experiments" / dataset

    def monitoring(self, dataset: str) -> Path:
        """What monitoring found, one file a version of data and champion."""
        return self.root / "data" / "monitoring" / dataset

    def reports(self) -> Path:
        """HTML reports."""
        return self.root / "data" / "reports"

    @property
    def mlruns(self) -> Path:
        """MLflow's and Optuna's stores and MLflow's artifacts."""
        return self.root / "mlruns"
