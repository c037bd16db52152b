"""Pretrained checkpoints in the MLflow registry: a model of their own, with all logs as lineage."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from mlflow.exceptions import MlflowException

from chronotope.contracts.errors import ConfigError, StoreError
from chronotope.registry.mlflow_store import MlflowStore
from chronotope.registry.model_versions import ModelVersion, find_version
from chronotope.registry.version_files import local_version_folder

CHECKPOINT_FILE: Final = "pretrained.safetensors"
"""Name of the checkpoint among the files of a version."""

ADDRESS_PREFIX: Final = "mlflow:/"
"""Prefix of the address of a version: mlflow:/NAME/VERSION, the version a number or an alias."""

_FOLDER: Final = "pretrained"
_FETCHED: Final = "fetched"


def register_checkpoint(
    mlflow_store: MlflowStore,
    *,
    name: str,
    checkpoint_dir: Path,
    run_id: str,
    tags: Mapping[str, str],
    card: str,
) -> ModelVersion:
    """Log a folder with a checkpoint and its card to a run, and register it as the next version.

    Args:
        mlflow_store: The store.
        name: Registered model; created if missing.
        checkpoint_dir: Folder with ``CHECKPOINT_FILE``.
        run_id: Run that produced the checkpoint.
        tags: Digests of its inputs.
        card: Description of the version, Markdown.
    """
    client = mlflow_store.client
    try:
        client.get_registered_model(name)
    except MlflowException:
        client.create_registered_model(name)
    client.log_artifacts(run_id, str(checkpoint_dir), _FOLDER)
    uri = f"{client.get_run(run_id).info.artifact_uri}/{_FOLDER}"
    version = client.create_model_version(name, uri, run_id=run_id, tags=dict(tags))
    client.update_model_version(name, version.version, description=card[:5000])
    return ModelVersion(name, str(version.version), uri)


def registered_checkpoint(mlflow_store: MlflowStore, address: str) -> Path:
    """Local file of a registered checkpoint; from an object store it is downloaded once.

    Args:
        mlflow_store: The store.
        address: ``mlflow:/NAME/VERSION``.

    Raises:
        ConfigError: The address has another form.
        StoreError: There is no such version, or it holds no checkpoint.
    """
    name, _, version_ref = address.removeprefix(ADDRESS_PREFIX).rpartition("/")
    if not (address.startswith(ADDRESS_PREFIX) and name and version_ref):
        raise ConfigError(
            "The address of a pretrained model has another form",
            received=address,
            way_out="Write mlflow:/NAME/VERSION, such as mlflow:/pretrained-network/1",
        )
    version = find_version(mlflow_store, name, version_ref)
    source = str(mlflow_store.client.get_model_version(name, version).source)
    checkpoint = local_version_folder(source, mlflow_store.root / _FETCHED) / CHECKPOINT_FILE
    if not checkpoint.is_file():
        raise StoreError(
            "The version of the model is no pretrained checkpoint",
            received=f"{address}: {checkpoint}",
            way_out="Name a version that `chronotope pretrain` registered",
        )
    return checkpoint
