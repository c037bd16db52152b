"""Files of a model version: a local folder, or a cached download from an object store.

MLflow is imported by the functions that read an object store; a local folder does not need it.
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
"""Name of the bundle's folder inside the MLflow model."""

CHECKSUM: Final = "bundle"
"""Tag of a version with the checksum of its bundle, manifest included."""

_FETCHED: Final = "fetched"
_LOG = logging.getLogger(__name__)


def has_version_files(version_uri: str) -> bool:
    """Whether the files of a version exist.

    Args:
        version_uri: Address or local path of the version's files.

    Raises:
        StoreError: The object store does not respond, or denies access.
    """
    local_dir = _local(version_uri)
    if local_dir is not None:
        return local_dir.is_dir()
    from mlflow.artifacts import list_artifacts

    try:
        return bool(list_artifacts(artifact_uri=version_uri))
    except Exception as store_error:  # MLflow passes on errors of the store's own library
        raise _refused(version_uri, store_error) from store_error


def local_version_folder(
    version_uri: str, cache_dir: Path, *, is_complete: Callable[[Path], bool] = lambda _: True
) -> Path:
    """Local folder of a version, or a cached download from an object store.

    The files of a version never change, so they are downloaded once, and again if the copy is
    damaged.

    Args:
        version_uri: Address or local path of the version's files.
        cache_dir: Folder of the downloaded copies.
        is_complete: Whether a copy is complete and intact.

    Raises:
        StoreError: The object store does not respond, or denies access.
    """
    local_dir = _local(version_uri)
    if local_dir is not None:
        return local_dir
    cached_dir = cache_dir / hashlib.sha256(version_uri.encode()).hexdigest()[:16]
    if cached_dir.is_dir() and not is_complete(cached_dir):
        _LOG.warning("%s is damaged and is downloaded again from %s", cached_dir, version_uri)
        shutil.rmtree(cached_dir)
    if not cached_dir.is_dir():
        _fetch(version_uri, cached_dir)
    return cached_dir


def bundle_folder(mlruns_dir: Path, version_uri: str, checksum: str | None) -> Path:
    """Folder of a version's bundle; files in an object store are downloaded once and cached.

    Args:
        mlruns_dir: Folder of the registry, the parent of the downloaded copies.
        version_uri: Address or local path of the version's files.
        checksum: Registered checksum of the bundle; None if none was registered.

    Raises:
        StoreError: The object store does not respond, or denies access.
        ArtifactError: Files are missing, or the manifest differs from the registered one.
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
        except Exception as store_error:  # MLflow passes on errors of the store's own library
            raise _refused(version_uri, store_error) from store_error
        try:
            downloaded_dir.rename(cached_dir)
        except OSError:
            if not cached_dir.is_dir():  # otherwise another process downloaded it meanwhile
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
        way_out="Check that the store responds, and the environment variables of its access, such "
        "as AWS_ENDPOINT_URL; S3 needs boto3, which chronotope[scale] installs",
    )
