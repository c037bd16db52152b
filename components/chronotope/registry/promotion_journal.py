"""Promotion journal: table of promotions and rollbacks, written under a lock.

It is a SQLite file, or a schema of the state database (``runtime.state``).
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from chronotope.contracts.errors import PromotionConflict, StoreError
from chronotope.runtime.state import StateConnection, open_state, write_transaction

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
        version: Version that becomes the champion.
        previous: Champion before it; None if there was none.
        kind: ``promote`` or ``rollback``.
        key: Idempotency key.
        reason: Reason of the promotion.
        state: ``intent``, ``committed`` or ``aborted``.
        opened_at: Time at which the intent was written, UTC.
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

    connection: StateConnection

    def entries(self, name: str) -> list[Promotion]:
        """All entries of a model, oldest first."""
        entry_rows = self.connection.execute(
            f"SELECT {COLUMNS} FROM promotions WHERE name = ? ORDER BY id",  # noqa: S608
            (name,),
        ).fetchall()
        return [
            Promotion(*(*entry_row[:-1], datetime.fromisoformat(entry_row[-1])))
            for entry_row in entry_rows
        ]

    def champion_periods(self, name: str) -> list[Promotion]:
        """Promotions that were not rolled back, oldest first; the last one is the champion."""
        periods: list[Promotion] = []
        for journal_entry in self.entries(name):
            if journal_entry.state == "committed" and journal_entry.kind == "promote":
                periods.append(journal_entry)
            elif journal_entry.state == "committed":
                periods.pop()
        return periods

    def champion(self, name: str) -> str | None:
        """Version of the champion; None if nothing was promoted."""
        periods = self.champion_periods(name)
        return periods[-1].version if periods else None

    def pending(self, name: str) -> Promotion | None:
        """The unfinished promotion; None if there is none."""
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
    """Promotion journal of an installation.

    Attributes:
        path: The SQLite file, or name of the journal in the state database; created if missing.
    """

    path: Path

    @contextmanager
    def locked(self) -> Iterator[JournalReader]:
        """Hold the write lock; what is read inside the block stays current until its end.

        Raises:
            StoreError: The file cannot be opened, or is not a promotion journal.
        """
        with (
            _translate_errors(self.path),
            closing(open_state(self.path, (TABLE, *INDEXES), journal_mode="DELETE")) as connection,
            write_transaction(connection),
        ):
            yield JournalReader(connection)

    def champion(self, name: str) -> str | None:
        """Version of the champion; None if nothing was promoted."""
        with self.locked() as journal_reader:
            return journal_reader.champion(name)

    def pending(self, name: str) -> Promotion | None:
        """The unfinished promotion; None if there is none."""
        with self.locked() as journal_reader:
            return journal_reader.pending(name)

    def entries(self, name: str) -> list[Promotion]:
        """All entries of a model, oldest first."""
        with self.locked() as journal_reader:
            return journal_reader.entries(name)

    def open_intent(
        self, name: str, version: str, *, expected: str | None, key: str, reason: str
    ) -> Promotion:
        """Compare the champion with the expected one and write an intent, in one transaction.

        Returns:
            The new intent, or the existing entry with this key.

        Raises:
            PromotionConflict: The champion is another one, a promotion is unfinished, or the key
                was used for another version.
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
        """Write an intent to return to the previous champion.

        Raises:
            StoreError: There is no earlier champion.
            PromotionConflict: The champion is another one, or a promotion is unfinished.
        """
        with self.locked() as journal_reader:
            _compare(journal_reader, name, expected)
            periods = journal_reader.champion_periods(name)
            if len(periods) < 2:
                raise StoreError(
                    "There is no earlier champion to return to",
                    received=f"{name}: {[journal_entry.version for journal_entry in periods]}",
                    way_out="Promote another version instead",
                )
            key = f"rollback of line {journal_reader.entries(name)[-1].id}"
            version = periods[-2].version
            return _insert(journal_reader, name, version, kind="rollback", key=key, reason=reason)

    def settle(self, promotion_intent: Promotion, state: PromotionState) -> Promotion:
        """Set the final state of an intent; an entry that is already settled is not changed."""
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


@contextmanager
def _translate_errors(path: Path) -> Iterator[None]:
    """Translate SQLite errors into ``StoreError``."""
    try:
        yield
    except sqlite3.OperationalError as error:
        raise StoreError(
            "The journal of promotions cannot be read or written",
            received=f"{path}: {error}",
            way_out="Check free disk space, that its folder is writable, and that no other process "
            f"has locked it; if it is damaged, {_REPAIR}",
        ) from error
    except sqlite3.DatabaseError as error:
        raise StoreError(
            "The journal of promotions is damaged", received=f"{path}: {error}", way_out=_REPAIR
        ) from error


_REPAIR: Final = "`chronotope doctor --repair` copies the readable entries to a new file"


def _compare(journal_reader: JournalReader, name: str, expected: str | None) -> None:
    pending, champion = journal_reader.pending(name), journal_reader.champion(name)
    if pending is not None or champion != expected:
        raise PromotionConflict(
            f"Another promotion of {name!r} is under way or came first",
            received=f"champion {champion}, expected {expected}, unfinished {pending}",
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
    ((entry_id,),) = journal_reader.connection.execute(
        "INSERT INTO promotions (name, version, previous, kind, key, reason, state, opened_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
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
    ).fetchall()
    return replace(new_entry, id=int(entry_id))
