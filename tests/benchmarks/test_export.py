"""The benchmark of an export measures each way it names."""

import pytest

from benchmarks.export import COLUMNS, LATENCIES, row_of


@pytest.mark.slow
def test_a_row_has_the_cost_of_each_export_and_of_each_length() -> None:
    row = row_of("none", 40, 2)
    assert set(row) == {*COLUMNS, *LATENCIES}
    assert row["ratio"] == row["first_s"] / row["bound_s"]
    assert row["ratio"] > 5
    assert all(row[column] > 0 for column in (*COLUMNS[1:], *LATENCIES))
