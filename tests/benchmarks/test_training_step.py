"""The benchmark of a step runs every way it names, on the same batches."""

from benchmarks.training_step import COLUMNS, FAMILIES, config_of, row_of
from chronotope.testing.recommender_suite import sample_catalog, sample_log


def test_a_row_has_a_time_for_each_part_and_their_ratio() -> None:
    row = row_of("two_tower", sample_log(), sample_catalog(), 1, n_threads=2)
    assert set(row) == set(COLUMNS)
    assert row["ratio"] == row["unshared_ms"] / row["step_ms"]
    assert row["forward_ms"] > 0


def test_families_are_measured_without_kernels_and_kernels_without_a_family() -> None:
    alone = {family: config_of(family) for family in FAMILIES}
    assert alone.pop("chronotope").backbone == "none"
    assert all(family == config.family for family, config in alone.items())
