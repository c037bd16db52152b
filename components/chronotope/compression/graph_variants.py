"""Storage variants of one exported graph: float16, int8, int4 and product codes."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import onnx
from onnxruntime.quantization import QuantType, quantize_dynamic

from chronotope.artifact.bundle import MODEL
from chronotope.artifact.graph_files import has_own_file, load_graph, save_graph
from chronotope.compression.config import Variant
from chronotope.compression.tables.packed_tables import Coding, pack_tables
from chronotope.compression.tables.quantized_tables import (
    TablePrecision,
    quantize_tables,
    replaceable_tables,
)

_TABLE_PRECISION: dict[Variant, TablePrecision] = {
    "exact_tables": "exact",
    "fp16_tables": "float16",
    "int8_tables": "int8",
}
_INT8_OPERATORS: dict[Variant, list[str]] = {
    "int8_matmul": ["MatMul"],
    "int8_gather": ["MatMul", "Gather"],
}
_TABLE_CODING: dict[Variant, Coding] = {"int4_gather": "int4", "pq_gather": "pq"}


def derive_variant(source_path: Path, target_path: Path, variant: Variant) -> None:
    """Write a smaller variant of an exported graph.

    Args:
        source_path: A float32 graph as exported.
        target_path: The file to write.
        variant: ``float32`` copies; ``*_tables`` stores tables in fewer bits
            (``exact_tables`` loses nothing); ``int8_matmul`` computes products with
            int8 weights and stores tables in float16; ``int8_gather`` also stores
            learned embeddings in int8; ``int4_gather`` and ``pq_gather`` store tables of many
            rows in int4 or product codes, and the others in float16.
    """
    if variant == "float32":
        save_graph(load_graph(source_path), target_path)
    elif variant in _TABLE_PRECISION:
        quantize_tables(source_path, target_path, _TABLE_PRECISION[variant])
    elif variant in _TABLE_CODING:
        with TemporaryDirectory() as temp_dir:
            packed_path = Path(temp_dir) / "packed.onnx"
            pack_tables(source_path, packed_path, _TABLE_CODING[variant])
            quantize_tables(packed_path, target_path, "float16")
    else:
        _quantize_operators(source_path, target_path, _INT8_OPERATORS[variant])


def _quantize_operators(source_path: Path, target_path: Path, operators: list[str]) -> None:
    """Quantise weights first: as int8 they are not narrowed to float16 afterwards."""
    with TemporaryDirectory() as temp_dir, _muted_quantizer():
        quantized_path = Path(temp_dir) / MODEL  # tables of a large one go to MODEL_DATA
        quantize_dynamic(
            source_path,
            quantized_path,
            op_types_to_quantize=operators,
            weight_type=QuantType.QInt8,
            use_external_data_format=has_own_file(source_path),
            nodes_to_exclude=_readers_of_inputs(load_graph(source_path).graph),
        )
        quantize_tables(quantized_path, target_path, "float16")


def _readers_of_inputs(graph: onnx.GraphProto) -> list[str]:
    """Nodes that read a table that a caller may replace, whose values are not known here."""
    replaceable = replaceable_tables(graph)
    return [node.name for node in graph.node if replaceable & set(node.input)]


@contextmanager
def _muted_quantizer() -> Iterator[None]:
    """Mute the quantiser's advice about preprocessing, which it sends to the root logger."""
    root_logger = logging.getLogger()
    previous_level = root_logger.level
    root_logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root_logger.setLevel(previous_level)
