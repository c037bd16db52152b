"""Where a run's data came from and what a version is, in MLflow's own terms."""

import hashlib
import json
from pathlib import Path
from urllib.parse import urlsplit

from mlflow.entities import Dataset, DatasetInput, InputTag
from mlflow.utils.mlflow_tags import MLFLOW_DATASET_CONTEXT

from chronotope.registry.mlflow_store import MlflowStore, RunTracker
from chronotope.runtime.store_urls import Location

_MAX_DIGEST = 36  # MLflow refuses longer ones
_MAX_DESCRIPTION = 5000  # as wide as the registry's column


def log_dataset(
    tracker: RunTracker, *, name: str, digest: str, source: Location, profile: dict[str, int]
) -> None:
    """Say which data a run learned from; shown as the run's dataset.

    Args:
        tracker: The run.
        name: Name of the dataset.
        digest: Version of its tables; one too long for MLflow is hashed.
        source: Where the dataset's lake lies.
        profile: Counts, such as the number of events.
    """
    short = digest if len(digest) <= _MAX_DIGEST else hashlib.sha256(digest.encode()).hexdigest()
    url = source.resolve().as_uri() if isinstance(source, Path) else source
    dataset = Dataset(
        name=name,
        digest=short[:_MAX_DIGEST],
        source_type="local" if isinstance(source, Path) else urlsplit(url).scheme,
        source=json.dumps({"uri": url}),
        profile=json.dumps(profile),
    )
    context = [InputTag(MLFLOW_DATASET_CONTEXT, "training")]
    tracker.client.log_inputs(tracker.run_id, datasets=[DatasetInput(dataset, context)])


def describe_version(store: MlflowStore, name: str, version: str, card: str) -> None:
    """Show a model card as the description of a registered version.

    Args:
        store: The store.
        name: Registered model.
        version: Its version.
        card: Markdown; cut where the registry's column ends.
    """
    store.client.update_model_version(name, version, description=card[:_MAX_DESCRIPTION])
