"""Neighbours by content, and reasons that name what a user had and what both items are."""

from dataclasses import replace

import numpy as np
import pyarrow as pa

from chronotope.artifact.bundle import Vocabulary
from chronotope.content.content_axes import project_items
from chronotope.contracts.event_log import Float32
from chronotope.contracts.ids import IdMap
from chronotope.inference.explanations import explain_items
from chronotope.inference.history import UserHistory
from chronotope.inference.item_likeness import ItemLikeness
from chronotope.inference.item_metadata import ItemMetadata
from chronotope.inference.recent_activity import RecentActivity

N_GROUPS, N_EACH, WIDTH = 50, 20, 32
N_ITEMS = N_GROUPS * N_EACH


def grouped_vectors() -> Float32:
    """Items 1 to 1,000 in groups of 20 that lie close together; item 0 is the unknown one."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(N_GROUPS, WIDTH))
    items = np.repeat(centres, N_EACH, axis=0) + 0.05 * rng.normal(size=(N_ITEMS, WIDTH))
    return np.concatenate([np.zeros((1, WIDTH)), items]).astype(np.float32)


def likeness_of(vectors: Float32) -> ItemLikeness:
    return ItemLikeness.of(project_items({"text": vectors}, {"text": "hand"}))


def group_of(item_idx: int) -> int:
    return (item_idx - 1) // N_EACH


def test_neighbours_are_of_the_same_group_and_the_item_is_none_of_them() -> None:
    likeness = likeness_of(grouped_vectors())
    for item_idx in (1, 20, 500, N_ITEMS):
        nearest, cosine = likeness.nearest(item_idx, N_EACH - 1)
        assert {group_of(int(idx)) for idx in nearest} == {group_of(item_idx)}
        assert item_idx not in nearest
        assert (np.diff(cosine) <= 0).all()
        assert cosine[0] > 0.95


def test_an_item_without_content_has_no_neighbours_and_is_none() -> None:
    vectors = grouped_vectors()
    vectors[2] = 0.0
    likeness = likeness_of(vectors)
    assert not len(likeness.nearest(2, 5)[0])
    assert 2 not in likeness.nearest(1, N_ITEMS)[0]
    assert len(likeness.nearest(1, 2 * N_ITEMS)[0]) == N_ITEMS - 2


def test_the_closest_of_a_history_is_alike_or_there_is_none() -> None:
    likeness = likeness_of(grouped_vectors())
    own = np.array([1, 45])
    closest = likeness.closest(np.array([2, 46, 999]), own)
    assert closest.tolist() == [1, 45, 0]
    assert likeness.closest(np.array([2]), own[:0]).tolist() == [0]


def metadata(likeness: ItemLikeness | None, categories: list[str | None]) -> ItemMetadata:
    nowhere = np.full(N_ITEMS + 1, np.nan)
    ids = IdMap.of(pa.array(categories, pa.string()).drop_null())
    category_idx = np.zeros(N_ITEMS + 1, np.int32)
    category_idx[1 : len(categories) + 1] = ids.index(pa.array(categories, pa.string()))
    return ItemMetadata(nowhere, nowhere, nowhere, nowhere, ids, category_idx, likeness)


def reasons(item_metadata: ItemMetadata, items: list[int]) -> list[str]:
    vocabulary = Vocabulary(
        users=IdMap.of(["ann"]),
        items=IdMap.of([f"i{n:04d}" for n in range(1, N_ITEMS + 1)]),
        places=IdMap.of(["here"]),
        titles=["", "Alien", *[""] * (N_ITEMS - 1)],
    )
    own = np.array([1, 1, 999], np.int32)  # the last one is like none of the items
    zeros = np.zeros(3, np.int32)
    history = UserHistory(own, zeros, np.array([0, 86_400, 172_800]), zeros)
    activity = RecentActivity.from_events(zeros[:0], zeros[:0], N_ITEMS + 1)
    indices = np.array(items, np.int64)
    return list(explain_items(indices, history, activity, vocabulary, item_metadata))


def test_reasons_name_what_is_alike_and_what_both_are() -> None:
    likeness = likeness_of(grouped_vectors())
    categories = ["Horror|Sci-Fi|Thriller", "Action|Thriller|Horror", "Comedy", None]
    assert reasons(metadata(likeness, categories), [1, 2, 3, 4, 500]) == [
        "you had it 2 times, last on 1970-01-02",
        "like Alien, which you had 2 times: both Thriller, Horror",
        "like Alien, which you had 2 times",
        "like Alien, which you had 2 times",
        "new to you",
    ]
    assert reasons(metadata(None, categories), [2]) == ["new to you"]


def test_a_reason_by_a_predicted_category_says_so() -> None:
    item_metadata = metadata(likeness_of(grouped_vectors()), ["Horror", "Horror", "Horror"])
    confidence = np.full(N_ITEMS + 1, np.nan, np.float32)
    confidence[2] = 0.83
    assert reasons(replace(item_metadata, category_confidence=confidence), [2, 3]) == [
        "like Alien, which you had 2 times: both Horror (predicted)",
        "like Alien, which you had 2 times: both Horror",
    ]
