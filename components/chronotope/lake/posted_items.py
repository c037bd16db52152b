"""Items that were posted to a service: durable, append-only, shared by all of its workers.

A SQLite file in WAL mode whose commits reach the disk (``synchronous=FULL``) before ``append``
returns, beside the interaction log. Each record is one post. What is known of an item is the sum
of its posts: a later value replaces an earlier one, and a field that a later post leaves out
stays. An ingestion merges them into the table of items (``ingestion.posted_rows``).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Final

from chronotope.contracts import columns as c
from chronotope.runtime.private_files import store_errors
from chronotope.runtime.state import open_state, write_transaction

ItemFields = Mapping[str, str | float]
"""Values of an item by column, without ``item_id`` and without missing ones."""

_SUBJECT: Final = "The log of posted items"
_TABLE: Final = """
CREATE TABLE IF NOT EXISTS posted_items (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    item_id TEXT NOT NULL,
    fields TEXT NOT NULL,
    received_at TEXT NOT NULL
)
"""
_INDEX: Final = "CREATE INDEX IF NOT EXISTS posts_of_item ON posted_items (item_id, seq)"
_INSERT: Final = "INSERT INTO posted_items (item_id, fields, received_at) VALUES (?, ?, ?)"
_READ: Final = "SELECT seq, item_id, fields, received_at FROM posted_items WHERE seq > ?"
_OF_ITEM: Final = "SELECT fields FROM posted_items WHERE item_id = ? ORDER BY seq"


@dataclass(frozen=True, slots=True)
class ItemPost:
    """One post of an item.

    Attributes:
        seq: Position in the log; increases with every post.
        item_id: The item.
        fields: What the post says of it.
        received_at: Time of the acknowledgement, UTC.
    """

    seq: int
    item_id: str
    fields: ItemFields
    received_at: datetime


@dataclass(frozen=True, slots=True)
class PostedItem:
    """What all posts of an item say.

    Attributes:
        item_id: The item.
        fields: The latest value of each field.
        earlier: Values of each field that a later post replaced.
        first_posted_at: Time of its first post, UTC.
        seq: Position of its latest post.
    """

    item_id: str
    fields: ItemFields
    earlier: Mapping[str, frozenset[str | float]]
    first_posted_at: datetime
    seq: int


class PostedItems:
    """Log of posted items of one dataset; threads and processes may share the file.

    Attributes:
        path: The SQLite file.
    """

    def __init__(self, database_path: Path) -> None:
        """Open the log; the file is created if it is missing.

        Args:
            database_path: The SQLite file.

        Raises:
            StoreError: The file cannot be opened, or is no such log.
        """
        self.path, self._lock = database_path, Lock()
        with store_errors(_SUBJECT, self.path):
            self._connection = open_state(database_path, (_TABLE, _INDEX))

    def append(self, items: Sequence[tuple[str, ItemFields]]) -> int:
        """Append posts in one transaction; they are on the disk when this returns.

        A post that says nothing new of its item is not stored again.

        Args:
            items: Id and fields of each item.

        Returns:
            Number of posts that said something new.

        Raises:
            StoreError: The log could not be written.
        """
        received_at, n_new = datetime.now(UTC).isoformat(), 0
        with (
            self._lock,
            store_errors(_SUBJECT, self.path),
            write_transaction(self._connection),
        ):
            for item_id, fields in items:
                known_fields = self._known_fields(item_id)
                if known_fields is None or dict(fields).items() - known_fields.items():
                    fields_json = json.dumps(dict(fields), allow_nan=False, sort_keys=True)
                    self._connection.execute(_INSERT, (item_id, fields_json, received_at))
                    n_new += 1
        return n_new

    def read(self, after: int = 0) -> list[ItemPost]:
        """Posts after a position, in their order.

        Args:
            after: Position; 0 reads from the beginning.
        """
        with self._lock, store_errors(_SUBJECT, self.path):
            post_rows = self._connection.execute(f"{_READ} ORDER BY seq", (after,)).fetchall()
        return [_post(*post_row) for post_row in post_rows]

    def position(self) -> int:
        """Position of the latest post; 0 if there is none."""
        with self._lock, store_errors(_SUBJECT, self.path):
            position_query = "SELECT coalesce(max(seq), 0) FROM posted_items"
            return int(self._connection.execute(position_query).fetchone()[0])

    def item(self, item_id: str) -> PostedItem | None:
        """What is known of one posted item; None if it was not posted.

        Args:
            item_id: The item.
        """
        with self._lock, store_errors(_SUBJECT, self.path):
            post_rows = self._connection.execute(
                f"{_READ} AND item_id = ? ORDER BY seq", (0, item_id)
            ).fetchall()
        return sum_of_posts([_post(*post_row) for post_row in post_rows]).get(item_id)

    def items(self) -> dict[str, PostedItem]:
        """What is known of each posted item, by id, in the order of their first posts."""
        return sum_of_posts(self.read())

    def close(self) -> None:
        """Close the file; acknowledged posts are durable."""
        with self._lock:
            self._connection.close()

    def _known_fields(self, item_id: str) -> dict[str, str | float] | None:
        post_rows = self._connection.execute(_OF_ITEM, (item_id,)).fetchall()
        if not post_rows:
            return None
        known_fields: dict[str, str | float] = {}
        for (fields,) in post_rows:
            known_fields |= json.loads(fields)
        return known_fields


def _post(seq: int, item_id: str, fields: str, received_at: str) -> ItemPost:
    return ItemPost(seq, item_id, json.loads(fields), datetime.fromisoformat(received_at))


def sum_of_posts(
    posts: Sequence[ItemPost], known_fields: Mapping[str, PostedItem] | None = None
) -> dict[str, PostedItem]:
    """Known items with further posts, by id.

    Args:
        posts: Posts in their order.
        known_fields: What earlier posts say.

    Example:
        >>> when = datetime(2026, 1, 1, tzinfo=UTC)
        >>> posts = [ItemPost(1, "a", {"title": "A", "lat": 1.0}, when)]
        >>> posts.append(ItemPost(2, "a", {"title": "B"}, when))
        >>> sum_of_posts(posts)["a"].fields
        {'title': 'B', 'lat': 1.0}
    """
    items = dict(known_fields or {})
    for item_post in posts:
        item_before = items.get(item_post.item_id)
        if item_before is None:
            items[item_post.item_id] = PostedItem(
                item_post.item_id, dict(item_post.fields), {}, item_post.received_at, item_post.seq
            )
            continue
        replaced_values = {
            column_name: item_before.earlier.get(column_name, frozenset())
            | {item_before.fields[column_name]}
            for column_name, field_value in item_post.fields.items()
            if column_name in item_before.fields and item_before.fields[column_name] != field_value
        }
        items[item_post.item_id] = PostedItem(
            item_post.item_id,
            {**item_before.fields, **item_post.fields},
            {**item_before.earlier, **replaced_values},
            item_before.first_posted_at,
            item_post.seq,
        )
    return items


def with_posted_fields(post_row: Mapping[str, object], posted: PostedItem) -> dict[str, object]:
    """A row of the items table with what was posted of the item.

    A value that the source of the catalogue states stays. Posted values fill what it leaves
    empty, and replace values that an earlier post had filled in.

    Args:
        post_row: Values by column, without the item's id or with it.
        posted: What was posted.
    """
    filled_row = dict(post_row)
    for column_name, field_value in posted.fields.items():
        stored_value = filled_row.get(column_name)
        if stored_value is None or stored_value in posted.earlier.get(column_name, frozenset()):
            filled_row[column_name] = field_value
    return {c.ITEM_ID: posted.item_id, **filled_row}
