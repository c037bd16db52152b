"""MiniLM with weights of 8 bits: what it costs, and whether its vectors still mean the same.

    python -m benchmarks.text_quantization --data DIR --json text_quantization.json

Variants: ``float32``; ``float32, 4,096 tokens``, larger batches of the same graph; ``int8``, the
usual dynamic quantisation of matrix products, whose scale of the inputs is that of a whole batch;
``blocks``, weights and inputs in blocks of 32 numbers with a scale each. Each encodes the same
texts, in turn with the others, with one thread.

Rows: processor seconds; correlation with float32 of the cosines of all pairs of texts; share of
the ten nearest texts that are the same; and the largest difference between the vector of a text
that is encoded alone and that of the same text in a batch.
"""

import argparse
import logging
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from rich import box
from rich.console import Console
from rich.table import Table

from benchmarks.data_sets import add_data_option, data_root
from benchmarks.embed_items import DATASET, drawn_texts
from benchmarks.rows import Row, at_least_one, write_rows
from chronotope.content.encoder import Vectors
from chronotope.content.encoders.onnx_session import open_encoder_session
from chronotope.content.encoders.onnx_text_encoder import OnnxTextEncoder
from chronotope.content.encoders.pretrained_text import (
    MINILM_SHAPE,
    minilm_files,
    open_minilm,
    read_safetensors,
)
from chronotope.content.graphs.bert import build_bert

N_NEIGHBOURS: Final = 10
N_ALONE: Final = 20
BLOCK_SIZE: Final = 32
LARGE_BATCH: Final = 4_096
LARGE_NAME: Final = f"float32, {LARGE_BATCH:,} tokens"


def int8_model(model_bytes: bytes) -> bytes:
    """Model with dynamic quantisation, a scale for each channel of the weights."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder:
        model_path = Path(folder) / "int8.onnx"
        quantize_dynamic(
            onnx.load_from_string(model_bytes),
            model_path,
            per_channel=True,
            weight_type=QuantType.QInt8,
            op_types_to_quantize=["MatMul"],
        )
        return model_path.read_bytes()


def block_model(model_bytes: bytes) -> bytes:
    """Model whose matrix products read blocks of 8-bit numbers."""
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    quantizer = MatMulNBitsQuantizer(
        onnx.load_from_string(model_bytes),
        bits=8,
        block_size=BLOCK_SIZE,
        is_symmetric=True,
        accuracy_level=4,  # inputs as int8 as well
    )
    quantizer.process()
    return bytes(quantizer.model.model.SerializeToString())


VARIANTS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "float32": lambda model_bytes: model_bytes,
    "int8": int8_model,
    "blocks": block_model,
}


def compare(
    encoders: Mapping[str, OnnxTextEncoder], texts: Sequence[str], repeats: int
) -> list[Row]:
    """Row of each variant; the first is what the others are compared with.

    Args:
        encoders: Encoder of each variant.
        texts: Texts to encode.
        repeats: Rounds; the median is taken.
    """
    cpu_s: dict[str, list[float]] = {name: [] for name in encoders}
    vectors: dict[str, Vectors] = {}
    for _ in range(repeats):
        for name, encoder in encoders.items():
            start_s = time.process_time()
            vectors[name] = encoder.encode(texts)
            cpu_s[name].append(time.process_time() - start_s)
    reference = vectors[next(iter(encoders))]
    rows: list[Row] = []
    for name, encoder in encoders.items():
        alone = np.concatenate([encoder.encode([text]) for text in texts[:N_ALONE]])
        median_s = statistics.median(cpu_s[name])
        rows.append(
            {
                "variant": name,
                "n_texts": len(texts),
                "cpu_s": round(median_s, 2),
                "texts_per_cpu_s": round(len(texts) / median_s, 1),
                "cosine_correlation": round(cosine_correlation(reference, vectors[name]), 4),
                "same_neighbours": round(same_neighbours(reference, vectors[name]), 3),
                "alone_difference": round(float(np.abs(alone - vectors[name][:N_ALONE]).max()), 6),
            }
        )
    return rows


def cosine_correlation(reference: Vectors, vectors: Vectors) -> float:
    """Correlation of the cosines of all pairs of rows.

    Args:
        reference: Unit vectors, shape (n, d).
        vectors: Unit vectors of the same texts.
    """
    pairs = np.triu_indices(len(reference), 1)
    cosines = [(rows @ rows.T)[pairs] for rows in (reference, vectors)]
    return float(np.corrcoef(cosines)[0, 1])


def same_neighbours(reference: Vectors, vectors: Vectors) -> float:
    """Mean share of the nearest other rows that are the same.

    Args:
        reference: Unit vectors, shape (n, d).
        vectors: Unit vectors of the same texts.
    """
    nearest = []
    for rows in (reference, vectors):
        cosine = rows @ rows.T
        np.fill_diagonal(cosine, -np.inf)
        nearest.append(np.argsort(-cosine, axis=1)[:, :N_NEIGHBOURS])
    shares = [
        len(np.intersect1d(first, second)) / len(first)
        for first, second in zip(*nearest, strict=True)
    ]
    return float(np.mean(shares))


def main(argv: Sequence[str] | None = None) -> None:
    """Compare the variants, print a table and write the rows.

    Args:
        argv: Command-line arguments; None for those of the process.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.text_quantization", description="MiniLM with 8-bit weights."
    )
    add_data_option(parser)
    parser.add_argument("--n-texts", type=at_least_one, default=200)
    parser.add_argument("--repeats", type=at_least_one, default=3)
    parser.add_argument("--json", type=Path, help="file for the rows")
    args = parser.parse_args(argv)
    logging.disable(logging.WARNING)  # advice of the quantisation on graphs without shapes
    texts, _ = drawn_texts(args.n_texts, data_root(args.data) / DATASET, seed=0)
    model_bytes = build_bert(read_safetensors(minilm_files()[0]), MINILM_SHAPE)
    encoder = open_minilm(n_threads=1)
    encoders = {
        name: replace(encoder, session=open_encoder_session(quantize(model_bytes), n_threads=1))
        for name, quantize in VARIANTS.items()
    }
    large_batches = replace(encoders["float32"], batch_tokens=LARGE_BATCH)
    rows = compare(encoders | {LARGE_NAME: large_batches}, texts, args.repeats)
    Console(width=120).print(_table(rows))
    if args.json:
        write_rows(rows, args.json)


def _table(rows: Sequence[Row]) -> Table:
    table = Table(title="MiniLM, 8-bit variants", box=box.SIMPLE_HEAD)
    for header in rows[0]:
        table.add_column(header.replace("_", " "))
    for row in rows:
        table.add_row(*(str(value) for value in row.values()))
    return table


if __name__ == "__main__":
    main()
