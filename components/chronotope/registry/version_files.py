"""Files of a model version: a local folder, or a cached download from an object store."""

import hashlib
import logging
import shutil
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlparse
from urllib.request import url2pathname

from mlflow.artifacts import download_artifacts, list_artifacts

from chronotope.contracts.errors import StoreError
from chronotope.runtime.temp_dirs import temporary_folder

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


def _fetch(version_uri: str, cached_dir: Path) -> None:
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
