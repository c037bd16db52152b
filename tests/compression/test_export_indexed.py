"""A bundle with an index ranks as the network does, and never scores all items to answer."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chronotope.artifact import indexed_recommender as indexed_module
from chronotope.artifact.bundle import INDEX, MODEL, RESIDUALS, read_manifest, write_bundle
from chronotope.artifact.indexed_recommender import IndexedRecommender
from chronotope.artifact.item_index import ItemIndex
from chronotope.artifact.onnx_recommender import open_session
from chronotope.artifact.residuals import Residuals
from chronotope.compression.build_index import IndexConfig
from chronotope.compression.bundle_cost import measure_latency, measure_load
from chronotope.compression.export_indexed import export_query_graph, index_items
from chronotope.contracts.errors import ArtifactError
from chronotope.contracts.protocols import Recommender
from chronotope.contracts.queries import Queries, queries_at
from chronotope.models.batch import to_batch
from chronotope.models.config import ModelConfig
from chronotope.models.factorized import item_vectors
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import count_priors
from chronotope.testing.recommender_suite import sample_log
from tests.compression.toy_graph import ABOUT, toy_bundle
from tests.models.test_factorized import loud, plain_catalog

QUERIES = queries_at(sample_log(), np.arange(5, 90, 3), history_len=12, time_given=True)
CATALOG = plain_catalog()
PRIORS = count_priors(sample_log(), CATALOG)
EXAMPLES = [(to_batch(QUERIES, 12), PRIORS)]
CONFIG = ModelConfig(history_len=12, kernel_len=8, backbone="two_tower", backbone_len=8, d_model=8)
NET = loud(ChronotopeNet(CONFIG, CATALOG))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    config = IndexConfig(n_codes=26, block_items=8)  # a code a column: all but exact
    export_query_graph(NET, PRIORS, folder / MODEL)
    index, _ = index_items(NET, PRIORS, CATALOG, EXAMPLES, config)
    index.save(folder / INDEX)
    write_bundle(folder, CATALOG, **ABOUT | {"history_len": 12})
    return folder


def strangers() -> Queries:
    nothing = np.zeros_like(QUERIES.item_idx)
    return replace(QUERIES, item_idx=nothing, occurred_s=nothing.astype(np.int64))


@pytest.mark.parametrize("asked", [QUERIES, strangers()])
def test_it_says_what_the_network_says(bundle: Path, asked: Queries) -> None:
    model = IndexedRecommender.load(bundle)
    assert isinstance(model, Recommender)
    whole = NET(to_batch(asked, 12), PRIORS)
    said = model.answer(asked)
    expected = whole.item_scores.detach().numpy()
    np.testing.assert_allclose(said.item_scores[:, 1:], expected[:, 1:], atol=0.1)
    np.testing.assert_allclose(said.when, whole.when.detach().numpy(), atol=0.02)
    np.testing.assert_allclose(said.place_scores, whole.place_scores.detach().numpy(), atol=0.02)


def test_the_best_are_those_of_all_scores(bundle: Path) -> None:
    model = IndexedRecommender.load(bundle)
    scores = model.scores(QUERIES)
    for row, found in enumerate(model.top_items(QUERIES, 5)):
        order = np.lexsort((np.arange(scores.shape[1]), -scores[row]))[:5]
        np.testing.assert_array_equal(found.item_idx, order)
        np.testing.assert_array_equal(found.score, scores[row][order])


def test_one_query_is_answered_as_in_a_batch(bundle: Path) -> None:
    model = IndexedRecommender.load(bundle)
    one = model.top_items(QUERIES.take(slice(3, 4)), 5)[0]
    np.testing.assert_array_equal(one.item_idx, model.top_items(QUERIES, 5)[3].item_idx)


def test_it_is_measured_with_its_index(bundle: Path) -> None:
    cost = measure_latency(bundle, QUERIES, n_runs=5)
    files = sum((bundle / name).stat().st_size for name in (MODEL, INDEX))
    assert cost.size_mb == pytest.approx(files / 1e6)
    assert 0 < cost.p50_ms <= cost.p99_ms
    assert measure_load(bundle, QUERIES, n_runs=5).batch_ms > 0


def blunt() -> tuple[ItemIndex, Residuals]:
    """Codes that tell no more than the block of an item, and what they leave out."""
    made, _ = index_items(NET, PRIORS, CATALOG, EXAMPLES, IndexConfig(n_codes=2, block_items=64))
    index = replace(
        made, codebooks=np.zeros_like(made.codebooks), block_radii=np.zeros_like(made.block_radii)
    )
    return index, Residuals.from_vectors(index, item_vectors(NET, PRIORS).detach().numpy())


def test_what_the_codes_leave_out_is_added_to_the_best(bundle: Path, tmp_path: Path) -> None:
    index, residuals = blunt()
    shutil.copyfile(bundle / MODEL, tmp_path / MODEL)
    index.save(tmp_path / INDEX)
    write_bundle(tmp_path, CATALOG, **ABOUT | {"history_len": 12})
    by_codes = IndexedRecommender.load(tmp_path).scores(QUERIES)
    residuals.save(tmp_path / RESIDUALS)
    write_bundle(tmp_path, CATALOG, **ABOUT | {"history_len": 12})
    model = IndexedRecommender.load(tmp_path)
    expected = NET(to_batch(QUERIES, 12), PRIORS).item_scores.detach().numpy()[:, 1:]
    scores = model.scores(QUERIES)
    assert np.abs(by_codes[:, 1:] - expected).max() > 0.5
    np.testing.assert_allclose(scores[:, 1:], expected, atol=0.1)
    for row, found in enumerate(model.top_items(QUERIES, 5)):
        order = np.lexsort((np.arange(scores.shape[1]), -scores[row]))[:5]
        np.testing.assert_array_equal(found.item_idx, order)
        np.testing.assert_allclose(found.score, scores[row][order], rtol=1e-5)


def test_candidates_stay_above_all_others(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexed_module, "N_CANDIDATES", 4)
    session, (index, residuals) = open_session(bundle, n_threads=1), blunt()
    model = IndexedRecommender(session, index, read_manifest(bundle), residuals)
    for output, row in zip(model.query_outputs(QUERIES), model.scores(QUERIES), strict=True):
        ranked = np.argsort(-row, kind="stable").tolist()
        by_codes = index.top_k(
            output.query, 4, group_scores=output.group_scores, extra_scores=output.extra_scores
        )
        assert sorted(ranked[:4]) == sorted(by_codes.item_idx)
        assert ranked[:2] == model.rank_items(output, 2).item_idx.tolist()


def test_a_damaged_index_is_refused(bundle: Path, tmp_path: Path) -> None:
    for path in bundle.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / INDEX).write_bytes((bundle / INDEX).read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="differ"):
        IndexedRecommender.load(tmp_path)


def test_a_bundle_without_an_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no index"):
        IndexedRecommender.load(toy_bundle(tmp_path))
