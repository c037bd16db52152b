"""Registered model versions: registration, look-up and download of bundles."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy.typing as npt
from mlflow.entities.model_registry import ModelVersion as MlflowVersion
from mlflow.exceptions import MlflowException

from chronotope.artifact.bundle import MANIFEST, bundle_checksum
from chronotope.contracts.errors import ArtifactError, StoreError
from chronotope.registry.mlflow_store import MlflowStore
from chronotope.registry.pyfunc import write_model
from chronotope.registry.version_files import CHECKSUM, bundle_folder

_FOLDER = "model"


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """Registered model version.

    Attributes:
        name: Registered model.
        version: Version, a decimal number as a string.
        uri: Address of its files, an MLflow model that contains the bundle.
    """

    name: str
    version: str
    uri: str


def register_version(
    mlflow_store: MlflowStore,
    *,
    name: str,
    bundle_dir: Path,
    run_id: str,
    tags: Mapping[str, str],
    input_example: Mapping[str, npt.NDArray[Any]] | None = None,
) -> ModelVersion:
    """Log a bundle to a run and register it as the next version.

    Args:
        mlflow_store: The store.
        name: Registered model; created if missing.
        bundle_dir: Folder with the ONNX graph, the manifest and the ids.
        run_id: Run that produced the bundle.
        tags: Lineage tags: dataset, data version, fold set, sizes.
        input_example: Named arrays of ``Queries``, stored as MLflow's input example.

    Raises:
        ArtifactError: The folder is missing or empty, or its manifest is damaged.
    """
    if not bundle_dir.is_dir() or not any(bundle_dir.iterdir()):
        raise ArtifactError(
            "There is no bundle to register",
            received=bundle_dir,
            way_out="Export the model into this folder first",
        )
    checksum_tag = (
        {CHECKSUM: bundle_checksum(bundle_dir)} if (bundle_dir / MANIFEST).is_file() else {}
    )
    _ensure_registered(mlflow_store, name)
    with TemporaryDirectory() as scratch_dir:
        write_model(bundle_dir, Path(scratch_dir) / _FOLDER, input_example)
        mlflow_store.client.log_artifacts(run_id, scratch_dir)
    uri = f"{mlflow_store.client.get_run(run_id).info.artifact_uri}/{_FOLDER}"
    model_version = mlflow_store.client.create_model_version(
        name, uri, run_id=run_id, tags={**tags, **checksum_tag}
    )
    return ModelVersion(name, str(model_version.version), uri)


def find_registered(
    mlflow_store: MlflowStore, name: str, tags: Mapping[str, str]
) -> tuple[str, str] | None:
    """Latest version with these tags, and its run; None if there is none.

    The run is set to FINISHED, since the process that registered the version may have been killed.
    """
    search_filters = [
        f"name = '{name}'",
        *(f"tags.`{tag_key}` = '{tag_value}'" for tag_key, tag_value in tags.items()),
    ]
    found_versions = mlflow_store.client.search_model_versions(" AND ".join(search_filters))
    if not found_versions:
        return None
    latest_candidate = max(
        found_versions, key=lambda version_candidate: int(version_candidate.version)
    )
    mlflow_store.client.set_terminated(str(latest_candidate.run_id))
    return str(latest_candidate.version), str(latest_candidate.run_id)


def latest_version(mlflow_store: MlflowStore, name: str) -> str:
    """Latest registered version.

    Raises:
        StoreError: No version is registered.
    """
    found_versions = mlflow_store.client.search_model_versions(f"name = '{name}'")
    if not found_versions:
        raise StoreError(f"No version of {name!r} is registered", way_out="Train a model first")
    return str(max(int(version_candidate.version) for version_candidate in found_versions))


def download_version(mlflow_store: MlflowStore, name: str, version_ref: str) -> Path:
    """Folder of a version's bundle; files in an object store are downloaded once and cached.

    Args:
        mlflow_store: The store.
        name: Registered model.
        version_ref: Version such as ``"3"``, or alias such as ``"champion"``.

    Raises:
        StoreError: The version or alias does not exist, or the object store denies access.
        ArtifactError: Files are missing, or the manifest differs from the registered one.
    """
    model_version = _find_model_version(mlflow_store, name, version_ref)
    return bundle_folder(
        mlflow_store.root, str(model_version.source), model_version.tags.get(CHECKSUM)
    )


def find_version(mlflow_store: MlflowStore, name: str, version_ref: str) -> str:
    """Number of the version that a number or an alias refers to.

    Raises:
        StoreError: The version or alias does not exist.
    """
    return str(_find_model_version(mlflow_store, name, version_ref).version)


def _find_model_version(mlflow_store: MlflowStore, name: str, version_ref: str) -> MlflowVersion:
    try:
        if version_ref.isdecimal():
            return mlflow_store.client.get_model_version(name, version_ref)
        return mlflow_store.client.get_model_version_by_alias(name, version_ref)
    except MlflowException as error:
        raise StoreError(
            "There is no such model version",
            received=f"{name} {version_ref}: {error}",
            way_out="List versions with `chronotope history`, or train a model first",
        ) from error


def run_of(mlflow_store: MlflowStore, name: str, version: str) -> str | None:
    """Id of the run that registered a version; None if the version does not exist.

    Unlike a version number, a run id is globally unique.

    Args:
        mlflow_store: The store.
        name: Registered model.
        version: Version of the model.
    """
    try:
        return str(mlflow_store.client.get_model_version(name, version).run_id)
    except MlflowException:
        return None


def version_metrics(mlflow_store: MlflowStore, name: str, version: str) -> dict[str, float]:
    """Metrics of the run that registered a version; empty if the run was deleted.

    Args:
        mlflow_store: The store.
        name: Registered model.
        version: Version of the model.
    """
    try:
        run_id = mlflow_store.client.get_model_version(name, version).run_id
        return dict(mlflow_store.client.get_run(str(run_id)).data.metrics)
    except MlflowException:
        return {}


def _ensure_registered(mlflow_store: MlflowStore, name: str) -> None:
    try:
        mlflow_store.client.get_registered_model(name)
    except MlflowException:
        try:
            mlflow_store.client.create_registered_model(name)
        except MlflowException:  # another process created it between check and creation
            mlflow_store.client.get_registered_model(name)
