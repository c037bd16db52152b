"""Lineage in MLflow: training data of a run, and model card of a registered version."""

import hashlib
import json
from datetime import datetime
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from chronotope.registry.mlflow_store import MlflowStore, RunTracker
from chronotope.runtime.store_urls import Location

ERASED_SINCE: Final = "chronotope.users_erased_since"
"""Tag of versions whose training data had users who were erased later."""

_MAX_DIGEST = 36  # MLflow refuses longer ones
_MAX_DESCRIPTION = 5000  # width of the registry's column


def log_dataset(
    run_tracker: RunTracker,
    *,
    name: str,
    data_digest: str,
    data_source: Location,
    data_profile: dict[str, int],
) -> None:
    """Log the training data of a run as its MLflow dataset.

    Args:
        run_tracker: The run.
        name: Name of the dataset.
        data_digest: Data version; a text that is too long for MLflow is hashed.
        data_source: Folder or address of the dataset's lake.
        data_profile: Row counts by name, such as the number of events.
    """
    short_digest = (
        data_digest
        if len(data_digest) <= _MAX_DIGEST
        else hashlib.sha256(data_digest.encode()).hexdigest()
    )
    source_url = data_source.resolve().as_uri() if isinstance(data_source, Path) else data_source
    mlflow_dataset = Dataset(
        name=name,
        digest=short_digest[:_MAX_DIGEST],
        source_type="local" if isinstance(data_source, Path) else urlsplit(source_url).scheme,
        source=json.dumps({"uri": source_url}),
        profile=json.dumps(data_profile),
    )
    input_tags = [InputTag(MLFLOW_DATASET_CONTEXT, "training")]
    run_tracker.client.log_inputs(
        run_tracker.run_id, datasets=[DatasetInput(mlflow_dataset, input_tags)]
    )


def describe_version(mlflow_store: MlflowStore, name: str, version: str, model_card: str) -> None:
    """Set the model card as the description of a registered version.

    Args:
        mlflow_store: The store.
        name: Registered model.
        version: Version of the model.
        model_card: Markdown, cut to 5000 characters.
    """
    mlflow_store.client.update_model_version(
        name, version, description=model_card[:_MAX_DESCRIPTION]
    )


def mark_versions(mlflow_store: MlflowStore, name: str, erased_at: datetime) -> tuple[str, ...]:
    """Tag every registered version as trained on data with users who were erased since.

    Args:
        mlflow_store: The store.
        name: Registered model.
        erased_at: Moment of the erasure.

    Returns:
        The versions, oldest first.
    """
    versions = sorted(
        (found.version for found in mlflow_store.client.search_model_versions(f"name = '{name}'")),
        key=int,
    )
    for version in versions:
        mlflow_store.client.set_model_version_tag(
            name, version, ERASED_SINCE, erased_at.isoformat(timespec="seconds")
        )
    return tuple(str(version) for version in versions)
