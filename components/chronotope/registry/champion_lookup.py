"""Look-up of a champion in the databases below the root, without importing MLflow.

Importing MLflow takes longer than answering a user. So whoever only opens the champion reads the
journal of promotions and the tables of MLflow's SQLite file, read-only. Every fact has to be
there, and they have to agree: no promotion pending, the alias at the journal's champion, the
version not deleted. Otherwise, and for a registry on a server, MLflow's client is asked, which
also settles what a killed promotion left behind.
"""

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chronotope.registry.promotion_journal import CHAMPION, PromotionJournal
from chronotope.registry.version_files import CHECKSUM
from chronotope.runtime.state import state_exists
from chronotope.runtime.store_urls import MLFLOW_URL

_BUSY_S: Final = 5.0
"""Seconds to wait for a writer of MLflow's database."""

_QUERY: Final = """
SELECT versions.source, tags.value
FROM registered_model_aliases AS aliases
JOIN model_versions AS versions USING (workspace, name, version)
LEFT JOIN model_version_tags AS tags
    ON tags.workspace = versions.workspace AND tags.name = versions.name
    AND tags.version = versions.version AND tags.key = :checksum_tag
WHERE aliases.workspace = 'default' AND aliases.name = :name AND aliases.alias = :alias
    AND aliases.version = :version AND versions.current_stage <> 'Deleted_Internal'
"""


@dataclass(frozen=True, slots=True)
class ChampionRecord:
    """Champion as registered.

    Attributes:
        version: Its version.
        source: Address of its files.
        checksum: Checksum of its bundle; None if it was registered without a manifest.
    """

    version: str
    source: str
    checksum: str | None


def read_champion_record(mlruns_dir: Path, name: str) -> ChampionRecord | None:
    """The champion of a model as journal and registry agree on it; None asks MLflow's client.

    Args:
        mlruns_dir: Folder of both databases.
        name: Registered model.

    Raises:
        StoreError: The journal is damaged or cannot be read.
    """
    database_path, journal_path = mlruns_dir / "mlflow.db", mlruns_dir / "promotions.db"
    if MLFLOW_URL in os.environ or not (database_path.is_file() and state_exists(journal_path)):
        return None
    with PromotionJournal(journal_path).locked() as journal_reader:
        version, is_pending = journal_reader.champion(name), journal_reader.pending(name)
    if version is None or is_pending is not None:
        return None
    query_values = {
        "name": name,
        "alias": CHAMPION,
        "version": int(version),
        "checksum_tag": CHECKSUM,
    }
    database_uri = f"{database_path.resolve().as_uri()}?mode=ro"
    try:
        with closing(sqlite3.connect(database_uri, uri=True, timeout=_BUSY_S)) as database:
            version_row = database.execute(_QUERY, query_values).fetchone()
    except sqlite3.Error:  # locked, damaged, or with other tables: MLflow's client reports it
        return None
    return None if version_row is None else ChampionRecord(version, *version_row)
