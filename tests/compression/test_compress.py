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


def toy_export(net: ChronotopeNet, priors: Priors, path: Path) -> None:
    table = np.random.default_rng(1).normal(size=(500, 32)).astype(np.float32)
    toy_graph(path, table, np.arange(500))


def test_every_network_comes_in_every_variant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "export_onnx", toy_export)
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
    expected = [f"{n}-{v}" for n in names for v in ("float32", "fp16_tables")]
    assert [row["name"] for row in result.rows()] == expected
    assert [row["chosen"] for row in result.rows()].count(True) == 1
    assert result.chosen.name.endswith("fp16_tables")


def test_what_loses_too_much_is_not_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "export_onnx", toy_export)
    told = iter([0.50, 0.495, 0.40])
    config = CompressionConfig(variants=("exact_tables", "int8_tables"), n_runs=3)
    result = compress(
        source(), evaluate=lambda _: next(told), queries=QUERIES, out=tmp_path, config=config
    )
    assert result.chosen.folder == tmp_path / "full-exact_tables"
    assert OnnxRecommender.load(result.chosen.folder).history_len == 8


@pytest.mark.slow
def test_real_graphs_shrink_and_rank_alike(tmp_path: Path) -> None:
    given = source()

    def overlap(model: OnnxRecommender) -> float:
        with torch.no_grad():
            said = given.net(EXAMPLES[0][0], PRIORS).item_scores.numpy()
        return float((model.scores(QUERIES)[:, 1:].argmax(1) == said[:, 1:].argmax(1)).mean())

    result = compress(given, evaluate=overlap, queries=QUERIES, out=tmp_path)
    by_name = {c.name: c for c in result.candidates}
    assert by_name["full-float32"].ndcg == by_name["full-exact_tables"].ndcg == 1.0
    assert result.chosen.measured.size_mb < by_name["full-float32"].measured.size_mb
    assert result.chosen.ndcg >= 0.99
