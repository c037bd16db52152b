"""Where stores live: a database below the root, or one that the environment names.

Addresses may hold passwords, so they are read from the environment alone, never from settings
or YAML, and shown without their password.
"""

import os
from pathlib import Path
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

MLFLOW_URL: Final = "CHRONOTOPE_MLFLOW_URL"
"""Variable with the address of MLflow's store, such as ``postgresql://user:secret@host/mlflow``."""

OPTUNA_URL: Final = "CHRONOTOPE_OPTUNA_URL"
"""Variable with the address of the studies' database."""

_PLAIN: Final = "postgresql://"
_DRIVER: Final = "postgresql+psycopg://"
"""SQLAlchemy reads the plain form as another driver than the one that is installed with us."""


def mlflow_url(mlruns: Path) -> str:
    """Address of MLflow's store.

    Args:
        mlruns: Folder of the SQLite file if the environment names no other.
    """
    return _named(MLFLOW_URL) or f"sqlite:///{mlruns.resolve() / 'mlflow.db'}"


def optuna_url(mlruns: Path) -> str:
    """Address of the studies' database.

    Args:
        mlruns: Folder of the SQLite file if the environment names no other.
    """
    return _named(OPTUNA_URL) or f"sqlite:///{mlruns.resolve() / 'optuna.db'}"


def masked(url: str) -> str:
    """An address to show: without its password.

    >>> masked("postgresql://ada:secret@db:5432/mlflow")
    'postgresql://ada:***@db:5432/mlflow'
    >>> masked("sqlite:///mlruns/mlflow.db")
    'sqlite:///mlruns/mlflow.db'
    """
    return hidden(url, url)


def hidden(text: str, url: str) -> str:
    """A text without the password of an address, in whatever form it stands there.

    Args:
        text: Such as what a database driver said.
        url: The address that it was given.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # no address at all; it may be nothing but a password
        return text.replace(url, "***")
    told = [parts.password or "", *(v for k, v in parse_qsl(parts.query) if k == "password")]
    for password in told:
        for form in {password, unquote(password), quote(unquote(password), safe="")} - {""}:
            for before, after in ((":", "@"), ("password=", "")):
                text = text.replace(f"{before}{form}{after}", f"{before}***{after}")
            text = text if len(form) < _SHORT else text.replace(form, "***")
    return text


_SHORT: Final = 4
"""A shorter password may be part of any word: it is hidden where one stands, no further."""


def _named(variable: str) -> str:
    return driven(os.environ.get(variable, ""))


def driven(url: str) -> str:
    """An address for SQLAlchemy: Postgres by the driver that is installed with us.

    >>> driven("postgresql://db/shop")
    'postgresql+psycopg://db/shop'
    """
    return _DRIVER + url.removeprefix(_PLAIN) if url.startswith(_PLAIN) else url
