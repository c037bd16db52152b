"""One entry makes, measures and chooses; the real exporter is asked once in a slow test."""

from pathlib import Path

import numpy as np
import pytest
import torch

from chronotope.artifact.onnx_recommender import OnnxRecommender
from chronotope.compression import compress as room
from chronotope.compression.choose import CompressionConfig
from chronotope.compression.compress import Source, compress
from chronotope.contracts.queries import queries_at
from chronotope.models.batch import to_batch
from chronotope.models.config import ModelConfig
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import Priors, count_priors
from tests.compression.toy_graph import ABOUT, toy_graph
from tests.models.recommender_suite import sample_catalog, sample_log

PRIORS = count_priors(sample_log(), sample_catalog())
QUERIES = queries_at(sample_log(), np.arange(40, 60), history_len=8, time_given=True)
EXAMPLES = [(to_batch(QUERIES, 8), PRIORS)]


def source() -> Source:
    torch.manual_seed(0)
    net = ChronotopeNet(ModelConfig(history_len=8), sample_catalog()).eval()
    return Source(net, PRIORS, sample_catalog(), ABOUT)


@pytest.fixture(autouse=True)
def _exported(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each network is another toy graph, the later the smaller; slow tests export for real."""
    rows = iter(range(500, 100, -100))

    def toy_export(net: ChronotopeNet, priors: Priors, path: Path) -> None:
        n = next(rows)
        table = np.random.default_rng(n).normal(size=(n, 32)).astype(np.float32)
        toy_graph(path, table, np.arange(n))

    if request.node.get_closest_marker("slow") is None:
        monkeypatch.setattr(room, "export_onnx", toy_export)


def test_every_network_comes_in_every_variant(tmp_path: Path) -> None:
    config = CompressionConfig(
        variants=("fp16_tables",), pruned_weights=0.5, n_runs=3, student_history_len=8
    )
    result = compress(
        source(),
        evaluate=lambda _: 0.5,
        queries=QUERIES,
        out=tmp_path,
        config=config,
        fine_tune=lambda net: net,
        examples=EXAMPLES,
    )
    names = ["full", "sparse", "narrow", "student"]
    expected = {f"{n}-{v}" for n in names for v in ("float32", "fp16_tables")}
    assert {folder.name for folder in tmp_path.iterdir()} == expected
    rows = [(row["name"], row["chosen"]) for row in result.rows()]
    assert rows == [("full-float32", False), ("student-fp16_tables", True)]


def compressed(out: Path, told: list[float], *variants: str) -> list[tuple[str, float, bool]]:
    """Compress without training, told one accuracy an evaluation; all of them are used."""
    answers = iter(told)
    config = CompressionConfig.model_validate({"variants": variants, "n_runs": 3})
    found = compress(
        source(), evaluate=lambda _: next(answers), queries=QUERIES, out=out, config=config
    )
    assert next(answers, None) is None
    return [(c.name, c.ndcg, c is found.chosen) for c in found.candidates]


def test_what_loses_too_much_is_not_shipped(tmp_path: Path) -> None:
    rows = compressed(tmp_path, [0.50, 0.40, 0.495], "fp16_tables", "int8_tables")
    assert rows == [
        ("full-float32", 0.50, False),
        ("full-int8_tables", 0.40, False),
        ("full-fp16_tables", 0.495, True),
    ]
    assert OnnxRecommender.load(tmp_path / "full-fp16_tables").history_len == 8


def test_what_is_larger_than_a_good_one_is_not_evaluated(tmp_path: Path) -> None:
    rows = compressed(tmp_path, [0.50, 0.50], "fp16_tables", "int8_tables", "exact_tables")
    assert [name for name, _, _ in rows] == ["full-float32", "full-int8_tables"]


def test_tables_narrowed_without_loss_are_not_evaluated_again(tmp_path: Path) -> None:
    rows = compressed(tmp_path, [0.50], "exact_tables")
    assert rows == [("full-float32", 0.50, False), ("full-exact_tables", 0.50, True)]


def test_equal_graphs_are_one_candidate(tmp_path: Path) -> None:
    compressed(tmp_path, [0.50, 0.50], "fp16_tables", "fp16_tables")
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.slow
def test_real_graphs_shrink_and_rank_alike(tmp_path: Path) -> None:
    given = source()

    def overlap(model: OnnxRecommender) -> float:
        with torch.no_grad():
            said = given.net(EXAMPLES[0][0], PRIORS).item_scores.numpy()
        return float((model.scores(QUERIES)[:, 1:].argmax(1) == said[:, 1:].argmax(1)).mean())

    result = compress(given, evaluate=overlap, queries=QUERIES, out=tmp_path)
    reference = result.candidates[0]
    assert overlap(OnnxRecommender.load(tmp_path / "full-exact_tables")) == reference.ndcg == 1.0
    assert result.chosen.measured.size_mb < reference.measured.size_mb
    assert result.chosen.ndcg >= 0.99
