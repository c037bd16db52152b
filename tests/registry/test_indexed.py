"""A bundle whose items are found by an index is judged and served like any other."""

from pathlib import Path

import numpy as np
import pytest

from chronotope.artifact.onnx_recommender import OnnxRecommender
from chronotope.artifact.open_bundle import open_bundle
from chronotope.contracts.errors import ArtifactError
from chronotope.contracts.queries import queries_at
from chronotope.registry.blessing import BlessConfig, run_blessing
from chronotope.registry.blessing_probe import main as probe
from chronotope.registry.pyfunc import BUNDLE, _load_pyfunc, write_model
from chronotope.testing.recommender_suite import sample_log
from tests.serving.town import WIDTH, Town

LIMITS = BlessConfig(k=3, n_timed=5)
QUERIES = queries_at(sample_log(), np.arange(50, 90, 3), history_len=WIDTH, time_given=True)


@pytest.fixture(scope="module")
def town(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Version 1 scores all items, version 2 finds the same ones."""
    built = Town.build(tmp_path_factory.mktemp("town"))
    built.add_indexed("2")
    return built.root / "versions"


def test_it_is_blessed_by_the_answers_of_the_original(town: Path) -> None:
    expected = OnnxRecommender.load(town / "1").scores(QUERIES)
    blessing = run_blessing(town / "2", queries=QUERIES, expected_scores=expected, config=LIMITS)
    assert blessing.passed, blessing.reasons
    assert blessing.measured["overlap"] > 0.95
    other = np.roll(expected, 5, axis=1)
    assert not run_blessing(
        town / "2", queries=QUERIES, expected_scores=other, config=LIMITS
    ).passed


def test_the_probe_times_what_is_served(town: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "asked.npz", **QUERIES.arrays())  # type: ignore[arg-type]
    probe(town / "2", tmp_path / "asked.npz", tmp_path / "said.npz", 3)
    with np.load(tmp_path / "said.npz") as said:
        assert said["latency_ms"].shape == (3,)
        assert said["n_nan"].sum() == 0
        np.testing.assert_array_equal(said["scores"], open_bundle(town / "2").scores(QUERIES))


def test_it_is_an_mlflow_model(town: Path, tmp_path: Path) -> None:
    write_model(town / "2", tmp_path / "model")
    served = _load_pyfunc(str(tmp_path / "model" / BUNDLE))
    wanted = OnnxRecommender.load(town / "1").scores(QUERIES)
    found = served.predict(QUERIES.arrays())
    np.testing.assert_allclose(found[:, 1:], wanted[:, 1:], atol=1e-3)


def test_its_graph_alone_is_refused(town: Path) -> None:
    with pytest.raises(ArtifactError, match="by itself"):
        OnnxRecommender.load(town / "2")
