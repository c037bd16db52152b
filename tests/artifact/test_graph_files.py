"""A graph whose tables are in a second file computes the same, and opens no other file."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from chronotope.artifact import graph_files
from chronotope.artifact.bundle import (
    MODEL,
    MODEL_DATA,
    read_manifest,
    serving_size_bytes,
    write_bundle,
)
from chronotope.artifact.graph_files import (
    copy_graph,
    has_own_file,
    load_graph,
    save_graph,
    session_content,
)
from chronotope.artifact.onnx_recommender import session_of
from chronotope.artifact.open_bundle import open_bundle
from chronotope.contracts.errors import ArtifactError
from chronotope.testing.recommender_suite import sample_catalog
from tests.inference.hand_made import write_hand_made_bundle

ROWS = np.random.default_rng(0).normal(size=(400, 8)).astype(np.float32)


def gather_model() -> onnx.ModelProto:
    """Rows of a table by their indices."""
    nodes = [onnx.helper.make_node("Gather", ["table", "rows"], ["of_rows"])]
    inputs = [onnx.helper.make_tensor_value_info("rows", onnx.TensorProto.INT64, ["B"])]
    outputs = [onnx.helper.make_tensor_value_info("of_rows", onnx.TensorProto.FLOAT, ["B", 8])]
    tables = [onnx.numpy_helper.from_array(ROWS, "table")]
    graph = onnx.helper.make_graph(nodes, "gather", inputs, outputs, tables)
    opset = [onnx.helper.make_opsetid("", 20)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=10)


def run(graph: str | bytes) -> np.ndarray:
    session = session_of(graph, "gather", n_threads=1)
    return np.asarray(session.run(None, {"rows": np.array([3, 399])})[0])


def renamed(folder: Path, **entries: str) -> Path:
    """A graph whose table is at another place than where it was written."""
    save_graph(gather_model(), folder / MODEL, max_inline_bytes=0)
    model = onnx.load(folder / MODEL, load_external_data=False)
    for entry in model.graph.initializer[0].external_data:
        entry.value = entries.get(entry.key, entry.value)
    onnx.save(model, folder / MODEL)
    return folder / MODEL


def test_tables_in_a_second_file_compute_the_same(tmp_path: Path) -> None:
    save_graph(gather_model(), tmp_path / MODEL)
    assert not has_own_file(tmp_path / MODEL)
    (tmp_path / "large").mkdir()
    save_graph(gather_model(), tmp_path / "large" / MODEL, max_inline_bytes=0)
    assert has_own_file(tmp_path / "large" / MODEL)
    assert (tmp_path / "large" / MODEL).stat().st_size < 1000
    copy_graph(tmp_path / "large" / MODEL, tmp_path / "copy" / MODEL)
    for folder in (tmp_path, tmp_path / "large", tmp_path / "copy"):
        assert run(str(folder / MODEL)).tolist() == ROWS[[3, 399]].tolist()
    whole = load_graph(tmp_path / "copy" / MODEL)
    assert onnx.numpy_helper.to_array(whole.graph.initializer[0]).tolist() == ROWS.tolist()


def test_a_session_outlives_the_files_it_was_opened_from(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit in (2**31, 0):
        monkeypatch.setattr(graph_files, "MAX_INLINE_BYTES", limit)
        with session_content(gather_model()) as content:
            session = session_of(content, "gather", n_threads=1)
        rows = session.run(None, {"rows": np.array([3])})[0]
        assert np.asarray(rows).tolist() == ROWS[[3]].tolist()


@pytest.mark.parametrize(
    "entries",
    [
        {"location": "../secret"},
        {"location": "/etc/passwd"},
        {"location": "other.data"},
        {"location": f"./{MODEL_DATA}"},
        {"length": "99999999"},
        {"offset": "-4"},
    ],
    ids=lambda entries: "-".join(map(str, *entries.items())),
)
def test_no_other_file_is_opened(tmp_path: Path, entries: dict[str, str]) -> None:
    with pytest.raises(ArtifactError, match="a file that is not its own"):
        load_graph(renamed(tmp_path, **entries))


def test_a_link_to_another_file_is_refused(tmp_path: Path) -> None:
    graph_path = renamed(tmp_path)
    (tmp_path / MODEL_DATA).rename(tmp_path / "elsewhere")
    (tmp_path / MODEL_DATA).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(ArtifactError, match="a file that is not its own"):
        load_graph(graph_path)


def test_a_bundle_covers_the_second_file_by_its_digest(tmp_path: Path) -> None:
    small = write_hand_made_bundle(tmp_path / "small")
    model, large = load_graph(small / MODEL), tmp_path / "large"
    model.graph.initializer.append(onnx.numpy_helper.from_array(ROWS, "further"))
    large.mkdir()
    save_graph(model, large / MODEL, max_inline_bytes=0)
    about = {"name": "hand", "dataset": "city", "data_version": "1", "history_len": 8}
    write_bundle(large, sample_catalog(), trained_until_s=0, **about)
    assert MODEL_DATA in read_manifest(large).digests
    assert read_manifest(large).serving_digest != read_manifest(small).serving_digest
    n_bytes = sum((large / name).stat().st_size for name in (MODEL, MODEL_DATA))
    assert serving_size_bytes(large) == n_bytes
    open_bundle(large)
    content = bytearray((large / MODEL_DATA).read_bytes())
    content[7] ^= 1
    (large / MODEL_DATA).write_bytes(content)
    with pytest.raises(ArtifactError, match="differ from its manifest"):
        open_bundle(large)
