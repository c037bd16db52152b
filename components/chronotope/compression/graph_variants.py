"""Variants of one exported graph: bytes, half bytes and codes instead of floats."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from onnxruntime.quantization import QuantType, quantize_dynamic

from chronotope.compression.packed_tables import Coding, pack_tables
from chronotope.compression.quantized_tables import TablePrecision, quantize_tables

Variant = Literal[
    "float32",
    "exact_tables",
    "fp16_tables",
    "int8_tables",
    "int8_matmul",
    "int8_gather",
    "int4_gather",
    "pq_gather",
]

_PRECISION: dict[Variant, TablePrecision] = {
    "exact_tables": "exact",
    "fp16_tables": "float16",
    "int8_tables": "int8",
}
_OPERATORS: dict[Variant, list[str]] = {
    "int8_matmul": ["MatMul"],
    "int8_gather": ["MatMul", "Gather"],
}
_CODING: dict[Variant, Coding] = {"int4_gather": "int4", "pq_gather": "pq"}


def derive_variant(source: Path, target: Path, variant: Variant) -> None:
    """Write a smaller variant of an exported graph.

    Args:
        source: A float32 graph as exported.
        target: The file to write.
        variant: ``float32`` copies; ``*_tables`` stores tables in fewer bits
            (``exact_tables`` loses nothing); ``int8_matmul`` computes products with
            weights in bytes and stores tables in float16; ``int8_gather`` also keeps
            learned embeddings in bytes; ``int4_gather`` and ``pq_gather`` keep tables of many
            rows in half bytes or codes, and the others in float16.
    """
    if variant == "float32":
        target.write_bytes(source.read_bytes())
    elif variant in _PRECISION:
        quantize_tables(source, target, _PRECISION[variant])
    elif variant in _CODING:
        with TemporaryDirectory() as scratch:
            packed = Path(scratch) / "packed.onnx"
            pack_tables(source, packed, _CODING[variant])
            quantize_tables(packed, target, "float16")
    else:
        _quantise(source, target, _OPERATORS[variant])


def _quantise(source: Path, target: Path, operators: list[str]) -> None:
    """Quantise weights first: afterwards they are bytes and no longer narrowed."""
    with TemporaryDirectory() as scratch, _quiet():
        quantised = Path(scratch) / "quantised.onnx"
        quantize_dynamic(
            source, quantised, op_types_to_quantize=operators, weight_type=QuantType.QInt8
        )
        quantize_tables(quantised, target, "float16")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the quantiser's advice about preprocessing out of the caller's log."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        root.setLevel(level)
