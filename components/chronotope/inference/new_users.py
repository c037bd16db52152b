"""What a request says of a user with few events: attributes, and items the user likes.

Attributes of a known user come from the users table of the lake; those of the request replace them.
Liked items count as events of the last minutes before the request, and are not recommended.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import pyarrow.dataset as pads

from chronotope.contracts import columns as c
from chronotope.contracts.event_log import Int32
from chronotope.contracts.user_attributes import (
    AttributeColumn,
    AttributeValue,
    Codes,
    attribute_context,
    context_columns,
    encode_users,
)
from chronotope.inference.history import UserHistory
from chronotope.lake import Lake
from chronotope.lake.text_filter import text_equals

_LIKE_GAP_S: Final = 60
"""Seconds between liked items, and from the last one to the request."""


@dataclass(frozen=True, slots=True)
class UserLevels:
    """Attributes of the users of the lake, as a model reads them.

    Attributes:
        columns: Attributes that the model reads.
        row_of_user: Row of each user's codes.
        codes: Index of the level of each user and column, row 0 unknown.
    """

    columns: tuple[AttributeColumn, ...]
    row_of_user: dict[str, int]
    codes: Codes

    @classmethod
    def read(
        cls, lake: Lake, columns: tuple[AttributeColumn, ...], user_id: str | None = None
    ) -> Self:
        """Read the users table; nothing is read for a model without attributes.

        Args:
            lake: The dataset's lake.
            columns: Attributes that the model reads.
            user_id: The only user to read; None reads all.
        """
        if not columns or not lake.exists("users"):
            return cls(columns, {}, np.zeros((1, len(columns)), np.int32))
        user_table = lake.dataset("users")
        names = [column.name for column in columns if column.name in user_table.schema.names]
        is_wanted: pads.Expression | None = (
            None if user_id is None else text_equals(c.USER_ID, user_id)
        )
        rows = user_table.to_table(columns=[c.USER_ID, *names], filter=is_wanted)
        row_of_user = {str(user): row for row, user in enumerate(rows[c.USER_ID].to_pylist(), 1)}
        return cls(columns, row_of_user, encode_users(rows, columns))

    def context(
        self, user_id: str | None, attributes: Mapping[str, AttributeValue]
    ) -> dict[str, float]:
        """Context columns of a request, see ``attribute_context``.

        Args:
            user_id: External id; None, or an unknown one, has no stored attributes.
            attributes: Values of the request, which replace the stored ones.

        Raises:
            ConfigError: The model does not read an attribute, or its value is no number.
        """
        given = attribute_context(attributes, self.columns)
        if user_id is None or not self.columns:
            return given
        codes = self.codes[self.row_of_user.get(user_id, 0)]  # (n_columns,)
        stored = zip(context_columns(self.columns), codes.tolist(), strict=True)
        return {name: float(code) for name, code in stored if code} | given


def with_liked_items(
    history: UserHistory, liked_idx: Int32, request_s: int, *, items_are_places: bool
) -> UserHistory:
    """History with liked items as the latest events, at the user's latest place.

    Args:
        history: Events before the request.
        liked_idx: Indices of liked items in the order given, shape (n,); 0 is left out.
        request_s: Time of the request, UTC seconds.
        items_are_places: Whether the item is the place.
    """
    liked_idx = liked_idx[liked_idx > 0]
    if not len(liked_idx):
        return history
    has_events = len(history) > 0
    liked_s = request_s - _LIKE_GAP_S * np.arange(len(liked_idx), 0, -1)
    last_s = int(history.occurred_s[-1]) if has_events else 0
    place_idx = np.full_like(liked_idx, history.place_idx[-1] if has_events else 0)
    offset_min = np.full_like(liked_idx, history.utc_offset_min[-1] if has_events else 0)
    return UserHistory(
        np.concatenate([history.item_idx, liked_idx]),
        np.concatenate([history.place_idx, liked_idx if items_are_places else place_idx]),
        np.concatenate([history.occurred_s, np.maximum(liked_s, last_s)]),
        np.concatenate([history.utc_offset_min, offset_min]),
    )


def liked_notes(liked_items: Sequence[str], liked_idx: Int32) -> tuple[str, ...]:
    """Notes on liked items that the model does not know.

    Args:
        liked_items: Ids of the request.
        liked_idx: Their indices, 0 if unknown, shape (n,).
    """
    n_unknown = int((liked_idx == 0).sum())
    if not n_unknown:
        return ()
    return (f"{n_unknown} of {len(liked_items)} liked items are unknown to the model.",)
