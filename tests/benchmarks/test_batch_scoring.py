"""The benchmark of batch predictions on a hand-made champion."""

from pathlib import Path

import pytest

from benchmarks.batch_scoring import COLUMNS, measure
from tests.inference.hand_made import fill_lake, register_twice


@pytest.mark.slow
def test_a_row_has_its_rates_and_the_comparison_with_the_service(tmp_path: Path) -> None:
    fill_lake(tmp_path)
    register_twice(tmp_path)
    row = measure(tmp_path, "city", 2)
    assert {"dataset", *COLUMNS} <= set(row)
    assert (row["n_users"], row["n_sample"], row["n_equal"]) == (3, 2, 2)
    assert row["max_difference"] < 1e-5
    assert row["users_per_s"] > 0
