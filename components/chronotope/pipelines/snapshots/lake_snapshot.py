"""Construction of the feature snapshot of a lake's latest data version."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pyarrow as pa

from chronotope.content.item_vectors import content_version, dataset_content
from chronotope.content.labels.used_labels import with_predicted_category
from chronotope.contracts.data_version import DataVersion, TableVersion
from chronotope.datasets.spec import DatasetSpec
from chronotope.features.build import build_features
from chronotope.features.sources import FeaturesConfig
from chronotope.ingestion import NoiseConfig
from chronotope.ingestion.consent import without_private_columns
from chronotope.lake import Lake
from chronotope.lake.table_schemas import ITEM_CONTEXT_TABLE
from chronotope.pipelines.results import FeatureSnapshot
from chronotope.pipelines.snapshots.selected_events import selected_events
from chronotope.runtime.engine import EngineConfig, open_engine

_OPTIONAL_TABLES = ("items", "users", "context", "item_labels", ITEM_CONTEXT_TABLE)
_WHOLE_TABLES = ("items", "users", "context")
"""Tables that are read as a whole."""


def build_lake_snapshot(
    dataset_spec: DatasetSpec,
    lake: Lake,
    noise_config: NoiseConfig,
    anomalous_ids: Sequence[str],
    snapshots_dir: Path,
    engine_config: EngineConfig,
) -> FeatureSnapshot:
    """Build the feature snapshot of the latest version of every table, or reuse it.

    Args:
        dataset_spec: The dataset.
        lake: Lake of the dataset.
        noise_config: Thresholds of the noise filter.
        anomalous_ids: Ids of events that a label calls anomalous.
        snapshots_dir: Folder in which the snapshot's folder is created.
        engine_config: Where the buckets of a lake in buckets are worked on; a lake without
            buckets is one task of this process.
    """
    table_names = ["events", *(name for name in _OPTIONAL_TABLES if lake.exists(name))]
    table_versions = {table_name: lake.table_version(table_name) for table_name in table_names}
    lake_tables = _read_tables(dataset_spec, lake, table_versions)
    item_table = lake_tables.get("items")
    item_content = dataset_content(dataset_spec, lake, item_table)
    data_version = str(DataVersion(tuple(table_versions.items())))
    has_buckets = lake.n_buckets(table_versions["events"]) > 1
    with (
        open_engine(engine_config if has_buckets else EngineConfig()) as task_engine,
        selected_events(
            task_engine, lake, table_versions["events"], noise_config, anomalous_ids, snapshots_dir
        ) as selection,
    ):
        snapshot_key = "" if item_content is None else f",content={content_version(lake)}"
        snapshot_key += selection.snapshot_key + dataset_spec.privacy.features_key
        if anomalous_ids:  # new labels make a new snapshot of the same events
            ids_digest = hashlib.sha256(repr(anomalous_ids).encode()).hexdigest()
            snapshot_key += f",anomalous={ids_digest}"
        built_snapshot = build_features(
            selection.events,
            item_table,
            config=_features_config(dataset_spec),
            out=snapshots_dir,
            data_version=f"{data_version},noise={noise_config.model_dump_json()}{snapshot_key}",
            readings=lake_tables.get("context"),
            content=item_content,
            users=lake_tables.get("users"),
            item_context=lake.dataset(ITEM_CONTEXT_TABLE, table_versions[ITEM_CONTEXT_TABLE])
            if ITEM_CONTEXT_TABLE in table_versions
            else None,
            engine=task_engine,
        )
    return FeatureSnapshot(
        path=built_snapshot.path,
        digest=built_snapshot.digest,
        data_version=data_version,
        n_users=built_snapshot.n_users,
        n_items=built_snapshot.n_items,
        **asdict(selection.noise),
    )


def _features_config(dataset_spec: DatasetSpec) -> FeaturesConfig:
    return FeaturesConfig(
        items_are_places=dataset_spec.items_are_places,
        context=dataset_spec.known_before,
        context_table=dataset_spec.context_table_columns,
        item_context=dataset_spec.item_context_defaults,
    )


def _read_tables(
    dataset_spec: DatasetSpec, lake: Lake, table_versions: dict[str, TableVersion]
) -> dict[str, pa.Table]:
    """Items with predicted categories, users without private columns, and context readings."""
    lake_tables = {
        name: lake.read(name, table_versions[name])
        for name in _WHOLE_TABLES
        if name in table_versions
    }
    if "users" in lake_tables:
        lake_tables["users"] = without_private_columns(lake_tables["users"], dataset_spec.privacy)
    if "item_labels" in table_versions and "items" in lake_tables:
        lake_tables["items"] = with_predicted_category(lake_tables["items"], lake)
    return lake_tables
