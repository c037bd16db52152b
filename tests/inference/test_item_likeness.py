"""Neighbours by content, and reasons that name what a user had and what both items are."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from chronotope.artifact.bundle import Vocabulary
from chronotope.content.content_axes import project_items
from chronotope.contracts.event_log import Float32
from chronotope.contracts.ids import IdMap
from chronotope.inference import item_likeness
from chronotope.inference.explanations import explain_items
from chronotope.inference.history import UserHistory
from chronotope.inference.item_likeness import ItemLikeness, likeness_cache, read_item_likeness
from chronotope.inference.item_metadata import ItemMetadata
from chronotope.inference.recent_activity import RecentActivity
from chronotope.lake import Lake

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


def upsert_vectors(lake: Lake, vectors: Float32, encoder: str = "hand@1") -> None:
    item_ids = [f"i{n:04d}" for n in range(1, len(vectors) + 1)]
    row_values = {"modality": "text", "encoder": encoder, "input_digest": "", "reason": None}
    rows: dict[str, object] = {name: [value] * len(item_ids) for name, value in row_values.items()}
    rows["reason"] = pa.nulls(len(item_ids), pa.string())
    stored_vectors = pa.array(list(vectors), pa.list_(pa.float32()))
    ids = {"item_id": item_ids, "embedding_id": [f"{encoder}{item_id}" for item_id in item_ids]}
    lake.upsert_embeddings(pa.table(ids | rows | {"vector": stored_vectors}))


def upsert_encoder(lake: Lake, encoder: str, used_at: datetime) -> None:
    values = {"encoder": encoder, "name": "hand", "modality": "text", "config": ""}
    used = pa.array([used_at], pa.timestamp("us", tz="UTC"))
    nothing = {"n_texts": pa.nulls(1, pa.int64()), "state": pa.nulls(1, pa.binary())}
    rows = {name: [value] for name, value in values.items()} | {"used_at": used} | nothing
    lake.upsert_encoders(pa.table(rows))


def test_likeness_is_computed_once_for_the_same_vectors(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake, cache = Lake(tmp_path / "lake"), likeness_cache(tmp_path / "cache")
    items = IdMap.of([f"i{n:04d}" for n in range(1, 101)])
    vocabulary = Vocabulary(items, items, items, [""] * 101)
    assert read_item_likeness(lake, vocabulary, cache) is None
    upsert_encoder(lake, "hand@1", datetime(2026, 1, 1, tzinfo=UTC))
    upsert_vectors(lake, grouped_vectors()[1:101])
    reads: list[int] = []
    compute = item_likeness.read_item_content
    monkeypatch.setattr(
        item_likeness, "read_item_content", lambda *args: reads.append(1) or compute(*args)
    )

    def read(of: Vocabulary = vocabulary) -> ItemLikeness:
        likeness = read_item_likeness(lake, of, cache)
        assert likeness is not None
        return likeness

    first, second = read(), read()
    assert len(reads) == 1
    np.testing.assert_array_equal(first.vectors, second.vectors)
    assert first.alike_from == second.alike_from
    wish = {"text": grouped_vectors()[5:6]}
    np.testing.assert_array_equal(first.cosines(wish), second.cosines(wish))
    assert second.cosines(wish).argmax() == 5
    assert second.encoders == {"text": "hand@1"}
    fresh = read_item_likeness(lake, vocabulary)
    assert fresh is not None
    np.testing.assert_array_equal(fresh.vectors, second.vectors)
    reads.clear()
    fewer = IdMap.of([f"i{n:04d}" for n in range(1, 51)])
    assert len(read(Vocabulary(fewer, fewer, fewer, [""] * 51)).vectors) == 51
    upsert_vectors(lake, grouped_vectors()[201:301])  # other content of the same items
    assert not np.allclose(read().vectors, first.vectors)
    upsert_encoder(lake, "hand@2", datetime(2026, 1, 2, tzinfo=UTC))  # without vectors yet
    assert read_item_likeness(lake, vocabulary, cache) is None
    assert len(reads) == 3
    for stored in (tmp_path / "cache").rglob("*.cached"):
        stored.write_bytes(b"damaged")
    assert read_item_likeness(lake, vocabulary, cache) is None
    assert len(reads) == 4


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
