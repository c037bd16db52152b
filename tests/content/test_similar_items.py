"""Items without events get what the items with the most similar content have."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronotope.content.content_axes import project_items
from chronotope.content.similar_items import MAX_COMPARED, N_SIMILAR, similar_items
from chronotope.contracts.item_content import ItemContent


def two_kinds(n_each: int = 40) -> ItemContent:
    """Items of two kinds, side by side; index 0 is unknown, the last item has no content."""
    rng = np.random.default_rng(0)
    centres = np.repeat([[3.0, 0.0, 0.0], [0.0, 3.0, 0.0]], n_each, axis=0)
    rows = (centres + 0.1 * rng.normal(size=centres.shape)).astype(np.float32)
    rows = np.concatenate([np.zeros((1, 3)), rows, np.zeros((1, 3))]).astype(np.float32)
    return project_items({"text": rows}, {"text": "a@0"})


def test_a_cold_item_has_the_mean_of_its_kind() -> None:
    content = two_kinds()
    is_warm = np.ones(82, np.bool_)
    is_warm[[0, 5, 60, 81]] = False
    similar = similar_items(content, is_warm)
    assert similar.item_idx.tolist() == [5, 60]  # 81 has no content
    assert similar.similar_idx.shape == (2, N_SIMILAR)
    assert (similar.similar_idx[0] <= 40).all()
    assert (similar.similar_idx[1] > 40).all()
    popularity = np.where(np.arange(82) <= 40, 2.0, 5.0).astype(np.float32)
    filled = similar.fill(popularity)
    assert filled[[5, 60]].tolist() == pytest.approx([2.0, 5.0])
    untouched = np.delete(np.arange(82), [5, 60])
    np.testing.assert_array_equal(filled[untouched], popularity[untouched])
    assert popularity[60] == 5.0


def test_a_table_is_filled_along_its_axis_of_items() -> None:
    content = two_kinds()
    is_warm = np.arange(82) > 10
    similar = similar_items(content, is_warm)
    table = np.random.default_rng(1).normal(size=(3, 82)).astype(np.float32)
    filled = similar.fill(table, axis=1)
    np.testing.assert_array_equal(filled, similar.fill(table.T).T)
    assert filled.dtype == np.float32
    by_hand = sum(
        weight * table[:, item]
        for weight, item in zip(similar.weights[0], similar.similar_idx[0], strict=True)
    )
    np.testing.assert_allclose(filled[:, similar.item_idx[0]], by_hand, rtol=1e-5)


@given(st.lists(st.booleans(), min_size=82, max_size=82))
def test_weights_are_those_of_a_mean_of_warm_items(warm: list[bool]) -> None:
    is_warm = np.array(warm)
    similar = similar_items(two_kinds(), is_warm)
    assert not is_warm[similar.item_idx].any()
    assert is_warm[similar.similar_idx].all()
    if similar.similar_idx.size:
        np.testing.assert_allclose(similar.weights.sum(1), 1.0, rtol=1e-5)
        assert (similar.weights > 0).all()


def test_nothing_to_compare_fills_nothing() -> None:
    table = np.arange(82, dtype=np.float32)
    for is_warm in (np.zeros(82, np.bool_), np.ones(82, np.bool_)):
        np.testing.assert_array_equal(similar_items(two_kinds(), is_warm).fill(table), table)


def test_of_a_large_catalogue_a_part_is_compared() -> None:
    rows = np.random.default_rng(0).normal(size=(2 * MAX_COMPARED + 50, 3)).astype(np.float32)
    is_warm = np.arange(len(rows)) >= 40
    similar = similar_items(project_items({"text": rows}, {"text": "a@0"}), is_warm)
    assert len(similar.item_idx) == 39  # without the unknown item
    assert len(np.unique(similar.similar_idx)) <= MAX_COMPARED
