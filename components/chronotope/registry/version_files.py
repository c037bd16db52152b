"""Files of a version: a local folder, or a cached download from an object store.

MLflow is imported where an object store is read: a version in a local folder needs none of it.
"""

import hashlib
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final
from urllib.parse import urlparse
from urllib.request import url2pathname

from chronotope.artifact.bundle import MANIFEST, bundle_checksum, read_manifest
from chronotope.contracts.errors import ArtifactError, StoreError
from chronotope.runtime.temp_dirs import temporary_folder

BUNDLE: Final = "bundle"
"""Folder of the bundle inside the model's folder."""

CHECKSUM: Final = "bundle"
"""Tag of a version with the checksum of its bundle, which covers the manifest as well."""

_FETCHED: Final = "fetched"
_LOG = logging.getLogger(__name__)


def has_version_files(version_uri: str) -> bool:
    """Whether the files of a version exist.

    Args:
        version_uri: Its address, or a plain path.

    Raises:
        StoreError: The object store does not answer, or refuses.
    """
    local_dir = _local(version_uri)
    if local_dir is not None:
        return local_dir.is_dir()
    from mlflow.artifacts import list_artifacts

    try:
        return bool(list_artifacts(artifact_uri=version_uri))
    except Exception as store_error:  # of MLflow, or of whichever library reads such a store
        raise _refused(version_uri, store_error) from store_error


def local_version_folder(
    version_uri: str, cache_dir: Path, *, is_complete: Callable[[Path], bool] = lambda _: True
) -> Path:
    """Local folder of a version, or a cached download from an object store.

    The files of a version never change, so they are fetched once, and again if the copy is
    damaged.

    Args:
        version_uri: Its address, or a plain path.
        cache_dir: Folder of the copies.
        is_complete: Whether a copy can be used.

    Raises:
        StoreError: The object store does not answer, or refuses.
    """
    local_dir = _local(version_uri)
    if local_dir is not None:
        return local_dir
    cached_dir = cache_dir / hashlib.sha256(version_uri.encode()).hexdigest()[:16]
    if cached_dir.is_dir() and not is_complete(cached_dir):
        _LOG.warning("%s is damaged and fetched again from %s", cached_dir, version_uri)
        shutil.rmtree(cached_dir)
    if not cached_dir.is_dir():
        _fetch(version_uri, cached_dir)
    return cached_dir


def bundle_folder(mlruns_dir: Path, version_uri: str, checksum: str | None) -> Path:
    """Folder of a version's bundle, fetched once where it lies in an object store.

    Args:
        mlruns_dir: Folder of the registry; copies are kept below it.
        version_uri: Address of the version's files, or a plain path.
        checksum: Checksum of the bundle as registered; None if there is none.

    Raises:
        StoreError: The object store does not answer, or refuses.
        ArtifactError: Files are missing, or the manifest is not the one registered.
    """

    def is_complete(copy_dir: Path) -> bool:
        return checksum is None or _is_bundle(copy_dir / BUNDLE, checksum)

    version_dir = local_version_folder(version_uri, mlruns_dir / _FETCHED, is_complete=is_complete)
    folder = version_dir / BUNDLE
    if not folder.is_dir():
        raise ArtifactError(
            "The files of the version are missing",
            received=folder,
            way_out="Roll back, train again, or restore the folder from a copy",
        )
    if checksum is not None and bundle_checksum(folder) != checksum:
        raise ArtifactError(
            "The manifest of the version is not the one that was registered",
            received=folder / MANIFEST,
            way_out="Roll back, train again, or restore the folder from a copy",
        )
    return folder


def _is_bundle(folder: Path, checksum: str) -> bool:
    """Whether a folder holds the bundle of a checksum, and every file of it is whole."""
    try:
        read_manifest(folder)
        return bundle_checksum(folder) == checksum
    except ArtifactError:
        return False


def _fetch(version_uri: str, cached_dir: Path) -> None:
    from mlflow.artifacts import download_artifacts

    with temporary_folder(cached_dir.parent, ".draft-") as draft_dir:
        try:
            downloaded_dir = Path(
                download_artifacts(artifact_uri=version_uri, dst_path=str(draft_dir / "files"))
            )
        except Exception as store_error:  # of MLflow, or of whichever library reads such a store
            raise _refused(version_uri, store_error) from store_error
        try:
            downloaded_dir.rename(cached_dir)
        except OSError:
            if not cached_dir.is_dir():  # else another process fetched it meanwhile
                raise


def _local(version_uri: str) -> Path | None:
    uri_parts = urlparse(version_uri)
    if uri_parts.scheme == "file":
        return Path(url2pathname(uri_parts.path))
    return None if "://" in version_uri else Path(version_uri)


def _refused(version_uri: str, store_error: Exception) -> StoreError:
    return StoreError(
        "Files cannot be read from the object store",
        received=f"{version_uri}: {store_error}",
        way_out="Check that it answers, and the variables that open it, such as AWS_ENDPOINT_URL; "
        "S3 needs boto3, which chronotope[scale] installs",
    )
