"""Lake behind a log: its own temporary one, or that of a project."""

import os
import shutil
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp
from typing import Final

import pyarrow as pa

import chronotope
from chronotope.api.logs.report import LogReport
from chronotope.content.embed_catalogue import embed_catalogue
from chronotope.content.item_vectors import dataset_content
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.datasets.files.line_accounting import SourceReport
from chronotope.datasets.occurrences import OccurrenceCounter
from chronotope.datasets.spec import DatasetSpec
from chronotope.features.build import build_features
from chronotope.features.snapshot import load_features
from chronotope.features.sources import FeaturesConfig
from chronotope.ingestion import (
    IngestBatch,
    NoiseConfig,
    NoiseReport,
    TableReport,
    filter_noise,
    ingest,
    ingest_table,
)
from chronotope.ingestion.noise import COLUMNS
from chronotope.ingestion.source_batches import delivery_id, normalise_batch
from chronotope.lake import Lake
from chronotope.pipelines.ingest_checks import batch_check
from chronotope.runtime.store_urls import LAKE_URL
from chronotope.runtime.workspace import Workspace
from chronotope.validation import check_table, find_suites_folder

BATCH_ROWS: Final = 500_000
"""Rows of a frame that are normalised and checked at a time, as ``chronotope ingest`` does."""

_PACKAGE_DIR: Final = Path(chronotope.__file__).parent


@dataclass(frozen=True)
class LogStore:
    """Lake of one dataset below a root, and its features.

    Attributes:
        root: Root of the project, or a temporary folder.
        dataset: Name of the dataset.
        is_temporary: Whether the root is removed with the last log that uses it.
    """

    root: Path
    dataset: str
    is_temporary: bool = False

    @classmethod
    def temporary_store(cls, dataset: str) -> "LogStore":
        """Store below a folder that is removed with it.

        Raises:
            ConfigError: The environment moves all lakes to an object store.
        """
        require_local_lakes()
        root = mkdtemp(prefix="chronotope-log-")
        log_store = cls(Path(root), dataset, is_temporary=True)
        weakref.finalize(log_store, shutil.rmtree, root, ignore_errors=True)
        return log_store

    @property
    def lake(self) -> Lake:
        """The lake."""
        return Lake(Workspace(self.root).lake(self.dataset))

    def items(self) -> pa.Table | None:
        """Rows of the catalogue; None without one."""
        return self.lake.read("items") if self.lake.exists("items") else None

    def users(self) -> pa.Table | None:
        """Rows of the users table; None without one."""
        return self.lake.read("users") if self.lake.exists("users") else None

    def load_features(self, dataset_spec: DatasetSpec) -> "LogFeatures":
        """Numeric log and catalogue, without noise, as ``chronotope ingest`` builds them.

        Texts that the catalogue's specification names are encoded first, new ones alone.
        """
        item_rows, item_content = self.items(), None
        if dataset_spec.items is not None and dataset_spec.items.content is not None:
            embed_catalogue(dataset_spec, Workspace(self.root))
            item_content = dataset_content(dataset_spec, self.lake, item_rows)
        event_lake, events_version = self.lake, self.lake.table_version("events")
        is_kept, noise_report = filter_noise(
            event_lake.read("events", events_version, COLUMNS), NoiseConfig()
        )
        feature_snapshot = build_features(
            event_lake.reader("events", events_version, None if is_kept.all() else is_kept),
            item_rows,
            config=FeaturesConfig(
                items_are_places=dataset_spec.items_are_places, context=dataset_spec.known_before
            ),
            out=Workspace(self.root).features(self.dataset),
            users=self.users(),
            content=item_content,
        )
        event_log, feature_catalog = load_features(feature_snapshot.path)
        return LogFeatures(event_log, feature_catalog, noise_report, feature_snapshot.digest)


@dataclass(frozen=True, slots=True)
class LogFeatures:
    """Numeric form of a log, which models read.

    Attributes:
        events: The events by index.
        catalog: Ids and attributes of users, items, places and categories.
        noise: Events left out as noise.
        digest: Digest of the snapshot; empty for a log in memory, which has none.
    """

    events: EventLog
    catalog: Catalog
    noise: NoiseReport
    digest: str


def require_local_lakes() -> None:
    """Refuse the log of a frame where lakes are elsewhere.

    Raises:
        ConfigError: The environment moves all lakes to an object store.
    """
    if os.environ.get(LAKE_URL):
        raise ConfigError(
            "A log of a frame lies on this machine, but all lakes are in an object store",
            received=f"{LAKE_URL} is set",
            way_out=f"Unset {LAKE_URL} in this process, or use the command line",
        )


def normalised_batches(dataset_spec: DatasetSpec, raw_rows: pa.Table) -> Iterator[IngestBatch]:
    """Batches of a frame's rows for ``ingest``.

    Args:
        dataset_spec: Types and columns of the rows.
        raw_rows: Rows with contract column names and the values of the frame.
    """
    occurrences = OccurrenceCounter()
    for start_row in range(0, len(raw_rows), BATCH_ROWS):
        yield normalise_batch(dataset_spec, raw_rows.slice(start_row, BATCH_ROWS), occurrences)


def ingest_rows(
    dataset_spec: DatasetSpec,
    log_store: LogStore,
    batches: Iterable[IngestBatch],
    *,
    items: pa.Table | None = None,
    users: pa.Table | None = None,
    column_map: dict[str, str],
) -> LogReport:
    """Check and store events and tables, by the code of ``chronotope ingest``.

    Args:
        dataset_spec: The dataset.
        log_store: Where they are stored.
        batches: Normalised events.
        items: Rows of the catalogue; None has none.
        users: Rows with attributes of the users; None has none.
        column_map: Column of the frame of each contract column, for messages.

    Raises:
        NotEnoughData: Every row was refused.
        ValidationFailed: A critical expectation failed.
    """
    event_lake, run_id, suites_folder = (
        log_store.lake,
        delivery_id(dataset_spec),
        suites_dir(log_store.root),
    )
    source_tables = {"items": items, "users": users}
    table_reports = {
        table_name: ingest_table(
            table_name,
            table_rows,
            SourceReport(),
            row_check=check_table(suites_folder / f"{table_name}.json"),
            lake=event_lake,
            dataset_name=dataset_spec.name,
            run_id=run_id,
        )
        for table_name, table_rows in source_tables.items()
        if table_rows is not None and len(table_rows)
    }
    ingest_report = ingest(
        batches,
        row_check=batch_check(event_lake, suites_folder),
        lake=event_lake,
        run_id=run_id,
        source=dataset_spec.name,
        user_buckets=dataset_spec.user_buckets,
    )
    log_report = LogReport(ingest_report, table_reports.get("items", TableReport()), column_map)
    log_report.require_events()
    return log_report


def suites_dir(root: Path) -> Path:
    """Folder of the validation suites: of the project, of a checkout, or the installed ones."""
    checkout_dir, installed_dir = _PACKAGE_DIR.parents[1], _PACKAGE_DIR.parent
    parent_dirs = (root, Path(), checkout_dir, installed_dir)
    return find_suites_folder(Path("expectations"), parent_dirs)
