"""Copy of the predictions in a table of a database, replaced in one transaction."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Self

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from chronotope.contracts.errors import ConfigError, StoreError
from chronotope.datasets.databases import expand_url, sqlite_file
from chronotope.runtime.allowed_paths import require_allowed_path
from chronotope.runtime.store_urls import mask_password, redact_password, with_driver
from chronotope.scoring.exported_rows import FLAT, flatten_places

_INSERT_ROWS: Final = 5_000
"""Rows of one statement: as Python objects they take many times the memory of Arrow."""


@dataclass(frozen=True, slots=True)
class SqlTarget:
    """Table of a database.

    Attributes:
        url: SQLAlchemy URL with its password.
        table: The table, which is created if it is missing.
    """

    url: str
    table: sa.Table

    @classmethod
    def parse(cls, url: str, table_name: str) -> Self:
        """Target of a URL; $VARIABLES are expanded as in the URL of a dataset's YAML.

        Args:
            url: SQLAlchemy URL.
            table_name: Name of the table.

        Raises:
            ConfigError: It is not a URL, or an SQLite file outside the folders of flows.
            SourceError: A variable is not set, or stands in a part that is not allowed.
        """
        driver_url = with_driver(expand_url(url))
        try:
            sa.make_url(driver_url)
        except (SQLAlchemyError, ValueError):
            raise ConfigError(
                "Not a database URL",
                received=redact_password(url, url),
                way_out="Write it in the format of SQLAlchemy, such as postgresql://host/shop",
            ) from None
        database_path = sqlite_file(driver_url)
        if database_path is not None and not require_allowed_path(database_path).parent.is_dir():
            raise ConfigError(
                "The folder of the SQLite database does not exist",
                received=database_path,
                way_out="Create the folder or choose another path",
            )
        columns = [
            sa.Column(field.name, _sql_type(field.type), nullable=field.nullable) for field in FLAT
        ]
        return cls(driver_url, sa.Table(table_name, sa.MetaData(), *columns))

    @property
    def label(self) -> str:
        """Address with its password masked, and the table."""
        return f"{mask_password(self.url)}, table {self.table.name}"

    def check(self) -> None:
        """Check that the database responds and that the table has the columns, if it exists.

        Raises:
            StoreError: It does not.
        """
        with self._transaction() as database_connection:
            self._check_columns(database_connection)

    def write(self, rows: Iterator[pa.RecordBatch]) -> int:
        """Replace all rows of the table in one transaction; readers see the old or the new ones.

        Raises:
            StoreError: The database refuses it; the table keeps its rows.
        """
        n_rows = 0
        with self._transaction() as database_connection:
            self._check_columns(database_connection)
            self.table.create(database_connection, checkfirst=True)
            database_connection.execute(self.table.delete())
            for batch in map(flatten_places, rows):
                for start in range(0, len(batch), _INSERT_ROWS):
                    sql_rows = batch.slice(start, _INSERT_ROWS).to_pylist()
                    database_connection.execute(self.table.insert(), sql_rows)
                n_rows += len(batch)
        return n_rows

    def _check_columns(self, connection: sa.Connection) -> None:
        inspector = sa.inspect(connection)
        if not inspector.has_table(self.table.name):
            return
        present = {column["name"] for column in inspector.get_columns(self.table.name)}
        missing = sorted(set(self.table.columns.keys()) - present)
        if missing:
            raise StoreError(
                f"The table {self.table.name!r} of the database lacks columns of the predictions",
                received=", ".join(missing),
                way_out="Drop the table, or name another one with --sql-table",
            )

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        """Connection in a transaction; messages of errors do not contain the password."""
        try:
            engine = sa.create_engine(self.url, hide_parameters=True)  # they are user ids
            try:
                with engine.begin() as database_connection:
                    yield database_connection
            finally:
                engine.dispose()
        except (SQLAlchemyError, ImportError) as error:
            raise StoreError(
                "The database refused the copy of the predictions",
                received=redact_password(str(error), self.url),
                way_out="Check the URL, the permission to create and fill the table, and that "
                "the database driver is installed; the table in the lake is complete",
            ) from None  # the message of the cause may contain the password


def _sql_type(arrow_type: pa.DataType) -> sa.types.TypeEngine[Any]:
    if pa.types.is_timestamp(arrow_type):
        return sa.DateTime(timezone=True)
    if pa.types.is_boolean(arrow_type):
        return sa.Boolean()
    if pa.types.is_integer(arrow_type):
        return sa.Integer()
    return sa.Double() if pa.types.is_floating(arrow_type) else sa.Text()
