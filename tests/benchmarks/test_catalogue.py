"""The catalogue benchmark runs whole at a small size, and what it says adds up."""

from pathlib import Path

import numpy as np
import pytest

from benchmarks.catalogue.__main__ import main
from benchmarks.catalogue.tables import drawn
from benchmarks.rows import read_rows


def test_a_table_is_drawn_twice_alike_and_nobody_asks_for_the_unknown() -> None:
    one, other = (drawn(500, 20, width=16, seed=3) for _ in range(2))
    np.testing.assert_array_equal(one.vectors, other.vectors)
    assert not one.vectors[0].any()
    assert (one.sample.shape, one.queries.shape) == ((1000, 16), (20, 16))


@pytest.mark.slow
def test_every_way_is_measured(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    told = ["--items", "3000", "--queries", "20", "--repeats", "1", "--rate", "20"]
    main([*told, "--json", str(path)])
    rows = {row["way"]: row for row in read_rows(path)}
    assert len(rows) == 5
    pruned, again = rows["codes, pruned"], rows["codes, then residuals"]
    assert (pruned["exact"], pruned["failed"], again["failed"]) == (1.0, 0, 0)
    assert 0 < pruned["recall_10"] < again["recall_10"] <= 1
    assert 1 < again["times_smaller"] < pruned["times_smaller"]
