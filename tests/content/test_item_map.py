"""Map of the items: neighbours in content are neighbours on the map; the layout is repeatable."""

import numpy as np
import pytest

from chronotope.content.content_axes import project_items
from chronotope.content.item_map import MAX_MAPPED, lay_out, mapped_items
from chronotope.contracts.item_content import ItemContent


def clustered(n_groups: int, n_each: int) -> ItemContent:
    rng = np.random.default_rng(0)
    centres = np.repeat(rng.normal(size=(n_groups, 16)), n_each, axis=0)
    vectors = centres + 0.1 * rng.normal(size=centres.shape)
    rows = np.concatenate([np.zeros((1, 16)), vectors]).astype(np.float32)
    return project_items({"text": rows}, {"text": "hand"})


def test_groups_lie_together() -> None:
    content, n_each = clustered(5, 30), 30
    item_idx = np.arange(1, 5 * n_each + 1)
    placed = lay_out(content, item_idx)
    assert placed.min() == 0
    assert placed.max() == 1
    distance = np.linalg.norm(placed[:, None] - placed[None], axis=2)
    np.fill_diagonal(distance, np.inf)
    nearest = distance.argmin(axis=1)
    assert ((nearest // n_each) == (item_idx - 1) // n_each).mean() > 0.95
    np.testing.assert_array_equal(placed, lay_out(content, item_idx))


@pytest.mark.parametrize("n_items", [0, 1, 2, 3, 4])
def test_a_few_items_have_a_place(n_items: int) -> None:
    placed = lay_out(clustered(2, 3), np.arange(1, n_items + 1))
    assert placed.shape == (n_items, 2)
    assert ((placed >= 0) & (placed <= 1)).all()


def test_items_without_content_are_left_out_and_frequent_ones_come_first() -> None:
    content = clustered(3, 400)
    content.vectors[7] = 0.0
    n_events = np.arange(len(content.vectors))
    chosen = mapped_items(content, n_events)
    assert len(chosen) == MAX_MAPPED
    assert chosen[0] == len(content.vectors) - 1
    assert not {0, 7} & set(chosen.tolist())
    assert set(mapped_items(content, n_events[::-1].copy()).tolist()) >= {1, 2, 3}
