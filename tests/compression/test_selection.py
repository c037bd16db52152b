"""The smallest bundle within the bounds is chosen, and costs are measured."""

from pathlib import Path

import numpy as np
import pytest

from chronotope.compression.bundle_cost import BundleCost, LoadCost, measure_latency, measure_load
from chronotope.compression.config import CompressionConfig
from chronotope.compression.selection import (
    Candidate,
    CandidateEvaluation,
    pareto_front,
    rejection_reason,
    select_candidate,
    selection_reason,
)
from chronotope.contracts.errors import ArtifactError
from chronotope.contracts.queries import queries_at
from chronotope.testing.recommender_suite import sample_log
from tests.compression.toy_graph import toy_bundle


def candidate(name: str, *, ndcg: float | None, size_mb: float, p50_ms: float = 1.0) -> Candidate:
    evaluation = None if ndcg is None else CandidateEvaluation(ndcg, ndcg, LoadCost(9.0, 9.0))
    return Candidate(name, Path(name), BundleCost(size_mb, p50_ms, 2 * p50_ms), evaluation)


REFERENCE = candidate("reference", ndcg=0.50, size_mb=9.0)
SMALL = candidate("small", ndcg=0.495, size_mb=2.0)


def test_the_smallest_within_the_loss_wins() -> None:
    broken = candidate("broken", ndcg=0.48, size_mb=1.0)
    config = CompressionConfig(max_ndcg_loss=0.01)
    assert select_candidate([REFERENCE, SMALL, broken], config) is SMALL
    assert select_candidate([REFERENCE, broken], config) is REFERENCE


def test_a_few_bytes_are_not_worth_accuracy() -> None:
    small = candidate("small", ndcg=0.50, size_mb=2.01)
    tiny = candidate("tiny", ndcg=0.495, size_mb=2.0)
    assert select_candidate([REFERENCE, tiny, small], CompressionConfig(size_tie=0.02)) is small
    assert select_candidate([REFERENCE, tiny, small], CompressionConfig(size_tie=0.0)) is tiny


def test_a_slow_candidate_is_passed_over() -> None:
    slow = candidate("slow", ndcg=0.5, size_mb=1.0, p50_ms=8.0)
    assert select_candidate([REFERENCE, slow], CompressionConfig(max_latency_ms=5.0)) is REFERENCE
    assert select_candidate([REFERENCE, slow], CompressionConfig(max_latency_ms=9.0)) is slow


def test_a_large_candidate_is_passed_over() -> None:
    assert select_candidate([REFERENCE, SMALL], CompressionConfig(max_size_mb=1.9)) is REFERENCE
    assert select_candidate([REFERENCE, SMALL], CompressionConfig(max_size_mb=2.0)) is SMALL


def test_what_may_not_be_shipped_is_passed_over() -> None:
    evaluation = CandidateEvaluation(0.5, 0.5, LoadCost(9.0, 9.0), refused="other answers")
    refused = Candidate("refused", Path(), BundleCost(0.1, 1.0, 2.0), evaluation)
    assert select_candidate([REFERENCE, refused, SMALL], CompressionConfig()) is SMALL
    assert rejection_reason(refused, [REFERENCE, refused], CompressionConfig()) == "other answers"


def test_nan_accuracy_is_never_chosen() -> None:
    nan = candidate("nan", ndcg=float("nan"), size_mb=1.0)
    assert select_candidate([REFERENCE, nan], CompressionConfig()) is REFERENCE


def test_what_another_beats_in_everything_is_not_chosen() -> None:
    worse = candidate("worse", ndcg=0.495, size_mb=2.01, p50_ms=1.1)
    front = pareto_front([REFERENCE, worse, SMALL])
    assert [c.name for c in front] == ["reference", "small"]
    assert select_candidate([REFERENCE, worse, SMALL], CompressionConfig(size_tie=0.5)) is SMALL


def test_each_one_passed_over_has_its_reason() -> None:
    slow = candidate("slow", ndcg=0.3, size_mb=1.0, p50_ms=80.0)
    later = candidate("later", ndcg=None, size_mb=5.0)
    tried = [REFERENCE, SMALL, slow, later]
    assert [rejection_reason(each, tried, CompressionConfig()) for each in tried] == [
        "larger than small",
        "",
        "80.00 ms a query, more than 50; loses 0.2000 NDCG@10, more than 0.01",
        "larger than small; not evaluated",
    ]
    assert (
        selection_reason(tried, CompressionConfig()) == "small is the smallest within the objective"
    )


def test_if_nothing_holds_every_bound_that_is_broken_is_told() -> None:
    config = CompressionConfig(max_size_mb=1.0, max_latency_ms=0.5, max_ndcg_loss=0.0)
    told = selection_reason([REFERENCE, SMALL], config)
    assert select_candidate([REFERENCE, SMALL], config) is REFERENCE
    assert told == (
        "Nothing meets the objective, reference is selected. "
        "reference: 9.00 MB, more than 1; 1.00 ms a query, more than 0.5. "
        "small: 2.00 MB, more than 1; 1.00 ms a query, more than 0.5; "
        "loses 0.0050 NDCG@10, more than 0"
    )


def test_nothing_to_choose_from_is_a_clear_error() -> None:
    with pytest.raises(ArtifactError, match="no candidate"):
        select_candidate([], CompressionConfig())


def test_measuring_reads_the_file_and_the_clock(tmp_path: Path) -> None:
    bundle = toy_bundle(tmp_path)
    queries = queries_at(sample_log(), np.arange(40, 50), history_len=8, time_given=True)
    found = measure_latency(bundle, queries, n_runs=20)
    assert found.size_mb == (bundle / "model.onnx").stat().st_size / 1e6
    assert 0 < found.p50_ms <= found.p99_ms < 1000


def test_measuring_without_queries_is_a_clear_error(tmp_path: Path) -> None:
    queries = queries_at(sample_log(), np.arange(0), history_len=8, time_given=True)
    with pytest.raises(ArtifactError, match="at least one query"):
        measure_latency(tmp_path, queries)


def test_many_at_once_and_a_clean_process_are_measured(tmp_path: Path) -> None:
    bundle = toy_bundle(tmp_path)
    queries = queries_at(sample_log(), np.arange(40, 50), history_len=8, time_given=True)
    found = measure_load(bundle, queries, n_runs=1)
    assert found.queries_per_s == pytest.approx(64_000 / found.batch_ms)
    assert 0 < found.rss_mb < 200  # of a file of 64 kB, without the interpreter and its libraries


def test_a_graph_that_cannot_be_loaded_elsewhere_is_a_clear_error(tmp_path: Path) -> None:
    bundle, queries = (
        toy_bundle(tmp_path),
        queries_at(sample_log(), np.arange(40, 50), history_len=8, time_given=True),
    )
    (bundle / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(ArtifactError, match="differ from its manifest"):
        measure_load(bundle, queries)
