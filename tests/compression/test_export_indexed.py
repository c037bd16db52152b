"""A bundle with an index ranks as the network does, and never scores all items to answer."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from chronotope.artifact.bundle import INDEX
from chronotope.artifact.indexed_recommender import IndexedRecommender
from chronotope.compression.build_index import IndexConfig
from chronotope.compression.export_indexed import export_indexed
from chronotope.contracts.errors import ArtifactError
from chronotope.contracts.protocols import Recommender
from chronotope.contracts.queries import Queries, queries_at
from chronotope.models.batch import to_batch
from chronotope.models.config import ModelConfig
from chronotope.models.network import ChronotopeNet
from chronotope.models.priors import count_priors
from tests.compression.toy_graph import ABOUT, toy_bundle
from tests.models.recommender_suite import sample_log
from tests.models.test_split import loud, plain_catalog

QUERIES = queries_at(sample_log(), np.arange(5, 90, 3), history_len=12, time_given=True)
CATALOG = plain_catalog()
PRIORS = count_priors(sample_log(), CATALOG)
CONFIG = ModelConfig(history_len=12, kernel_len=8, backbone="mlp", backbone_len=8, d_model=8)
NET = loud(ChronotopeNet(CONFIG, CATALOG))

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    config = IndexConfig(n_codes=26, block_items=8)  # a code a column: all but exact
    export_indexed(NET, PRIORS, CATALOG, folder, about=ABOUT, sample=QUERIES, config=config)
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
    for row, found in enumerate(model.best(QUERIES, 5)):
        order = np.lexsort((np.arange(scores.shape[1]), -scores[row]))[:5]
        np.testing.assert_array_equal(found.item_idx, order)
        np.testing.assert_array_equal(found.score, scores[row][order])


def test_one_query_is_answered_as_in_a_batch(bundle: Path) -> None:
    model = IndexedRecommender.load(bundle)
    one = model.best(QUERIES.take(slice(3, 4)), 5)[0]
    np.testing.assert_array_equal(one.item_idx, model.best(QUERIES, 5)[3].item_idx)


def test_a_damaged_index_is_refused(bundle: Path, tmp_path: Path) -> None:
    for path in bundle.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / INDEX).write_bytes((bundle / INDEX).read_bytes()[:-1])
    with pytest.raises(ArtifactError, match="differ"):
        IndexedRecommender.load(tmp_path)


def test_a_bundle_without_an_index_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no index"):
        IndexedRecommender.load(toy_bundle(tmp_path))
