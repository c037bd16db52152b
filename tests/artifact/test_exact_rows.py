"""Candidates are ranked again by rows on the disk."""

from pathlib import Path

import numpy as np
import pytest

from chronotope.artifact.exact_rows import ExactRows
from chronotope.artifact.item_index import Found
from chronotope.contracts.errors import ArtifactError

VECTORS = np.random.default_rng(0).normal(size=(300, 16)).astype(np.float32)
QUERY = np.random.default_rng(1).normal(size=16).astype(np.float32)


def test_the_exact_order_comes_back(tmp_path: Path) -> None:
    ExactRows.of(VECTORS).save(tmp_path)
    rows = ExactRows.load(tmp_path)
    assert isinstance(rows.number, np.memmap)
    some = np.arange(300)
    found = rows.again(Found(some, np.zeros(300, np.float32), 300), QUERY, 5)
    step = np.abs(VECTORS).max(1) / 127
    most = 0.5001 * step[found.item_idx] * np.abs(QUERY).sum()
    assert (np.abs(found.score - VECTORS[found.item_idx] @ QUERY) <= most).all()
    assert found.item_idx[0] == np.argmax(VECTORS @ QUERY)


def test_equal_rows_are_told_apart_by_their_index() -> None:
    rows = ExactRows.of(np.repeat(VECTORS[:1], 4, axis=0))
    found = rows.again(Found(np.array([3, 1, 2]), np.zeros(3, np.float32), 4), QUERY, 2)
    assert found.item_idx.tolist() == [1, 2]


@pytest.mark.parametrize("damage", ["missing", "cut", "mixed"])
def test_what_are_no_rows_is_refused(tmp_path: Path, damage: str) -> None:
    if damage != "missing":
        ExactRows.of(VECTORS).save(tmp_path)
    if damage == "cut":
        path = tmp_path / "rows.npy"
        path.write_bytes(path.read_bytes()[:-100])
    if damage == "mixed":
        np.save(tmp_path / "rows_scale.npy", np.ones(3, np.float32))
    with pytest.raises(ArtifactError, match="rows"):
        ExactRows.load(tmp_path)
