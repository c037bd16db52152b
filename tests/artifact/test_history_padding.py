"""A batch is as wide as its longest history asks, whatever is padding."""

from dataclasses import replace

import numpy as np
import pytest

from chronotope.artifact.history_padding import padded_length
from chronotope.contracts.queries import queries_at
from chronotope.testing.recommender_suite import padded, sample_log

QUERIES = queries_at(sample_log(), np.arange(3, 100, 7), history_len=20, time_given=True)
LONGEST = int((QUERIES.item_idx > 0).sum(1).max())


@pytest.mark.parametrize("more", [0, 5, 500])
def test_padding_is_not_counted(more: int) -> None:
    queries = padded(QUERIES, more) if more else QUERIES
    assert padded_length(queries, [LONGEST - 1, LONGEST, LONGEST + 1]) == LONGEST


def test_an_event_of_an_unknown_item_is_counted() -> None:
    items = QUERIES.item_idx.copy()
    items[:, -LONGEST] = 0
    assert padded_length(replace(QUERIES, item_idx=items), [LONGEST - 1, LONGEST]) == LONGEST


def test_the_ends_of_the_lengths() -> None:
    nothing = np.zeros_like(QUERIES.item_idx)
    empty = replace(QUERIES, item_idx=nothing, occurred_s=nothing.astype(np.int64))
    assert padded_length(empty, [4, 8]) == 4
    assert padded_length(QUERIES, [2, 3]) == 3
