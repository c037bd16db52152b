"""Packed tables say nearly what they said, and only the rows that are read are unpacked."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from onnx import TensorProto, helper, numpy_helper

from chronotope.compression.config import Variant
from chronotope.compression.graph_variants import derive_variant
from chronotope.compression.tables.packed_tables import (
    Coding,
    PackedTable,
    pack_int4,
    pack_product_codes,
    pack_tables,
)
from chronotope.contracts.event_log import Float32

ROWS = 2000
FLOATS = st.floats(-1e4, 1e4, width=32)


def alike(width: int) -> Float32:
    """Rows of few kinds, with noise."""
    draw = np.random.default_rng(0)
    kinds = draw.normal(size=(60, width))
    return (kinds[draw.integers(0, 60, ROWS)] + draw.normal(size=(ROWS, width)) / 8).astype("f4")


def graph(path: Path, table: Float32, *, product: bool) -> None:
    """Rows that are asked for and, if wished, the product of all rows with the first of them."""
    told = [helper.make_tensor_value_info("rows", TensorProto.INT64, ["B", "L"])]
    nodes = [helper.make_node("Gather", ["table", "rows"], ["vectors"])]
    made = [helper.make_tensor_value_info("vectors", TensorProto.FLOAT, ["B", "L", None])]
    if product:
        nodes.append(helper.make_node("Transpose", ["table"], ["turned"], perm=[1, 0]))
        nodes.append(helper.make_node("MatMul", ["vectors", "turned"], ["scores"]))
        made.append(helper.make_tensor_value_info("scores", TensorProto.FLOAT, None))
    stored = [numpy_helper.from_array(table, "table")]
    built = helper.make_graph(nodes, "table", told, made, stored)
    opset = [helper.make_opsetid("", 18)]
    onnx.save(helper.make_model(built, opset_imports=opset, ir_version=10), path)


def run(path: Path, rows: list[list[int]]) -> list[Float32]:
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"rows": np.array(rows)}))


def unpack_int4(packed_table: PackedTable, width: int) -> Float32:
    """The table that ``pack_int4`` packed, after rounding."""
    packed = packed_table.row_arrays["packed"].astype(np.uint8)
    numbers = np.concatenate([packed & 15, packed >> 4], axis=1)[:, :width]
    row_scale = np.asarray(packed_table.row_arrays["scale"], dtype=np.float32)
    table: Float32 = (numbers.astype(np.float32) - np.float32(8)) * row_scale
    return table


def unpack_product_codes(packed_table: PackedTable) -> Float32:
    """The table that ``pack_product_codes`` packed, quantised."""
    codes = packed_table.row_arrays["codes"].astype(np.int64)  # (n, m)
    codewords = packed_table.shared_arrays["words"].astype(np.float32)  # (m * n_words, s)
    n_words = len(codewords) // codes.shape[1]
    row_words = codewords[codes + n_words * np.arange(codes.shape[1])]  # (n, m, s)
    table: Float32 = row_words.reshape(len(codes), -1)  # (n, m * s)
    return table


def kept(table: Float32, coding: Coding) -> Float32:
    if coding == "int4":
        return unpack_int4(pack_int4(table), table.shape[1])
    return unpack_product_codes(pack_product_codes(table))


@settings(max_examples=50, deadline=None)
@given(table=arrays(np.float32, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=FLOATS))
def test_four_bits_err_by_half_a_step_of_the_rows_scale(table: Float32) -> None:
    step = np.maximum(np.abs(table).max(1, keepdims=True) / 7, 1e-12)
    lost = np.abs(unpack_int4(pack_int4(table), table.shape[1]) - table)
    assert (lost <= 0.5001 * step).all()


def test_codes_keep_each_part_nearest_and_take_a_byte() -> None:
    table = alike(32)
    packed = pack_product_codes(table)
    assert packed.row_arrays["codes"].shape == (ROWS, 8)
    parts = table.reshape(ROWS, 8, 4)
    words = packed.shared_arrays["words"].astype(np.float32).reshape(8, 256, 4)
    apart = np.square(parts[:, :, None] - words[None]).sum(-1)  # (ROWS, 8, 256)
    mine = np.take_along_axis(apart, packed.row_arrays["codes"].astype(np.int64)[..., None], 2)[
        ..., 0
    ]
    np.testing.assert_allclose(mine, apart.min(-1), atol=1e-4)
    lost = np.square(unpack_product_codes(packed) - table).sum() / np.square(table).sum()
    assert lost < 0.03


@pytest.mark.parametrize("coding", ["int4", "pq"])
@pytest.mark.parametrize("width", [9, 10, 32])
@pytest.mark.parametrize("product", [False, True])
def test_the_graph_says_what_the_packed_table_says(
    tmp_path: Path, coding: Coding, width: int, product: bool
) -> None:
    table = alike(width)
    graph(tmp_path / "whole.onnx", table, product=product)
    pack_tables(tmp_path / "whole.onnx", tmp_path / "packed.onnx", coding)
    said = run(tmp_path / "packed.onnx", [[0, 5], [1999, 7]])
    expected = kept(table, coding)
    np.testing.assert_array_equal(said[0], expected[[[0, 5], [1999, 7]]])
    if product:
        np.testing.assert_allclose(said[1][1, 0], expected @ expected[1999], atol=1e-3)


@pytest.mark.parametrize(("variant", "times"), [("int4_gather", 6), ("pq_gather", 5)])
def test_variants_are_smaller_and_gather_before_they_unpack(
    tmp_path: Path, variant: Variant, times: float
) -> None:
    graph(tmp_path / "whole.onnx", alike(32), product=False)
    derive_variant(tmp_path / "whole.onnx", tmp_path / "small.onnx", variant)
    before, after = ((tmp_path / f"{n}.onnx").stat().st_size for n in ("whole", "small"))
    assert before > times * after
    first = next(n for n in onnx.load(tmp_path / "small.onnx").graph.node if "rows" in n.input)
    assert first.op_type == "Gather"
    assert first.input[0].startswith("table.")
    np.testing.assert_allclose(run(tmp_path / "small.onnx", [[3]])[0][0, 0], alike(32)[3], atol=0.6)


def test_small_tables_and_weights_stay(tmp_path: Path) -> None:
    table = alike(32)[:500]
    graph(tmp_path / "whole.onnx", table, product=True)
    pack_tables(tmp_path / "whole.onnx", tmp_path / "packed.onnx", "pq")
    np.testing.assert_array_equal(run(tmp_path / "packed.onnx", [[3]])[0][0, 0], table[3])
