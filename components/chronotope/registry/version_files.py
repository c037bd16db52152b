"""Files of a version: a local folder, or a cached download from an object store."""

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


def has_version_files(uri: str) -> bool:
    """Whether a folder of files is where it should be.

    Args:
        uri: Its address, or a plain path.

    Raises:
        StoreError: The object store does not answer, or refuses.
    """
    folder = _local(uri)
    if folder is not None:
        return folder.is_dir()
    try:
        return bool(list_artifacts(artifact_uri=uri))
    except Exception as error:  # of MLflow, or of whichever library reads such a store
        raise _refused(uri, error) from error


def local_version_folder(
    uri: str, cache_dir: Path, *, is_complete: Callable[[Path], bool] = lambda _: True
) -> Path:
    """The folder itself, or a copy of what lies in an object store.

    What a version consists of never changes, so it is fetched once, and again if the copy is
    damaged.

    Args:
        uri: Its address, or a plain path.
        cache_dir: Folder of the copies.
        is_complete: Whether a copy can be used.

    Raises:
        StoreError: The object store does not answer, or refuses.
    """
    folder = _local(uri)
    if folder is not None:
        return folder
    copy = cache_dir / hashlib.sha256(uri.encode()).hexdigest()[:16]
    if copy.is_dir() and not is_complete(copy):
        _LOG.warning("%s is damaged and fetched again from %s", copy, uri)
        shutil.rmtree(copy)
    if not copy.is_dir():
        _fetch(uri, copy)
    return copy


def _fetch(uri: str, copy: Path) -> None:
    with temporary_folder(copy.parent, ".draft-") as draft:
        try:
            downloaded = Path(download_artifacts(artifact_uri=uri, dst_path=str(draft / "files")))
        except Exception as error:  # of MLflow, or of whichever library reads such a store
            raise _refused(uri, error) from error
        try:
            downloaded.rename(copy)
        except OSError:
            if not copy.is_dir():  # else another process fetched it meanwhile
                raise


def _local(uri: str) -> Path | None:
    parts = urlparse(uri)
    if parts.scheme == "file":
        return Path(url2pathname(parts.path))
    return None if "://" in uri else Path(uri)


def _refused(uri: str, error: Exception) -> StoreError:
    return StoreError(
        "Files cannot be read from the object store",
        received=f"{uri}: {error}",
        way_out="Check that it answers, and the variables that open it, such as AWS_ENDPOINT_URL; "
        "S3 needs boto3, which chronotope[scale] installs",
    )
