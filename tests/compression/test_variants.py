"""Smaller variants are smaller and still say the same."""

import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest

from chronotope.compression.config import Variant
from chronotope.compression.graph_variants import derive_variant
from chronotope.compression.tables.quantized_tables import quantize_tables
from tests.compression.toy_graph import HISTORIES, MOMENTS, toy_graph

TABLE = np.random.default_rng(2).normal(scale=3.0, size=(400, 32)).astype(np.float32)


def answer(path: Path, items: list[int]) -> list[npt.NDArray[np.float32]]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    n = len(items)
    feed: dict[str, npt.NDArray[np.generic]] = {
        name: np.zeros((n, 8), np.int64) for name in HISTORIES
    }
    feed |= {name: np.zeros(n, np.int64) for name in MOMENTS}
    feed["item_idx"] = np.repeat(np.array(items), 8).reshape(n, 8)
    feed["time_given"] = np.ones(n, np.float32)
    return list(session.run(None, feed))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    toy_graph(tmp_path / "source.onnx", TABLE, np.arange(400)[::-1].copy())
    return tmp_path / "source.onnx"


def test_exact_tables_lose_no_bit_and_merge_copies(source: Path, tmp_path: Path) -> None:
    quantize_tables(source, tmp_path / "small.onnx", "exact")
    before, after = source.stat().st_size, (tmp_path / "small.onnx").stat().st_size
    assert before - after > 400 * (2 * 8 - 2) - 500  # one of two copies, uint16
    for one, other in zip(
        answer(source, [3, 9]), answer(tmp_path / "small.onnx", [3, 9]), strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_float16_tables_round_to_eleven_bits(source: Path, tmp_path: Path) -> None:
    quantize_tables(source, tmp_path / "small.onnx", "float16")
    vector = answer(tmp_path / "small.onnx", [3])[1]
    np.testing.assert_array_equal(vector[0], TABLE[3].astype(np.float16).astype(np.float32))
    assert not np.array_equal(vector[0], TABLE[3])


def test_int8_rows_err_by_half_a_step_of_their_own_scale(source: Path, tmp_path: Path) -> None:
    quantize_tables(source, tmp_path / "small.onnx", "int8")
    vector = answer(tmp_path / "small.onnx", list(range(400)))[1]
    step = np.abs(TABLE).max(1, keepdims=True) / 127
    assert (np.abs(vector - TABLE) <= 0.5006 * step).all()  # the scale itself has eleven bits
    assert (tmp_path / "small.onnx").stat().st_size < 0.4 * source.stat().st_size


def test_a_table_too_large_for_float16_stays(tmp_path: Path) -> None:
    toy_graph(tmp_path / "source.onnx", TABLE * 1e5, np.arange(400))
    quantize_tables(tmp_path / "source.onnx", tmp_path / "small.onnx", "float16")
    np.testing.assert_array_equal(
        answer(tmp_path / "small.onnx", [3])[1][0], (TABLE * np.float32(1e5))[3]
    )


@pytest.mark.parametrize(
    ("table", "most"),
    [
        (np.zeros((400, 32), np.float32), 100),
        ((np.arange(12_800) % 200).astype(np.float32).reshape(400, 32), 12_800),
    ],
    ids=["constant", "whole numbers"],
)
def test_what_can_be_told_shorter_is_and_loses_nothing(
    table: npt.NDArray[np.float32], most: int, tmp_path: Path
) -> None:
    toy_graph(tmp_path / "source.onnx", table, np.arange(400))
    quantize_tables(tmp_path / "source.onnx", tmp_path / "small.onnx", "exact")
    said = answer(tmp_path / "small.onnx", list(range(400)))[1]
    np.testing.assert_array_equal(said, table)  # the ids are a range, told by its length
    graph = onnx.load(tmp_path / "small.onnx").graph
    kept = sum(len(t.raw_data) for t in graph.initializer if not t.name.startswith("weight"))
    assert kept <= most + 100


def test_ids_beyond_two_bytes_take_three(tmp_path: Path) -> None:
    ids = np.array([0, 399, 2**16 - 1, 2**16, 2**24 - 1] * 80)
    toy_graph(tmp_path / "source.onnx", TABLE, ids)
    quantize_tables(tmp_path / "source.onnx", tmp_path / "small.onnx", "exact")
    graph = onnx.load(tmp_path / "small.onnx").graph
    sizes = [len(t.raw_data) for t in graph.initializer if t.name.startswith("ids")]
    assert sum(sizes) == 400 * 3 + 8
    wide = reread(tmp_path / "small.onnx", "ids")
    np.testing.assert_array_equal(wide, ids)


def reread(path: Path, table: str) -> npt.NDArray[np.int64]:
    """A table as the graph widens it."""
    model = onnx.load(path)
    model.graph.output.append(
        onnx.helper.make_tensor_value_info(table, onnx.TensorProto.INT64, None)
    )
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    feed: dict[str, npt.NDArray[np.generic]] = {n: np.zeros((1, 8), np.int64) for n in HISTORIES}
    feed |= {name: np.zeros(1, np.int64) for name in MOMENTS}
    feed["time_given"] = np.ones(1, np.float32)
    found: npt.NDArray[np.int64] = session.run([table], feed)[0]
    return found


def test_negative_ids_keep_their_sign(tmp_path: Path) -> None:
    toy_graph(tmp_path / "source.onnx", TABLE, np.arange(400) - 400)
    quantize_tables(tmp_path / "source.onnx", tmp_path / "small.onnx", "exact")
    np.testing.assert_array_equal(answer(tmp_path / "small.onnx", [3])[1][0], TABLE[3])


@pytest.mark.parametrize("variant", ["int8_matmul", "int8_gather"])
def test_products_run_on_bytes_and_stay_near(
    source: Path, tmp_path: Path, variant: Variant
) -> None:
    level = logging.getLogger().level
    derive_variant(source, tmp_path / "small.onnx", variant)
    kinds = {node.op_type for node in onnx.load(tmp_path / "small.onnx").graph.node}
    one, other = answer(source, [3, 9])[0], answer(tmp_path / "small.onnx", [3, 9])[0]
    assert "MatMulInteger" in kinds
    assert 0 < np.abs(one - other).max() < 0.05 * np.abs(one).max()
    assert logging.getLogger().level == level


def test_float32_is_a_copy(source: Path, tmp_path: Path) -> None:
    derive_variant(source, tmp_path / "copy.onnx", "float32")
    assert (tmp_path / "copy.onnx").read_bytes() == source.read_bytes()
