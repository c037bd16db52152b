"""A loaded model reads the counts of the lake, not those of its training."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from chronotope.artifact.bundle import MODEL, read_vocabulary, write_bundle
from chronotope.artifact.onnx_recommender import ACTIVITY, OnnxRecommender
from chronotope.contracts.data_version import DataVersion
from chronotope.features.activity_counts import ACTIVITY_NAMES
from chronotope.inference.recommend import recommend
from chronotope.inference.request import RecommendOptions
from chronotope.lake import Lake
from chronotope.registry.champion import Champion
from chronotope.runtime.workspace import Workspace
from chronotope.serving.model.loaded import LoadedChampion
from chronotope.serving.state.event_store import EventStore
from chronotope.testing.recommender_suite import N_ITEMS, sample_catalog
from tests.inference.hand_made import DAY, LAST_S, fill_lake, write_graph

AT = datetime.fromtimestamp(LAST_S, UTC) + timedelta(days=10)


def counting_champion(root: Path) -> Champion:
    """Scores are the events of each item in the last 28 days, as log(1 + 2 x)."""
    folder = root / "counting"
    folder.mkdir()
    write_graph(folder / MODEL)
    model = onnx.load(folder / MODEL)
    graph = model.graph
    shape = (len(ACTIVITY_NAMES), N_ITEMS + 1)
    graph.initializer.append(numpy_helper.from_array(np.zeros(shape, np.float32), ACTIVITY))
    graph.input.append(helper.make_tensor_value_info(ACTIVITY, TensorProto.FLOAT, shape))
    row = np.array([ACTIVITY_NAMES.index("events_28d")])
    graph.initializer.append(numpy_helper.from_array(row, "row"))
    expand = next(node for node in graph.node if node.output[0] == "item_scores")
    graph.node.insert(0, helper.make_node("Gather", [ACTIVITY, "row"], ["counts"], axis=0))
    expand.input[0] = "counts"
    onnx.save(model, folder / MODEL)
    about = {"name": "hand", "dataset": "city", "data_version": "1", "history_len": 8}
    write_bundle(folder, sample_catalog(), trained_until_s=LAST_S - 30 * DAY, **about)
    return Champion("1", OnnxRecommender.load(folder), read_vocabulary(folder))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    fill_lake(tmp_path)
    return tmp_path


def test_command_and_service_rank_by_what_others_had_lately(root: Path) -> None:
    champion = counting_champion(root)
    options = RecommendOptions(k=3)
    answer = recommend(root, "city", "new", AT, options=options, load=lambda *_: champion)
    assert {item.id for item in answer.items[:2]} == {"i01", "i02"}  # two events each

    lake = Lake(Workspace(root).lake("city"))
    store = EventStore.read(lake)
    loaded = LoadedChampion.load(champion, root, store, DataVersion((("events", store.version),)))
    activity = loaded.champion.model.activity  # type: ignore[union-attr]
    assert activity is not None
    index = champion.vocabulary.items.index(["i01", "i02", "i03", "i04", "i05"])
    events = np.expm1(activity[ACTIVITY_NAMES.index("events_28d"), index]) / 2.0
    np.testing.assert_allclose(events, [2.0, 2.0, 1.0, 1.0, 0.0], rtol=1e-5)
    assert champion.model.activity is None  # type: ignore[union-attr]


def test_a_graph_without_counts_is_left_as_it_is(root: Path) -> None:
    folder = root / "plain"
    folder.mkdir()
    write_graph(folder / MODEL)
    about = {"name": "hand", "dataset": "city", "data_version": "1", "history_len": 8}
    write_bundle(folder, sample_catalog(), trained_until_s=LAST_S - 30 * DAY, **about)
    model = OnnxRecommender.load(folder)
    assert not model.reads_activity
    store = EventStore.read(Lake(Workspace(root).lake("city")))
    champion = Champion("1", model, read_vocabulary(folder))
    loaded = LoadedChampion.load(champion, root, store, DataVersion((("events", store.version),)))
    assert loaded.champion is champion
