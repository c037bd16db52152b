"""The smallest bundle within the bounds is chosen, and costs are measured."""

from pathlib import Path

import numpy as np
import pytest

from chronotope.compression.choose import Candidate, CompressionConfig, choose
from chronotope.compression.measure import Measured, measure
from chronotope.contracts.errors import ArtifactError
from chronotope.contracts.queries import queries_at
from tests.compression.toy_graph import toy_bundle
from tests.models.recommender_suite import sample_log


def candidate(name: str, *, ndcg: float, size_mb: float, p50_ms: float = 1.0) -> Candidate:
    return Candidate(name, Path(name), ndcg, Measured(size_mb, p50_ms, 2 * p50_ms))


REFERENCE = candidate("reference", ndcg=0.50, size_mb=9.0)


def test_the_smallest_within_the_loss_wins() -> None:
    small = candidate("small", ndcg=0.495, size_mb=2.0)
    broken = candidate("broken", ndcg=0.48, size_mb=1.0)
    config = CompressionConfig(max_ndcg_loss=0.01)
    assert choose([REFERENCE, small, broken], config) is small
    assert choose([REFERENCE, broken], config) is REFERENCE


def test_a_few_bytes_are_not_worth_accuracy() -> None:
    small = candidate("small", ndcg=0.50, size_mb=2.01)
    tiny = candidate("tiny", ndcg=0.495, size_mb=2.0)
    assert choose([REFERENCE, tiny, small], CompressionConfig(size_tie=0.02)) is small
    assert choose([REFERENCE, tiny, small], CompressionConfig(size_tie=0.0)) is tiny


def test_a_slow_candidate_is_passed_over() -> None:
    slow = candidate("slow", ndcg=0.5, size_mb=1.0, p50_ms=8.0)
    assert choose([REFERENCE, slow], CompressionConfig(max_p50_ms=5.0)) is REFERENCE
    assert choose([REFERENCE, slow], CompressionConfig(max_p50_ms=9.0)) is slow


def test_nan_accuracy_is_never_chosen() -> None:
    nan = candidate("nan", ndcg=float("nan"), size_mb=1.0)
    assert choose([REFERENCE, nan], CompressionConfig()) is REFERENCE


def test_nothing_to_choose_from_is_a_clear_error() -> None:
    with pytest.raises(ArtifactError, match="no candidate"):
        choose([], CompressionConfig())


def test_measuring_reads_the_file_and_the_clock(tmp_path: Path) -> None:
    bundle = toy_bundle(tmp_path)
    queries = queries_at(sample_log(), np.arange(40, 50), history_len=8, time_given=True)
    found = measure(bundle, queries, n_runs=20)
    assert found.size_mb == (bundle / "model.onnx").stat().st_size / 1e6
    assert 0 < found.p50_ms <= found.p99_ms < 1000


def test_measuring_without_queries_is_a_clear_error(tmp_path: Path) -> None:
    queries = queries_at(sample_log(), np.arange(0), history_len=8, time_given=True)
    with pytest.raises(ArtifactError, match="at least one query"):
        measure(tmp_path, queries)
