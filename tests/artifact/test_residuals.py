"""Candidates are ranked again by what their codes leave out."""

from pathlib import Path

import numpy as np
import pytest

from chronotope.artifact.item_index import ItemIndex
from chronotope.artifact.residuals import Residuals
from chronotope.compression.build_index import IndexConfig, build_index
from chronotope.contracts.errors import ArtifactError

VECTORS = np.random.default_rng(0).normal(size=(3001, 15)).astype(np.float32)
QUERIES = np.random.default_rng(1).normal(size=(40, 15)).astype(np.float32)


def built(vectors: np.ndarray = VECTORS) -> tuple[ItemIndex, Residuals]:
    index = build_index(
        vectors, sample_queries=QUERIES, config=IndexConfig(n_codes=2, block_items=32)
    )
    return index, Residuals.from_vectors(index, vectors)


def test_the_exact_order_comes_back(tmp_path: Path) -> None:
    index, residuals = built()
    residuals.save(tmp_path / "residuals.npy")
    residuals = Residuals.load(tmp_path / "residuals.npy", index)
    assert isinstance(residuals.packed_rows, np.memmap)
    by_codes, again = 0, 0
    for query in QUERIES:
        exact = VECTORS @ query
        best = 1 + np.argsort(-exact[1:])[:10]
        found = index.top_k(query, 3000)
        whole = residuals.rerank(found, index.projection @ query, 3000)
        np.testing.assert_allclose(whole.score, exact[whole.item_idx], atol=0.05)
        by_codes += np.isin(best, found.item_idx[:10]).sum()
        again += np.isin(best, whole.item_idx[:10]).sum()
    assert by_codes < 0.9 * 10 * len(QUERIES)
    assert again > 0.98 * 10 * len(QUERIES)


def test_equal_items_are_told_apart_by_their_index() -> None:
    index, residuals = built(np.repeat(VECTORS[:1], 5, axis=0))
    found = residuals.rerank(index.top_k(QUERIES[0], 4), index.projection @ QUERIES[0], 2)
    assert found.item_idx.tolist() == [1, 2]


def test_nothing_is_left_of_unknown_items() -> None:
    _, residuals = built()
    assert not residuals.decode(np.array([[0, -3], [len(VECTORS), 10**6]])).any()
    assert residuals.decode(np.array([5])).any()


@pytest.mark.parametrize("damage", ["missing", "cut", "of another index"])
def test_what_are_no_residuals_is_refused(tmp_path: Path, damage: str) -> None:
    index, residuals = built()
    path = tmp_path / "residuals.npy"
    if damage != "missing":
        residuals.save(path)
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-100])
    if damage == "of another index":
        index, _ = built(VECTORS[:100])
    with pytest.raises(ArtifactError, match="residuals"):
        Residuals.load(path, index)
