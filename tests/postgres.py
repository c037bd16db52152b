"""A real Postgres for tests: a folder and a free port of its own, gone behind the block."""

import os
import pwd
import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

DEADLINE_S = 120
USER = "chronotope"


@dataclass(frozen=True)
class Postgres:
    """A running server; databases are made by name."""

    port: int
    password: str

    def url(self, database: str, scheme: str = "postgresql") -> str:
        """Address of a database, created when new."""
        with self.connected("postgres") as connection:
            known = connection.execute("SELECT datname FROM pg_database").fetchall()
            if (database,) not in known:
                connection.execute(f'CREATE DATABASE "{database}"')
        return f"{scheme}://{USER}:{self.password}@127.0.0.1:{self.port}/{database}"

    def rows(self, database: str, query: str) -> list[tuple[Any, ...]]:
        """What a query finds."""
        with self.connected(database) as connection:
            return list(connection.execute(query).fetchall())

    def connected(self, database: str) -> Any:
        """A connection to a database, to be used in a ``with``."""
        import psycopg

        where = {"host": "127.0.0.1", "port": self.port, "dbname": database}
        return psycopg.connect(**where, user=USER, password=self.password, autocommit=True)


@contextmanager
def postgres() -> Iterator[Postgres]:
    """Start a server; skip where there is none.

    Its folder is not the test's: another user runs it, who may not walk there, and the path
    of a socket is short.
    """
    binaries, as_person = _binaries(), _person()
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        folder, server = Path(name), Postgres(_free_port(), secrets.token_hex(16))
        (folder / "password").write_text(server.password)
        if as_person:
            for path in (folder, folder / "password"):
                shutil.chown(path, as_person[2])
        cluster = ("-D", str(folder / "data"))
        about = ("-U", USER, "-A", "scram-sha-256", "--pwfile", str(folder / "password"), "-N")
        _run([*as_person, str(binaries / "initdb"), *cluster, *about], folder)
        options = f"-c listen_addresses=127.0.0.1 -p {server.port} -k {folder} -c fsync=off"
        control = [*as_person, str(binaries / "pg_ctl"), *cluster, "-l", str(folder / "log"), "-w"]
        try:
            _run([*control, "-t", str(DEADLINE_S), "-o", options, "start"], folder)
            yield server
        finally:
            _run([*control, "-m", "immediate", "stop"], folder)


def _binaries() -> Path:
    pytest.importorskip("psycopg", reason="needs psycopg: the extra `scale`")
    found = shutil.which("initdb")
    places = [Path(found).parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not places:
        pytest.skip("needs the programs of a Postgres server")
    return places[-1]


def _person() -> tuple[str, ...]:
    """Words that let somebody else run a program: Postgres refuses root."""
    if os.geteuid() != 0:
        return ()
    if shutil.which("runuser") is None or "postgres" not in {of.pw_name for of in pwd.getpwall()}:
        pytest.skip("Postgres refuses root, and there is no user postgres to run it")
    return ("runuser", "-u", "postgres", "--")


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _run(command: Sequence[str], folder: Path) -> None:
    with (folder / "said").open("wb") as said:  # a pipe would stay open in the server
        subprocess.run(command, check=True, stdout=said, stderr=said, cwd=folder)  # noqa: S603
