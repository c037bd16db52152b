"""Addresses of the stores: below the project root, or from environment variables.

Addresses may contain passwords, so they are read from the environment only, never from settings
or YAML, and displayed without their password.
"""

import os
import re
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from chronotope.contracts.errors import ConfigError

Location: TypeAlias = Path | str
"""Local folder, or a string with an address in an object store such as ``s3://bucket/lake``."""

MLFLOW_URL: Final = "CHRONOTOPE_MLFLOW_URL"
"""Variable with the address of MLflow's store, such as ``postgresql://user:secret@host/mlflow``."""

OPTUNA_URL: Final = "CHRONOTOPE_OPTUNA_URL"
"""Variable with the address of Optuna's database of studies."""

STATE_URL: Final = "CHRONOTOPE_STATE_URL"
"""Variable with the address of the Postgres database of the state that services and workers
share; without it they share the files below one root."""

LAKE_URL: Final = "CHRONOTOPE_LAKE_URL"
"""Variable with the address of the lake in an object store. Credentials and endpoint come from
the vendor's variables, such as ``AWS_ACCESS_KEY_ID`` and ``AWS_ENDPOINT_URL``."""

ARTIFACTS_URL: Final = "CHRONOTOPE_ARTIFACTS_URL"
"""Variable with the address of MLflow's artifact store in an object store."""

_OBJECT_STORE_URL: Final = re.compile(r"(s3|gs|az)://[a-z0-9][a-z0-9._-]+(/[\w.=-]+)*/?", re.ASCII)
"""Allowed form of object store addresses, without keys or passwords, since they are logged."""

CACHE_DIR: Final = "CHRONOTOPE_CACHE"
"""Variable with a folder for caches, shared by all roots that are used with it."""


_PLAIN: Final = "postgresql://"
_DRIVER: Final = "postgresql+psycopg://"
"""Prefix of the installed driver; SQLAlchemy reads the plain form as another driver."""


def mlflow_url(mlruns_dir: Path) -> str:
    """Address of MLflow's database.

    Args:
        mlruns_dir: Folder of the SQLite file that is used if ``CHRONOTOPE_MLFLOW_URL`` is not set.
    """
    return _database_url(MLFLOW_URL) or f"sqlite:///{mlruns_dir.resolve() / 'mlflow.db'}"


def optuna_url(mlruns_dir: Path) -> str:
    """Address of Optuna's database of studies.

    Args:
        mlruns_dir: Folder of the SQLite file that is used if ``CHRONOTOPE_OPTUNA_URL`` is not set.
    """
    return _database_url(OPTUNA_URL) or f"sqlite:///{mlruns_dir.resolve() / 'optuna.db'}"


def state_url() -> str:
    """Address of the database of the shared state; "" for SQLite and files below the root.

    Raises:
        ConfigError: The variable is not an address of a Postgres database.
    """
    database_url = os.environ.get(STATE_URL, "")
    if database_url and not database_url.startswith(_PLAIN):
        raise ConfigError(
            f"{STATE_URL} is not an address of a Postgres database",
            received="(not shown: it may contain a secret)",
            way_out=f"Set it to {_PLAIN}user:password@host/database, or unset it to use SQLite "
            "files below the root",
        )
    return database_url


def lake_location(lakes_dir: Path) -> Location:
    """Location of the lakes of all datasets.

    Args:
        lakes_dir: Local folder that is used if ``CHRONOTOPE_LAKE_URL`` is not set.

    Raises:
        ConfigError: The variable is not a plain address of an object store.
    """
    return _object_store_url(LAKE_URL) or lakes_dir


def named_cache_dir() -> Path | None:
    """Folder of the caches that the environment names, if it does."""
    folder = os.environ.get(CACHE_DIR)
    return Path(folder) if folder else None


def artifacts_url(mlruns_dir: Path) -> str:
    """Address of the artifact store of all runs, models included.

    Args:
        mlruns_dir: Parent of the local folder that is used if ``CHRONOTOPE_ARTIFACTS_URL`` is
            not set.

    Raises:
        ConfigError: The variable is not a plain address of an object store.
    """
    return _object_store_url(ARTIFACTS_URL) or (mlruns_dir.resolve() / "artifacts").as_uri()


def _object_store_url(variable_name: str) -> str:
    store_url = os.environ.get(variable_name, "")
    if store_url and not _OBJECT_STORE_URL.fullmatch(store_url):
        raise ConfigError(
            f"{variable_name} is not an address of an object store",
            received="(not shown: it may contain a secret)",
            way_out="Set it to s3://bucket/prefix and put keys into AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY; to use a local folder, unset it and choose another root",
        )
    return store_url.rstrip("/")


def mask_password(store_url: str) -> str:
    """Address for display, with its password masked.

    >>> mask_password("postgresql://ada:secret@db:5432/mlflow")
    'postgresql://ada:***@db:5432/mlflow'
    >>> mask_password("sqlite:///mlruns/mlflow.db")
    'sqlite:///mlruns/mlflow.db'
    """
    return redact_password(store_url, store_url)


def without_secrets(store_url: str) -> str:
    """Address for display, without user, password, query (may contain a signature) and fragment.

    >>> without_secrets("https://ada:secret@files.example/log.csv?signature=abc")
    'https://files.example/log.csv'
    """
    try:
        url_parts = urlsplit(store_url)
    except ValueError:
        return "(no address)"
    host_part = url_parts.netloc.rpartition("@")[2]
    return url_parts._replace(netloc=host_part, query="", fragment="").geturl()


def redact_password(message_text: str, store_url: str) -> str:
    """Text with the password of an address masked, in plain or URL-encoded form.

    Args:
        message_text: Text to mask, such as the message of a database driver.
        store_url: Address that contains the password.
    """
    try:
        url_parts = urlsplit(store_url)
    except ValueError:  # not an address; the text may be a bare password
        return message_text.replace(store_url, "***")
    secret_values = [
        url_parts.password or "",
        *(
            query_value
            for query_name, query_value in parse_qsl(url_parts.query)
            if query_name == "password"
        ),
    ]
    for password in secret_values:
        for secret_form in {password, unquote(password), quote(unquote(password), safe="")} - {""}:
            for text_before, text_after in ((":", "@"), ("password=", "")):
                message_text = message_text.replace(
                    f"{text_before}{secret_form}{text_after}", f"{text_before}***{text_after}"
                )
            message_text = (
                message_text
                if len(secret_form) < _SHORT
                else message_text.replace(secret_form, "***")
            )
    return message_text


_SHORT: Final = 4
"""Minimum length to mask a password anywhere; a shorter one may be part of an ordinary word."""


def _database_url(variable_name: str) -> str:
    return with_driver(os.environ.get(variable_name, ""))


def with_driver(store_url: str) -> str:
    """SQLAlchemy address that names the installed Postgres driver (psycopg).

    >>> with_driver("postgresql://db/shop")
    'postgresql+psycopg://db/shop'
    """
    return _DRIVER + store_url.removeprefix(_PLAIN) if store_url.startswith(_PLAIN) else store_url
