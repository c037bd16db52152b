"""The pruned search answers as scoring every item does, and refuses what it cannot read."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chronotope.artifact.item_index import ExactScores, ItemIndex, TopItems
from chronotope.compression.build_index import IndexConfig, build_index
from chronotope.contracts.errors import ArtifactError, ConfigError, DataError
from chronotope.contracts.event_log import Float32

N, D, N_GROUPS = 5000, 12, 7


def made(seed: int = 0) -> tuple[Float32, ItemIndex]:
    draw = np.random.default_rng(seed)
    group = draw.integers(0, N_GROUPS, N + 1).astype(np.int32)
    middle = draw.normal(size=(N_GROUPS * 10, D))
    vectors = middle[group * 10 + draw.integers(0, 10, N + 1)] + draw.normal(size=(N + 1, D)) / 3
    vectors[100:110] = vectors[100]  # equals, to be arrays apart by their index
    group[100:110] = group[100]
    config = IndexConfig(n_codes=4, block_items=16, n_rounds=4)
    return vectors.astype(np.float32), build_index(
        vectors.astype(np.float32), item_groups=group, config=config
    )


VECTORS, INDEX = made()


def brute(
    query: Float32, k: int, group: Float32 | None = None, extra: ExactScores | None = None
) -> TopItems:
    scores = INDEX.scores(query, group_scores=group)
    if extra is not None:
        known = (extra.item_idx > 0) & (extra.item_idx <= N)
        scores[extra.item_idx[known]] += extra.score[known]
    order = np.lexsort((np.arange(len(scores)), -scores))[:k]
    order = order[scores[order] > -np.inf]
    return TopItems(order, scores[order], N)


def same(one: TopItems, other: TopItems) -> bool:
    return np.array_equal(one.item_idx, other.item_idx) and np.array_equal(one.score, other.score)


@settings(max_examples=30, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 10**6), k=st.integers(1, 60), size=st.sampled_from([0.0, 1e-3, 1.0, 50]))
def test_pruning_changes_nothing(seed: int, k: int, size: float) -> None:
    draw = np.random.default_rng(seed)
    query = (size * draw.normal(size=D)).astype(np.float32)
    group = draw.normal(size=N_GROUPS).astype(np.float32)
    items = draw.choice(N + 50, draw.integers(0, 300), replace=False)
    extra = ExactScores(items, draw.normal(size=len(items)).astype(np.float32) * 3)
    assert same(INDEX.top_k(query, k), brute(query, k))
    arrays = INDEX.top_k(query, k, group_scores=group, extra_scores=extra)
    assert same(arrays, brute(query, k, group, extra))


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 10**6), share=st.sampled_from([0.0, 1e-3, 0.3, 1.0]), k=st.integers(1, 60)
)
def test_only_what_is_allowed_is_found(seed: int, share: float, k: int) -> None:
    draw = np.random.default_rng(seed)
    query = draw.normal(size=D).astype(np.float32)
    items = draw.choice(N + 50, 40, replace=False)
    extra = ExactScores(items, draw.normal(size=len(items)).astype(np.float32) * 3)
    allowed = draw.random(N + 1) < share
    shut = ExactScores(np.arange(N + 1), np.where(allowed, 0, -np.inf).astype(np.float32))
    added = items[items <= N]
    shut.score[added] += extra.score[items <= N]
    arrays = INDEX.top_k(query, k, extra_scores=extra, allowed=allowed)
    assert same(arrays, brute(query, k, None, shut))


def test_a_kind_that_few_are_of_opens_few_blocks() -> None:
    allowed = np.zeros(N + 1, np.bool_)
    allowed[[7, 3000]] = True
    found = INDEX.top_k(VECTORS[5], 10, allowed=allowed)
    assert sorted(found.item_idx.tolist()) == [7, 3000]
    assert found.n_scored <= 2 * 16


def test_what_is_allowed_is_said_of_every_item() -> None:
    with pytest.raises(DataError, match="every item"):
        INDEX.top_k(VECTORS[5], 3, allowed=np.ones(N, np.bool_))


def test_a_query_that_knows_what_it_wants_opens_few_blocks() -> None:
    found = INDEX.top_k(10 * VECTORS[5], 3)
    assert found.n_scored < N


def test_all_equal_scores_give_the_smallest_indices() -> None:
    found = INDEX.top_k(np.zeros(D, np.float32), 5)
    assert found.item_idx.tolist() == [1, 2, 3, 4, 5]
    assert found.score.tolist() == [0.0] * 5


def test_more_than_all_items_can_be_asked_for() -> None:
    assert sorted(INDEX.top_k(VECTORS[3], N + 9).item_idx.tolist()) == list(range(1, N + 1))


def test_an_item_shut_out_by_an_extra_score_comes_last() -> None:
    query = VECTORS[7]
    best = int(INDEX.top_k(query, 1).item_idx[0])
    shut = ExactScores(np.array([best]), np.array([-np.inf], np.float32))
    assert best not in INDEX.top_k(query, 50, extra_scores=shut).item_idx


def test_one_group_alone_can_be_asked_for() -> None:
    alone = np.full(N_GROUPS, -np.inf, np.float32)
    alone[2] = 0.5
    found = INDEX.top_k(VECTORS[7], N, group_scores=alone)
    assert same(found, brute(VECTORS[7], N, alone))
    assert 0 < len(found.item_idx) == found.n_scored < N


def test_codes_say_nearly_what_vectors_said() -> None:
    arrays = INDEX.decode(np.arange(N + 1)) @ INDEX.projection
    assert not arrays[0].any()
    assert INDEX.decode(np.array([[N + 5, -3]])).shape == (1, 2, len(INDEX.projection))
    lost = (
        np.square(arrays[1:] - VECTORS[1:]).sum() / np.square(VECTORS[1:] - VECTORS.mean(0)).sum()
    )
    assert lost < 0.06
    query = np.random.default_rng(1).normal(size=D).astype(np.float32)
    np.testing.assert_allclose(arrays[1:] @ query, INDEX.scores(query)[1:], atol=1e-4)


def test_scores_of_asked_directions_are_kept_best() -> None:
    """A direction that is never asked about costs no bits."""
    draw = np.random.default_rng(3)
    vectors = draw.normal(size=(3000, 8)).astype(np.float32)
    queries = draw.normal(size=(500, 8)).astype(np.float32) * np.array([1] * 4 + [0.01] * 4)
    config = IndexConfig(n_codes=2, n_rounds=4)
    queries = queries.astype(np.float32)

    def lost(index: ItemIndex) -> float:
        arrays = index.decode(np.arange(1, 3000)) @ index.projection
        return float(np.square((arrays - vectors[1:]) @ queries.T).mean())

    plain, asked = (build_index(vectors, sample_queries=q, config=config) for q in (None, queries))
    assert lost(asked) < 0.7 * lost(plain)


def test_round_trip(tmp_path: Path) -> None:
    INDEX.save(tmp_path / "items.npz")
    again = ItemIndex.load(tmp_path / "items.npz")
    query = VECTORS[11]
    assert same(again.top_k(query, 20), INDEX.top_k(query, 20))
    assert 0 < (tmp_path / "items.npz").stat().st_size - INDEX.n_bytes < 4096


@pytest.mark.parametrize("damage", ["missing", "cut", "text", "pickle", "mixed"])
def test_what_is_no_index_is_refused(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "items.npz"
    if damage == "cut":
        INDEX.save(path)
        path.write_bytes(path.read_bytes()[:-2000])
    elif damage == "text":
        path.write_text("no index")
    elif damage == "pickle":
        np.savez(path, block_starts=np.array([object()], dtype=object))
    elif damage == "mixed":
        arrays: dict[str, Any] = {
            "projection": INDEX.projection,
            "block_centroids": INDEX.block_centroids,
            "block_starts": INDEX.block_starts[:-1],
        }
        arrays |= {
            "codes": INDEX.codes,
            "block_groups": INDEX.block_groups,
            "block_radii": INDEX.block_radii,
            "codebooks": INDEX.codebooks,
        }
        np.savez(path, allow_pickle=False, item_blocks=np.zeros(N + 1, np.int16), **arrays)
    with pytest.raises(ArtifactError, match="index"):
        ItemIndex.load(path)


def test_what_cannot_be_ranked_is_refused() -> None:
    query = VECTORS[1]
    twice = ExactScores(np.array([4, 4]), np.zeros(2, np.float32))
    with pytest.raises(DataError):
        INDEX.top_k(np.full(D, np.nan, np.float32), 5)
    with pytest.raises(DataError):
        INDEX.top_k(query, 5, group_scores=np.zeros(2, np.float32))
    with pytest.raises(DataError):
        INDEX.top_k(query, 5, group_scores=np.full(N_GROUPS, np.inf, np.float32))
    with pytest.raises(DataError):
        INDEX.top_k(query, 5, extra_scores=twice)
    with pytest.raises(DataError):
        INDEX.top_k(query, 0)
    with pytest.raises(ConfigError):
        build_index(np.full((4, 2), np.nan, np.float32))


def test_a_handful_of_items_is_an_index_too() -> None:
    vectors = np.array([[0, 0], [1, 0], [0, 1]], np.float32)
    index = build_index(vectors, config=IndexConfig(n_codes=2))
    assert index.top_k(np.array([1, 2], np.float32), 5).item_idx.tolist() == [2, 1]


def test_the_few_that_lie_far_off_are_told_as_well_as_the_many() -> None:
    draw = np.random.default_rng(5)
    vectors = (0.1 * draw.normal(size=(20_001, 8))).astype(np.float32)
    popular = draw.choice(np.arange(1, 20_001), 40, replace=False)
    vectors[popular] = 4.0 * draw.normal(size=(40, 8))
    index = build_index(vectors, config=IndexConfig(n_codes=4, block_items=20_000))
    lost = np.abs(index.decode(popular) @ index.projection - vectors[popular])
    assert lost.max() < 0.5
