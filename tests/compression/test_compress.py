"""Candidates are made once, evaluated only if they could be chosen, and kept."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from chronotope.artifact.onnx_recommender import OnnxRecommender
from chronotope.compression import candidate_store as store_module
from chronotope.compression.bundle_cost import LoadCost
from chronotope.compression.candidate_store import (
    CandidateQuality,
    CandidateStore,
    CompressionSource,
)
from chronotope.compression.compress import CompressionResult, compress
from chronotope.compression.config import CompressionConfig
from chronotope.compression.networks import TeacherData
from chronotope.compression.recipe import fixed_recipes
from chronotope.contracts.queries import queries_at
from chronotope.models.batch import to_batch
from chronotope.models.config import ModelConfig
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import Priors, count_priors
from chronotope.testing.recommender_suite import sample_catalog, sample_log
from tests.compression.toy_graph import ABOUT, toy_graph

PRIORS = count_priors(sample_log(), sample_catalog())
QUERIES = queries_at(sample_log(), np.arange(40, 60), history_len=8, time_given=True)
EXAMPLES = [(to_batch(QUERIES, 8), PRIORS)]


def source() -> CompressionSource:
    torch.manual_seed(0)
    net = ChronotopeNet(ModelConfig(history_len=8), sample_catalog()).eval()
    return CompressionSource(net, PRIORS, sample_catalog(), ABOUT)


@dataclass
class Work:
    """Counts what was really done."""

    n_exports: int = 0
    n_trainings: int = 0
    ndcgs: list[float] = field(default_factory=list)

    def store(
        self, folder: Path, answers: Callable[[str], float], measures: str = "m"
    ) -> CandidateStore:
        def evaluate(model: OnnxRecommender) -> CandidateQuality:
            self.ndcgs.append(answers(model.name))
            return CandidateQuality(self.ndcgs[-1], self.ndcgs[-1])

        def fine_tune(net: ChronotopeNet) -> ChronotopeNet:
            self.n_trainings += 1
            return net

        teacher_data = TeacherData(fine_tune, lambda: EXAMPLES)
        dirs = {"work_dir": folder, "cost_dir": folder / measures, "n_runs": 3}
        return CandidateStore(source(), teacher_data, evaluate, QUERIES, **dirs)


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    """Each network is another toy graph, and weighs nothing."""
    work = Work()

    def toy_export(net: ChronotopeNet, priors: Priors, path: Path, templates: object) -> None:
        work.n_exports += 1
        zero_share = float((net.gate[0].weight == 0).float().mean())
        n = 400 if zero_share > 0.2 else 500  # a student is the smallest, then a narrow network
        n = {64: n, 32: 300, 12: 200}[net.config.n_hidden]
        table = np.random.default_rng(n).normal(size=(n, 32)).astype(np.float32)
        toy_graph(path, table, np.arange(n))

    monkeypatch.setattr(store_module, "export_onnx", toy_export)
    monkeypatch.setattr(store_module, "measure_load", lambda *_, **__: LoadCost(1.0, 1.0))
    return work


def configured(*variants: str, **more: Any) -> CompressionConfig:
    settings = {"variants": variants, "pruned_units": 0.0, "student_history_len": 8} | more
    return CompressionConfig.model_validate({**settings, "max_latency_ms": 1e6})


def one_network(store: CandidateStore, *variants: str) -> CompressionResult:
    """Compress without smaller networks."""
    config = configured(*variants)
    recipes = [recipe for recipe in fixed_recipes(config, 8) if recipe.network == "full"]
    return compress(store, recipes, config)


def in_turn(*settings: float) -> Callable[[str], float]:
    answers = iter(settings)
    return lambda _: next(answers)


def test_every_network_comes_in_every_variant(work: Work, tmp_path: Path) -> None:
    config = configured("fp16_tables", pruned_weights=0.5, pruned_units=0.5)
    result = compress(work.store(tmp_path, lambda _: 0.5), fixed_recipes(config, 8), config)
    names = ["full", "full-zero50", "narrow-u50", "student-h8-w12"]
    expected = {f"{n}-{v}" for n in names for v in ("float32", "fp16_tables")}
    assert {c.name for c in result.candidates} == expected
    assert [row.name for row in result.summaries() if row.chosen] == ["student-h8-w12-fp16_tables"]
    n_drafts = 3  # of all networks but the full one
    assert (work.n_exports, work.n_trainings, len(work.ndcgs)) == (2 + n_drafts, 0, 2)


def test_a_network_is_trained_once_no_smaller_one_will_do(work: Work, tmp_path: Path) -> None:
    config = configured("fp16_tables", pruned_units=0.5)
    stored = work.store(tmp_path, in_turn(0.5, 0.1, 0.1, 0.5))
    result = compress(stored, fixed_recipes(config, 8), config)
    assert [(c.name, c.ndcg) for c in result.candidates if c.evaluation is not None] == [
        ("full-float32", 0.5),
        ("student-h8-w12-fp16_tables", 0.1),
        ("narrow-u50-fp16_tables", 0.1),
        ("student-h8-w12-float32", 0.5),
    ]
    assert work.n_trainings == 1
    assert result.chosen.name == "student-h8-w12-float32"
    assert OnnxRecommender.load(result.chosen.bundle_dir).history_len == 8


def test_a_candidate_of_an_untrained_network_is_not_shipped(work: Work, tmp_path: Path) -> None:
    config = configured("fp16_tables", pruned_units=0.5)
    result = compress(work.store(tmp_path, lambda _: 0.5), fixed_recipes(config, 8), config)
    drafts = [c for c in result.candidates if "drafts" in c.bundle_dir.parts]
    narrow = {"narrow-u50-float32", "narrow-u50-fp16_tables"}
    assert {c.name for c in drafts} == narrow | {"student-h8-w12-float32"}
    assert all(c.evaluation is None and c.cost.p50_ms > 0 for c in drafts)
    assert "drafts" not in result.chosen.bundle_dir.parts


def test_what_was_made_is_neither_trained_nor_evaluated_again(work: Work, tmp_path: Path) -> None:
    config = configured("fp16_tables", pruned_units=0.5)
    store = work.store(tmp_path, lambda _: 0.5)
    first = compress(store, fixed_recipes(config, 8), config)
    done = (work.n_exports, work.n_trainings, list(work.ndcgs))
    again = compress(work.store(tmp_path, lambda _: 0.1), fixed_recipes(config, 8), config)
    assert (work.n_exports, work.n_trainings, work.ndcgs) == done
    assert again.summaries() == first.summaries()
    anew = work.store(tmp_path, lambda _: 0.1, measures="later")
    compress(anew, fixed_recipes(config, 8), config)
    assert (work.n_exports, work.n_trainings, work.ndcgs) == done
    assert {f.name for f in (tmp_path / "later").iterdir()} == {
        f.name for f in (tmp_path / "m").iterdir()
    }


def test_what_loses_too_much_is_not_shipped(work: Work, tmp_path: Path) -> None:
    store = work.store(tmp_path, in_turn(0.50, 0.40, 0.495))
    result = one_network(store, "fp16_tables", "int8_tables")
    assert [(c.name, c.ndcg) for c in result.candidates] == [
        ("full-float32", 0.50),
        ("full-int8_tables", 0.40),
        ("full-fp16_tables", 0.495),
    ]
    assert result.chosen.name == "full-fp16_tables"
    assert OnnxRecommender.load(result.chosen.bundle_dir).history_len == 8


def test_what_is_larger_than_a_good_one_is_not_evaluated(work: Work, tmp_path: Path) -> None:
    store = work.store(tmp_path, lambda _: 0.5)
    rows = one_network(store, "fp16_tables", "int8_tables", "exact_tables").summaries()
    assert len(work.ndcgs) == 2
    assert {row.name: row.why_not for row in rows if row.ndcg is None} == {
        f"full-{variant}_tables": "larger than full-int8_tables; not evaluated"
        for variant in ("fp16", "exact")
    }


def test_tables_narrowed_without_loss_are_not_evaluated_again(work: Work, tmp_path: Path) -> None:
    result = one_network(work.store(tmp_path, in_turn(0.5)), "exact_tables")
    assert [c.ndcg for c in result.candidates] == [0.5, 0.5]
    assert result.chosen.name == "full-exact_tables"


def test_equal_graphs_are_one_candidate(work: Work, tmp_path: Path) -> None:
    store = work.store(tmp_path, lambda _: 0.5)
    result = one_network(store, "exact_tables", "exact_tables", "fp16_tables")
    assert [c.name for c in result.candidates] == [
        "full-float32",
        "full-fp16_tables",
        "full-exact_tables",
    ]


@pytest.mark.slow
def test_real_graphs_shrink_and_rank_alike(tmp_path: Path) -> None:
    given = source()
    with torch.no_grad():
        said = given.net(EXAMPLES[0][0], PRIORS).item_scores.numpy()

    def overlap(model: OnnxRecommender) -> CandidateQuality:
        same = model.scores(QUERIES)[:, 1:].argmax(1) == said[:, 1:].argmax(1)
        return CandidateQuality(float(same.mean()), 0.0)

    teacher_data = TeacherData(lambda net: net, lambda: EXAMPLES)
    dirs = {"work_dir": tmp_path, "cost_dir": tmp_path / "m", "n_runs": 20}
    store = CandidateStore(given, teacher_data, overlap, QUERIES, **dirs)
    config = configured("exact_tables", "int8_tables", pruned_units=0.5)
    result = compress(store, fixed_recipes(config, 8), config)
    reference = result.candidates[0]
    exact = OnnxRecommender.load(tmp_path / "full-exact_tables")
    assert overlap(exact).ndcg == reference.ndcg == 1.0
    assert result.chosen.cost.size_mb < reference.cost.size_mb
    assert result.chosen.ndcg >= 0.99
