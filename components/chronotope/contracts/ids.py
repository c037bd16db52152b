"""Map from external string ids to internal integer indices, and computation of event ids."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

UNKNOWN: Final = 0
"""Index of ids that are not in an ``IdMap``; also the padding index."""

DIGEST_CHARS: Final = 32
"""Length of an event id, hexadecimal digits."""

_GOLDEN: Final = np.uint64(0x9E3779B97F4A7C15)
_MIX_A: Final = np.uint64(0xBF58476D1CE4E5B9)
_MIX_B: Final = np.uint64(0x94D049BB133111EB)
_ALL_BITS: Final = 0xFFFFFFFFFFFFFFFF
_BLOCK: Final = 32_768  # rows hashed at a time, so that the block fits the processor's cache
_DIGEST_CACHE_SIZE: Final = 1 << 18  # cached digests; at most about 60 MB for usual ids
_HEX_PAIRS: Final = np.frombuffer(bytes(range(256)).hex().encode(), dtype=np.uint16)


@dataclass(frozen=True)
class IdMap:
    """Map from string ids to dense indices 1..n; 0 stands for unknown.

    Attributes:
        ids: The known ids in index order, shape (n,); index 1 is the first.

    Example:
        >>> songs = IdMap.of(["b", "a", "b"])
        >>> songs.index(["a", "z"]).tolist(), songs.size
        ([1, 0], 3)
    """

    ids: pa.StringArray

    @classmethod
    def of(cls, values: Sequence[str] | pa.Array | pa.ChunkedArray) -> "IdMap":
        """Build a map of the distinct non-null values, in lexicographic order."""
        arrow_array = _as_strings(values)
        distinct_ids = pc.unique(arrow_array).drop_null()
        return cls(distinct_ids.take(pc.sort_indices(distinct_ids)))

    @property
    def size(self) -> int:
        """Number of indices, including index 0 (unknown)."""
        return len(self.ids) + 1

    def index(self, values: Sequence[str] | pa.Array | pa.ChunkedArray) -> npt.NDArray[np.int32]:
        """Map ids to indices, shape (len(values),); unseen or null ids give 0."""
        id_positions = pc.index_in(_as_strings(values), value_set=self.ids)
        filled_positions = pc.add(pc.fill_null(id_positions, -1), 1)
        return np.asarray(filled_positions.to_numpy(zero_copy_only=False), dtype=np.int32)

    def name(self, index: int) -> str | None:
        """The id at an index; None for index 0."""
        return None if index == UNKNOWN else str(self.ids[index - 1].as_py())

    def names(self, indices: npt.NDArray[np.integer]) -> list[str | None]:
        """The ids at some indices; None for index 0."""
        return [self._texts[index] for index in indices.tolist()]

    @cached_property
    def _texts(self) -> list[str | None]:
        """All ids by index, as a list: reading an Arrow array costs twenty times as much."""
        return [None, *self.ids.to_pylist()]


def event_ids(identity_columns: Sequence[pa.Array | pa.ChunkedArray]) -> pa.StringArray:
    """Event id of each row: a hash of its identifying columns, 32 hexadecimal digits.

    Distinct values are hashed once (BLAKE2b), then mixed per row (splitmix64, two
    lanes), so the cost is a few passes over the rows. The same row has the same id
    on every machine and in every version.

    Args:
        identity_columns: Columns of equal length; their order changes the ids.

    Returns:
        Event ids, shape (n_rows,).
    """
    column_words = [_value_words(column) for column in identity_columns]
    hash_lanes = np.zeros((2, len(identity_columns[0])), dtype=np.uint64)
    for block_start in range(0, hash_lanes.shape[1], _BLOCK):
        block_slice = slice(block_start, block_start + _BLOCK)
        for column_idx, word_values in enumerate(column_words):
            for lane_idx in (0, 1):
                lane_salt = np.uint64((2 * column_idx + lane_idx + 1) * int(_GOLDEN) & _ALL_BITS)
                _mix(
                    hash_lanes[lane_idx, block_slice], word_values[lane_idx][block_slice], lane_salt
                )
    return _hex_strings(hash_lanes)


def xor_with_digests(row_ids: pa.StringArray, texts: pa.Array) -> pa.StringArray:
    """Ids of ``event_ids`` combined with a text of each row, by exclusive or.

    Applied twice with one text it gives back the id, so that the text of a row can be replaced in
    its id although the row's other columns are not known any more.

    Args:
        row_ids: Ids of ``event_ids``, shape (n_rows,).
        texts: Text of each row without nulls, such as the pseudonym of its user.

    Example:
        >>> row_ids = event_ids([pa.array(["tea", "rye"])])
        >>> of_ann = xor_with_digests(row_ids, pa.array(["ann", "ann"]))
        >>> of_ann.equals(row_ids), xor_with_digests(of_ann, pa.array(["ann"] * 2)).equals(row_ids)
        (False, True)
    """
    if not len(row_ids):
        return row_ids
    id_bytes = np.frombuffer(bytes.fromhex("".join(row_ids.to_pylist())), ">u8").reshape(-1, 2)
    low_words, high_words = _value_words(texts)
    hash_lanes = id_bytes.T.astype(np.uint64) ^ np.stack([low_words, high_words])
    return _hex_strings(hash_lanes)


def digest_numbers(row_ids: pa.StringArray) -> npt.NDArray[np.uint64]:
    """64-bit hash of each id of ``event_ids``, shape (n_rows,); rarely, two ids share one."""
    start_byte = row_ids.offset * DIGEST_CHARS
    digest_bytes = np.frombuffer(row_ids.buffers()[2] or b"", dtype=np.uint8)
    digest_words = (
        digest_bytes[start_byte : start_byte + len(row_ids) * DIGEST_CHARS]
        .view(np.uint64)
        .reshape(-1, 4)
    )
    mixed_hash = digest_words[:, 0].copy()
    for word_idx in (1, 2, 3):
        mixed_hash *= _GOLDEN
        mixed_hash ^= digest_words[:, word_idx]
    mixed_hash *= _GOLDEN
    return np.asarray(mixed_hash ^ (mixed_hash >> np.uint64(32)))


def text_hashes(texts: pa.Array | pa.ChunkedArray) -> npt.NDArray[np.uint64]:
    """64-bit hash of each text (BLAKE2b), shape (n,); equal on every machine and in every version.

    Args:
        texts: Texts without nulls, such as ids of users.
    """
    return _value_words(_as_strings(texts))[0]


def _value_words(
    column: pa.Array | pa.ChunkedArray,
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.uint64]]:
    """Two 64-bit words per row, equal for equal values."""
    if pa.types.is_timestamp(column.type) or pa.types.is_integer(column.type):
        plain_values = column.cast(pa.int64()).fill_null(np.iinfo(np.int64).min)
        integer_values = np.asarray(plain_values.to_numpy(zero_copy_only=False)).view(np.uint64)
        return integer_values, ~integer_values
    encoded_column = _as_strings(column).dictionary_encode()
    value_digests = [_digest(text_value) for text_value in encoded_column.dictionary.to_pylist()]
    digest_table = np.frombuffer(b"".join([*value_digests, b"\0" * 16]), dtype="<u8").reshape(-1, 2)
    value_codes = encoded_column.indices.fill_null(len(value_digests)).to_numpy(
        zero_copy_only=False
    )
    low_words, high_words = digest_table.T.astype(np.uint64)
    return low_words[value_codes], high_words[value_codes]


@lru_cache(maxsize=_DIGEST_CACHE_SIZE)
def _digest(text_value: str) -> bytes:
    """BLAKE2b digest, cached because batches repeat the same users and items."""
    return hashlib.blake2b(text_value.encode(), digest_size=16).digest()


def _mix(
    lane_state: npt.NDArray[np.uint64], column_words: npt.NDArray[np.uint64], lane_salt: np.uint64
) -> None:
    """Mix words into the state, in place; finaliser of splitmix64 (Steele, Lea & Flood 2014)."""
    lane_state *= _MIX_A
    lane_state += column_words
    lane_state += lane_salt
    lane_state ^= lane_state >> np.uint64(30)
    lane_state *= _MIX_A
    lane_state ^= lane_state >> np.uint64(27)
    lane_state *= _MIX_B
    lane_state ^= lane_state >> np.uint64(31)


def _hex_strings(hash_lanes: npt.NDArray[np.uint64]) -> pa.StringArray:
    raw_bytes = np.ascontiguousarray(hash_lanes.T).astype(">u8").view(np.uint8)  # (n, 16)
    hex_digits = _HEX_PAIRS[raw_bytes]  # (n, 16), two characters each
    string_offsets = np.arange(0, 32 * (raw_bytes.shape[0] + 1), 32, dtype=np.int32)
    return pa.StringArray.from_buffers(
        raw_bytes.shape[0], pa.py_buffer(string_offsets), pa.py_buffer(hex_digits)
    )


def _as_strings(values: Sequence[str] | pa.Array | pa.ChunkedArray) -> pa.Array:
    arrow_array = values if isinstance(values, pa.Array | pa.ChunkedArray) else pa.array(values)
    if isinstance(arrow_array, pa.ChunkedArray):
        arrow_array = arrow_array.combine_chunks()
    return arrow_array.cast(pa.string())
