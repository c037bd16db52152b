"""Promotion journal: one SQLite table, written under an immediate lock."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from chronotope.contracts.errors import PromotionConflict, StoreError
from chronotope.runtime.private_files import private_database

CHAMPION: Final = "champion"
CHALLENGER: Final = "challenger"
"""Aliases of a registered model; the champion's follows the journal."""

PromotionState = Literal["intent", "committed", "aborted"]

TABLE: Final = """
CREATE TABLE IF NOT EXISTS promotions (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL,
    version TEXT NOT NULL,
    previous TEXT,
    kind TEXT NOT NULL CHECK (kind IN ('promote', 'rollback')),
    key TEXT NOT NULL,
    reason TEXT NOT NULL,
    state TEXT NOT NULL CHECK (state IN ('intent', 'committed', 'aborted')),
    opened_at TEXT NOT NULL
)
"""
INDEXES: Final = (
    "CREATE UNIQUE INDEX IF NOT EXISTS one_intent ON promotions (name) WHERE state = 'intent'",
    "CREATE UNIQUE INDEX IF NOT EXISTS one_key ON promotions (name, key) WHERE state != 'aborted'",
)
COLUMNS: Final = "id, name, version, previous, kind, key, reason, state, opened_at"


@dataclass(frozen=True, slots=True)
class Promotion:
    """Entry of the promotion journal.

    Attributes:
        id: Position in the journal.
        name: Registered model.
        version: The version made champion.
        previous: The champion before; None if there was none.
        kind: ``promote`` or ``rollback``.
        key: Idempotency key.
        reason: Reason of the promotion.
        state: ``intent``, ``committed`` or ``aborted``.
        opened_at: When the intent was written, UTC.
    """

    id: int
    name: str
    version: str
    previous: str | None
    kind: Literal["promote", "rollback"]
    key: str
    reason: str
    state: PromotionState
    opened_at: datetime


@dataclass(frozen=True, slots=True)
class JournalReader:
    """Reader of the promotion journal through one connection.

    Attributes:
        connection: An open connection.
    """

    connection: sqlite3.Connection

    def entries(self, name: str) -> list[Promotion]:
        """All lines of a model, oldest first."""
        entry_rows = self.connection.execute(
            f"SELECT {COLUMNS} FROM promotions WHERE name = ? ORDER BY id",  # noqa: S608
            (name,),
        )
        return [
            Promotion(*(*entry_row[:-1], datetime.fromisoformat(entry_row[-1])))
            for entry_row in entry_rows
        ]

    def champion_periods(self, name: str) -> list[Promotion]:
        """Promotions that were not rolled back, oldest first; the last one is the champion."""
        exit_stack: list[Promotion] = []
        for new_entry in self.entries(name):
            if new_entry.state == "committed" and new_entry.kind == "promote":
                exit_stack.append(new_entry)
            elif new_entry.state == "committed":
                exit_stack.pop()
        return exit_stack

    def champion(self, name: str) -> str | None:
        """Version of the champion; None if nothing was promoted."""
        periods = self.champion_periods(name)
        return periods[-1].version if periods else None

    def pending(self, name: str) -> Promotion | None:
        """The unfinished promotion, if there is one."""
        return next(
            (
                journal_entry
                for journal_entry in self.entries(name)
                if journal_entry.state == "intent"
            ),
            None,
        )


@dataclass(frozen=True, slots=True)
class PromotionJournal:
    """Promotion journal in an SQLite file.

    Attributes:
        path: The SQLite file; created when new.
    """

    path: Path

    @contextmanager
    def locked(self) -> Iterator[JournalReader]:
        """Hold the write lock; reads inside the block stay current until its end.

        Raises:
            StoreError: The file cannot be opened, or is no such journal.
        """
        with _refusals(self.path), closing(_connected(self.path)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for sql_statement in (TABLE, *INDEXES):
                connection.execute(sql_statement)
            try:
                yield JournalReader(connection)
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    def champion(self, name: str) -> str | None:
        """Version of the champion; None if nothing was promoted."""
        with self.locked() as journal_reader:
            return journal_reader.champion(name)

    def pending(self, name: str) -> Promotion | None:
        """The unfinished promotion, if there is one."""
        with self.locked() as journal_reader:
            return journal_reader.pending(name)

    def entries(self, name: str) -> list[Promotion]:
        """All lines of a model, oldest first."""
        with self.locked() as journal_reader:
            return journal_reader.entries(name)

    def open_intent(
        self, name: str, version: str, *, expected: str | None, key: str, reason: str
    ) -> Promotion:
        """Compare the champion and write the intent, in one transaction.

        Returns:
            The new intent, or the line already written under this key.

        Raises:
            PromotionConflict: Another champion, a pending intent or another use of the key.
            StoreError: The version is the champion already.
        """
        with self.locked() as journal_reader:
            same_key = _with_key(journal_reader, name, key)
            if same_key is not None and same_key.version == version:
                return same_key
            if same_key is not None:
                raise PromotionConflict(
                    "The key was used for another version",
                    received=f"{key!r}, used for {same_key.version}",
                )
            _compare(journal_reader, name, expected)
            if version == expected:
                raise StoreError("The version is the champion already", received=version)
            return _insert(journal_reader, name, version, kind="promote", key=key, reason=reason)

    def open_rollback(self, name: str, *, expected: str | None, reason: str) -> Promotion:
        """Write the intent to return to the earlier champion.

        Raises:
            StoreError: There is no earlier champion.
            PromotionConflict: Another champion, or another promotion is under way.
        """
        with self.locked() as journal_reader:
            _compare(journal_reader, name, expected)
            periods = journal_reader.champion_periods(name)
            if len(periods) < 2:
                raise StoreError(
                    "There is no earlier champion to return to",
                    received=f"{name}: {[new_entry.version for new_entry in periods]}",
                    way_out="Promote another version instead",
                )
            key = f"rollback of line {journal_reader.entries(name)[-1].id}"
            version = periods[-2].version
            return _insert(journal_reader, name, version, kind="rollback", key=key, reason=reason)

    def settle(self, promotion_intent: Promotion, state: PromotionState) -> Promotion:
        """Give an intent its final state; a line already settled is left as it is."""
        with self.locked() as journal_reader:
            journal_reader.connection.execute(
                "UPDATE promotions SET state = ? WHERE id = ? AND state = 'intent'",
                (state, promotion_intent.id),
            )
            return next(
                journal_entry
                for journal_entry in journal_reader.entries(promotion_intent.name)
                if journal_entry.id == promotion_intent.id
            )


def _connected(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(private_database(path), timeout=60, isolation_level=None)


@contextmanager
def _refusals(path: Path) -> Iterator[None]:
    """Convert SQLite errors and invalid rows to a StoreError with advice."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StoreError(
            "The journal of promotions cannot be read or written",
            received=f"{path}: {error}",
            way_out="Check free disk space, and that its folder is writable and no other process "
            f"holds it; if it is damaged, {_REPAIR}",
        ) from error
    except sqlite3.DatabaseError as error:
        raise StoreError(
            "The journal of promotions is damaged", received=f"{path}: {error}", way_out=_REPAIR
        ) from error


_REPAIR: Final = "`chronotope doctor --repair` carries over what can be read"


def _compare(journal_reader: JournalReader, name: str, expected: str | None) -> None:
    pending, champion = journal_reader.pending(name), journal_reader.champion(name)
    if pending is not None or champion != expected:
        raise PromotionConflict(
            f"Somebody else promotes or promoted {name!r}",
            received=f"expected {expected}, found {champion}, pending {pending}",
            way_out="Compare with the present champion and promote again",
        )


def _with_key(journal_reader: JournalReader, name: str, key: str) -> Promotion | None:
    matching_entries = (
        journal_entry
        for journal_entry in journal_reader.entries(name)
        if journal_entry.key == key and journal_entry.state != "aborted"
    )
    return next(matching_entries, None)


def _insert(
    journal_reader: JournalReader,
    name: str,
    version: str,
    *,
    kind: Literal["promote", "rollback"],
    key: str,
    reason: str,
) -> Promotion:
    current_time = datetime.now(UTC)
    new_entry = Promotion(
        0, name, version, journal_reader.champion(name), kind, key, reason, "intent", current_time
    )
    insert_cursor = journal_reader.connection.execute(
        "INSERT INTO promotions (name, version, previous, kind, key, reason, state, opened_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            name,
            version,
            new_entry.previous,
            kind,
            key,
            reason,
            new_entry.state,
            current_time.isoformat(),
        ),
    )
    return replace(new_entry, id=int(insert_cursor.lastrowid or 0))
