"""An artefact that serves is blessed; one that does not, is not."""

import warnings
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from chronotope.artifact.bundle import write_bundle
from chronotope.contracts.errors import ArtifactError
from chronotope.contracts.event_log import Catalog, Float64
from chronotope.contracts.ids import IdMap
from chronotope.contracts.queries import Queries
from chronotope.registry.blessing import BlessConfig, run_blessing, total_variation
from chronotope.registry.mlflow_store import MlflowStore
from chronotope.registry.model_versions import download_version, register_version

N_ITEMS = 6
TABLE = np.random.default_rng(1).normal(size=(N_ITEMS, N_ITEMS)).astype(np.float32)
LIMITS = BlessConfig(k=3, n_timed=5)


def _graph(table: np.ndarray) -> onnx.ModelProto:
    """The scores are the row of the last item; nothing else is read."""
    columns = ["item_idx", "occurred_s", "utc_offset_min", "place_idx"]
    moments = ["request_s", "request_offset_min", "request_place_idx"]
    inputs = [helper.make_tensor_value_info(n, TensorProto.INT64, ["B", 2]) for n in columns]
    inputs += [helper.make_tensor_value_info(n, TensorProto.INT64, ["B"]) for n in moments]
    inputs += [helper.make_tensor_value_info("time_given", TensorProto.FLOAT, ["B"])]
    names = ["item_scores", "when", "place_scores"]
    nodes = [
        helper.make_node("Gather", ["item_idx", "last"], ["item"], axis=1),
        helper.make_node("Gather", ["table", "item"], ["item_scores"]),
        *(helper.make_node("Identity", ["item_scores"], [name]) for name in names[1:]),
    ]
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, ["B", "N"]) for n in names]
    weights = [
        numpy_helper.from_array(table, "table"),
        numpy_helper.from_array(np.array(1, dtype=np.int64), "last"),
    ]
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, weights)
    opsets = [helper.make_opsetid("", 18)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _bundle(folder: Path, table: np.ndarray = TABLE) -> Path:
    folder.mkdir(exist_ok=True)
    onnx.save(_graph(table), folder / "model.onnx")
    none = IdMap.of([])
    nowhere: Float64 = np.full(N_ITEMS, np.nan)
    catalog = Catalog(
        users=IdMap.of(["u"]),
        items=IdMap.of(list("abcde")),
        places=none,
        categories=none,
        item_category=np.zeros(N_ITEMS, dtype=np.int32),
        item_lat=nowhere,
        item_lon=nowhere,
        place_lat=nowhere[:1],
        place_lon=nowhere[:1],
    )
    write_bundle(
        folder,
        catalog,
        name="tiny",
        dataset="d",
        data_version="1",
        history_len=2,
        trained_until_s=9,
    )
    return folder


def _queries(n: int = 4) -> Queries:
    item = np.arange(2 * n, dtype=np.int32).reshape(n, 2) % (N_ITEMS - 1) + 1
    zeros = np.zeros(n, dtype=np.int32)
    return Queries(
        user_idx=zeros,
        item_idx=item,
        occurred_s=np.ones((n, 2), dtype=np.int64),
        utc_offset_min=np.zeros_like(item),
        place_idx=np.zeros_like(item),
        request_s=np.full(n, 5, dtype=np.int64),
        request_offset_min=zeros,
        request_place_idx=zeros,
        time_given=np.ones(n, dtype=np.bool_),
    )


def _expected(queries: Queries) -> np.ndarray:
    return TABLE[queries.item_idx[:, -1]]


def test_a_sound_artefact_is_blessed(tmp_path: Path) -> None:
    asked = _queries()
    blessing = run_blessing(
        _bundle(tmp_path / "b"), queries=asked, expected_scores=_expected(asked), config=LIMITS
    )
    assert blessing.passed, blessing.reasons
    assert blessing.measured["overlap"] == 1
    assert blessing.measured["variation"] == 0
    assert 0 < blessing.measured["latency_ms"] < 50


def test_a_file_that_was_changed_is_refused(tmp_path: Path) -> None:
    folder, asked = _bundle(tmp_path / "b"), _queries()
    with (folder / "model.onnx").open("ab") as file:
        file.write(b"x")
    blessing = run_blessing(folder, queries=asked, expected_scores=_expected(asked), config=LIMITS)
    assert not blessing.passed
    assert "differ from its manifest" in blessing.reasons[0]


@pytest.mark.parametrize(
    ("limits", "reason"),
    [
        ({"max_size_mb": 1e-6}, "size is above"),
        ({"max_latency_ms": 1e-6}, "latency is above"),
        ({"timeout_s": 0.01}, "took longer"),
    ],
)
def test_each_limit_refuses(tmp_path: Path, limits: dict[str, float], reason: str) -> None:
    asked = _queries()
    config = BlessConfig.model_validate(LIMITS.model_dump() | limits)
    blessing = run_blessing(
        _bundle(tmp_path / "b"), queries=asked, expected_scores=_expected(asked), config=config
    )
    assert not blessing.passed
    assert [r for r in blessing.reasons if reason in r] == list(blessing.reasons)


def test_disagreement_is_refused(tmp_path: Path) -> None:
    asked = _queries()
    folder = _bundle(tmp_path / "b")
    blessing = run_blessing(folder, queries=asked, expected_scores=-_expected(asked), config=LIMITS)
    assert not blessing.passed
    assert blessing.measured["overlap"] == 0
    assert [r.split(" is ")[0] for r in blessing.reasons] == ["top-3 overlap", "total variation"]


def test_other_scores_with_equal_answers_are_blessed(tmp_path: Path) -> None:
    asked = _queries()
    table = TABLE + np.arange(N_ITEMS, dtype=np.float32)[:, None]  # logits are free up to a shift
    table[:, 0] = 40.0  # the unknown item is never answered
    blessing = run_blessing(
        _bundle(tmp_path / "b", table),
        queries=asked,
        expected_scores=_expected(asked),
        config=LIMITS.model_copy(update={"k": N_ITEMS}),
    )
    assert blessing.passed, blessing.reasons
    assert blessing.measured["variation"] == pytest.approx(0, abs=1e-6)


def test_total_variation_is_half_the_absolute_difference() -> None:
    p, q = (
        np.array([[0.7, 0.2, 0.1], [0.2, 0.2, 0.6]]),
        np.array([[0.4, 0.4, 0.2], [0.2, 0.2, 0.6]]),
    )
    unknown = np.array([[1.0], [9.0]])
    a, b = np.hstack([unknown, np.log(p)]), np.hstack([-unknown, np.log(q) + 3.0])
    assert total_variation(a, b) == pytest.approx((0.3 + 0.0) / 2)
    assert np.isnan(total_variation(np.full_like(a, np.nan), b))


def test_nan_for_a_stranger_is_refused(tmp_path: Path) -> None:
    table, asked = TABLE.copy(), _queries()
    table[0] = np.nan  # the row of the unknown item, which no honest query here ends in
    blessing = run_blessing(
        _bundle(tmp_path / "b", table),
        queries=asked,
        expected_scores=_expected(asked),
        config=LIMITS,
    )
    assert [r.split(":")[0] for r in blessing.reasons] == ["hostile input gives NaN"]
    assert blessing.measured["n_nan"] == len(asked) * N_ITEMS


def test_a_registered_version_answers_through_mlflow(store: MlflowStore, tmp_path: Path) -> None:
    with store.run("training", "fit") as tracker:
        bundle = _bundle(tmp_path / "b")
        register_version(store, name="tiny", bundle_dir=bundle, run_id=tracker.run_id, tags={})
    asked = _queries()
    arrays = asked.arrays()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own, on import
        from mlflow import pyfunc

        model = pyfunc.load_model(str(download_version(store, "tiny", "1").parent))
        np.testing.assert_array_equal(model.predict(arrays), _expected(asked))
    assert model.metadata.signature.inputs.input_names() == list(arrays)


def test_no_query_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="at least one query"):
        run_blessing(tmp_path, queries=_queries(0), expected_scores=TABLE[:0], config=LIMITS)
