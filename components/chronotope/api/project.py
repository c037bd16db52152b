"""The way from a notebook to a project: a dataset with YAML and lake, a version in the registry."""

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from pydantic import ValidationError

from chronotope.api.logs.log import Log
from chronotope.api.logs.log_contents import StoredEvents
from chronotope.api.logs.log_store import LogStore, ingest_rows, normalised_batches
from chronotope.api.trained_model import write_network
from chronotope.artifact.bundle import Manifest
from chronotope.contracts import columns as c
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.schemas import ITEMS
from chronotope.datasets.loading import CONF_DIR, load_spec
from chronotope.datasets.spec import DatasetSpec
from chronotope.datasets.yaml_problems import explain_problems
from chronotope.pipelines.run_dir import write_settings
from chronotope.pipelines.settings import TrainSettings
from chronotope.pipelines.train import MODEL_FILE
from chronotope.runtime.dataset_lock import dataset_lock
from chronotope.runtime.workspace import Workspace

if TYPE_CHECKING:
    from chronotope.registry.mlflow_store import RunTracker
    from chronotope.training.recommender import ChronotopeRecommender

_SOURCES_DIR: Final = Path("data/sources")
"""Folder of the files that a dataset of a notebook is ingested from, below the root."""


def write_dataset(log: Log, dataset_name: str, root: Path, description: str) -> Log:
    """Write a log as a dataset: Parquet files, YAML, and the lake of a project.

    Args:
        log: The log.
        dataset_name: Name of the dataset: lower-case letters, digits and underscores.
        root: Root of the project.
        description: What the log contains.

    Returns:
        The same log over the lake of the project.

    Raises:
        ConfigError: The name is invalid or taken, or the log is a dataset already.
    """
    yaml_path = root / CONF_DIR / f"{dataset_name}.yaml"
    _require_new(log, yaml_path)
    event_rows, item_rows = _source_rows(log), log.contents.items
    spec_content = _yaml_content(log, dataset_name, description, event_rows, item_rows)
    try:
        DatasetSpec.model_validate(spec_content)
    except ValidationError as error:
        spec_problems = explain_problems(error, DatasetSpec)
        raise ConfigError(f"No such dataset can be written: {spec_problems}") from error
    source_dir = root / _SOURCES_DIR / dataset_name
    source_dir.mkdir(parents=True, exist_ok=True)
    pq.write_table(event_rows, source_dir / "events.parquet", compression="zstd")
    if item_rows is not None:
        pq.write_table(item_rows, source_dir / "items.parquet", compression="zstd")
    yaml_path.parent.mkdir(parents=True, exist_ok=True)
    yaml_text = yaml.safe_dump(spec_content, sort_keys=False, allow_unicode=True)
    yaml_path.write_text(yaml_text, encoding="utf-8")
    dataset_spec, log_store = load_spec(yaml_path), LogStore(root, dataset_name)
    with dataset_lock(Workspace(root), dataset_name):
        log_report = ingest_rows(
            dataset_spec,
            log_store,
            normalised_batches(dataset_spec, event_rows),
            items=item_rows,
            column_map=dict(log.report.columns),
        )
        refused_rows = log.contents.refused_rows
        if refused_rows is not None:
            log_store.lake.quarantine(refused_rows)
    return replace(
        log, spec=dataset_spec, contents=StoredEvents(dataset_spec, log_store, log_report)
    )


def _require_new(log: Log, yaml_path: Path) -> None:
    """Refuse a name that is taken, and a log whose rows are a project's already.

    Raises:
        ConfigError: It is one of these.
    """
    if not log.store.is_temporary:
        raise ConfigError(
            "The log is a dataset of a project already",
            received=log.store.dataset,
            way_out="Use its name with the commands",
        )
    if log.spec.cell_resolution is not None or log.store.users() is not None:
        raise ConfigError(
            "The log comes from a YAML file with settings that a copy would lose",
            received=log.spec.name,
            way_out=f"Ingest it by its name: chronotope ingest {log.spec.name}",
        )
    if yaml_path.exists():
        raise ConfigError(
            "There is a dataset of this name already",
            received=yaml_path,
            way_out="Choose another name, or delete the file",
        )


def _source_rows(log: Log) -> pa.Table:
    """Good events by time, without the columns that an ingestion computes and empty ones."""
    event_rows = log.rows.sort_by([(c.OCCURRED_AT, "ascending"), (c.EVENT_ID, "ascending")])
    computed_columns = (
        () if log.spec.local_zone is None and _has_offsets(event_rows) else (c.UTC_OFFSET_MIN,)
    )
    kept_columns = [
        column_name
        for column_name in event_rows.column_names
        if column_name not in (c.EVENT_ID, *computed_columns)
        and event_rows[column_name].null_count < len(event_rows)
    ]
    return event_rows.select(kept_columns)


def _has_offsets(event_rows: pa.Table) -> bool:
    return bool(event_rows[c.UTC_OFFSET_MIN].null_count < len(event_rows))


def _yaml_content(
    log: Log,
    dataset_name: str,
    description: str,
    event_rows: pa.Table,
    item_rows: pa.Table | None,
) -> dict[str, object]:
    """Content of the YAML file."""
    context_names = [name for name in event_rows.column_names if name in log.spec.context_columns]
    event_names = [name for name in event_rows.column_names if name not in context_names]
    yaml_content: dict[str, object] = {
        "name": dataset_name,
        "description": description or "From a data frame of a notebook",
        "data_dir": str(_SOURCES_DIR / dataset_name),
        "time": {"kind": "timestamp", "timezone": log.spec.time.timezone},
        "event_type": log.spec.event_type,
        "items_are_places": log.spec.items_are_places,
        "events": {
            "format": "parquet",
            "path": "events.parquet",
            "columns": {name: name for name in event_names},
            "context": {name: name for name in context_names},
        },
    }
    known_before = [name for name in log.spec.known_before if name in context_names]
    if known_before:
        yaml_content["known_before"] = known_before
    if log.spec.local_zone is not None:
        yaml_content["local_zone"] = log.spec.local_zone
    if item_rows is not None:
        contract_names = [name for name in ITEMS.names if name in item_rows.column_names]
        other_names = [name for name in item_rows.column_names if name not in contract_names]
        item_fields: dict[str, object] = {
            "format": "parquet",
            "path": "items.parquet",
            "columns": {name: name for name in contract_names},
            "attributes": {name: name for name in other_names},
        }
        item_spec = log.spec.items
        if item_spec is not None and item_spec.content is not None:
            content_fields = item_spec.content.model_dump(mode="json", exclude_unset=True)
            item_fields["content"] = content_fields
        yaml_content["items"] = item_fields
    return yaml_content


def register_network(
    network: "ChronotopeRecommender", manifest: Manifest, log: Log, *, promote: bool
) -> str:
    """Register a network as the next version of its dataset; it becomes the challenger.

    Its settings and parameters are stored as those of a training, from which feedback retrains.

    Args:
        network: The trained network.
        manifest: Its description.
        log: Log of a project that it was trained on.
        promote: Whether it becomes champion without the gate.

    Returns:
        Number of the version.

    Raises:
        ConfigError: The log is not of a project.
    """
    from chronotope.registry.manual_promotion import promote_by_hand
    from chronotope.registry.mlflow_store import open_store
    from chronotope.registry.model_versions import register_version
    from chronotope.registry.promotion import set_challenger

    if log.store.is_temporary:
        raise ConfigError(
            "A version belongs to a dataset of a project",
            received="a log of a data frame",
            way_out='Write it with log.to_dataset("name"), and fit on the result',
        )
    root, dataset_name = log.store.root, log.store.dataset
    mlflow_store = open_store(Workspace(root).mlruns)
    with TemporaryDirectory() as temp_dir:
        bundle_dir = Path(temp_dir) / "bundle"
        bundle_dir.mkdir()
        bundle_manifest = write_network(bundle_dir, network, log.index, manifest)
        run_name = f"api-{bundle_manifest.serving_digest[:16]}"
        _store_run(Workspace(root).runs(dataset_name) / run_name, network, root)
        version_tags = {
            "dataset": dataset_name,
            "data_version": manifest.data_version,
            "graph": bundle_manifest.serving_digest[:16],
            "training": run_name,
            "network": run_name,
            "features": log.features.digest,
        }
        with mlflow_store.run(dataset_name, f"model {run_name}", tags=version_tags) as tracker:
            _log_training(tracker, network, log, manifest)
            registered_version = register_version(
                mlflow_store,
                name=dataset_name,
                bundle_dir=bundle_dir,
                run_id=tracker.run_id,
                tags=version_tags,
            ).version
    set_challenger(mlflow_store, dataset_name, registered_version)
    if promote:
        promote_by_hand(root, dataset_name, registered_version, "registered by the Python API")
    return registered_version


def _log_training(
    tracker: "RunTracker", network: "ChronotopeRecommender", log: Log, manifest: Manifest
) -> None:
    """Log parameters and training data of a run."""
    from chronotope.registry.lineage import log_dataset

    tracker.params({"history_len": manifest.history_len, **network.training.model_dump()})
    log_dataset(
        tracker,
        name=log.store.dataset,
        data_digest=manifest.data_version,
        data_source=Workspace(log.store.root).lake(log.store.dataset),
        data_profile={"n_events": len(log.events), "n_items": log.index.n_items},
    )


def _store_run(run_dir: Path, network: "ChronotopeRecommender", root: Path) -> None:
    """Store settings and network of a training that ran in a notebook."""
    train_settings: dict[str, Any] = {
        "root": root,
        "model": network.model.model_dump(),
        "training": network.training.model_dump(),
    }
    write_settings(run_dir, TrainSettings.model_validate(train_settings))
    network.save(run_dir / MODEL_FILE)
