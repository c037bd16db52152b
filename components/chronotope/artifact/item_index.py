"""Index of a large catalogue: exact top-k over product-quantised items of a few bytes each.

Items are stored in blocks of similar items of one group (a category, say). Item i of block j
has m codes,

    score(q, i) = <q', centroid_j> + g_group(j) + sum_m T_m[code_im],  T_m[c] = <q'_m, word_mc>

with q' the query in the index's own axes. Blocks are scored in the order of the upper bound

    bound_j = <q', centroid_j> + g_group(j) + sum_m min(max_c T_m[c], |q'_m| radius_jm)

until no bound exceeds the k-th best score: the result is that of scoring every item.

Source:
    Jégou et al. (2011), Product Quantization for Nearest Neighbor Search; Petrov et al. (2024),
    Efficient Inference of Sub-Item Id-based Sequential Recommendation Models with Millions of
    Items (PQTopK); Petrov et al. (2025), Efficient Recommendation with Millions of Items by
    Dynamic Pruning of Sub-Item Embeddings (RecJPQPrune).
"""

import zipfile
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt

from chronotope.contracts.errors import ArtifactError, DataError
from chronotope.contracts.event_log import Float32, Int32, Int64

Mask = npt.NDArray[np.bool_]

N_WORDS = 256
"""Codewords of a codebook: one byte a code."""

FIRST_ITEMS = 4096
"""Items scored, about, before the bounds are first compared; each later step doubles it."""

ROUNDING_SHARE = np.float32(2e-5)
"""Share of a bound's terms that float32 may lose; added to it, so that it stays an upper bound."""


class ExactScores(NamedTuple):
    """Exact scores that some items get on top of those by codes.

    Attributes:
        item_idx: Items, each at most once, int64, shape (E,).
        score: float32, shape (E,).
    """

    item_idx: Int64
    score: Float32


class TopItems(NamedTuple):
    """The best items, best first; of equal scores the smaller index first.

    Attributes:
        item_idx: int64, shape (k,), fewer if there are fewer items.
        score: float32, shape (k,).
        n_scored: Number of items whose codes were read.
    """

    item_idx: Int64
    score: Float32
    n_scored: int


class _QueryTables(NamedTuple):
    """Lookup tables of one query: scores of code pairs, and each block's score and bound."""

    pair_scores: Float32  # (m / 2, N_WORDS ** 2)
    block_scores: Float32  # (J,)
    block_bounds: Float32  # (J,)
    allowed_positions: Mask | None = None  # in the order of blocks, (n,)


@dataclass(frozen=True, slots=True)
class ItemIndex:
    """Codes of n items in J blocks; built by ``chronotope.compression.build_index``.

    Attributes:
        projection: Maps a query to the index's axes, shape (D', D), D' >= D.
        block_centroids: Mean vector of each block, float16, shape (J, D').
        block_starts: First position of each block, shape (J + 1,).
        block_groups: Group of each block, shape (J,).
        block_radii: Longest codeword of each block and subspace, float32, shape (J, m).
        codebooks: Codewords, float16, shape (m, N_WORDS, D' / m).
        codes: uint8, shape (n, m), in the order of blocks; m is even.
        item_idx: Item at each position, int32, shape (n,), increasing within a block.
    """

    projection: Float32
    block_centroids: npt.NDArray[np.float16]
    block_starts: Int32
    block_groups: Int32
    block_radii: Float32
    codebooks: npt.NDArray[np.float16]
    codes: npt.NDArray[np.uint8]
    item_idx: Int32
    _centroids: Float32 = field(init=False, repr=False, compare=False)
    _radii_by_code: Float32 = field(init=False, repr=False, compare=False)  # (m, J): fast sums
    _codewords: Float32 = field(init=False, repr=False, compare=False)
    _code_pairs: npt.NDArray[np.uint16] = field(init=False, repr=False, compare=False)
    _item_positions: Int32 = field(init=False, repr=False, compare=False)
    _block_sizes: Int32 = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Validate the arrays and derive the lookup arrays.

        Raises:
            ArtifactError: The shapes of the arrays do not match.
        """
        _check_shapes(self)
        item_positions = np.full(int(self.item_idx.max(initial=0)) + 1, -1, np.int32)
        item_positions[self.item_idx] = np.arange(len(self.item_idx), dtype=np.int32)
        for field_name, derived_array in {
            "_centroids": self.block_centroids.astype(np.float32),
            "_radii_by_code": np.ascontiguousarray(self.block_radii.T),
            "_codewords": self.codebooks.astype(np.float32),
            "_code_pairs": np.ascontiguousarray(self.codes).view("<u2"),
            "_item_positions": item_positions,
            "_block_sizes": np.diff(self.block_starts),
        }.items():
            object.__setattr__(self, field_name, derived_array)

    def __len__(self) -> int:
        """Number of items."""
        return len(self.item_idx)

    @property
    def n_items(self) -> int:
        """Rows of a table of all item indices, including the unknown item's."""
        return len(self._item_positions)

    @property
    def n_groups(self) -> int:
        """Number of groups that a query has scores for."""
        return int(self.block_groups.max(initial=0)) + 1

    def top_k(
        self,
        query: Float32,
        k: int,
        *,
        group_scores: Float32 | None = None,
        extra_scores: ExactScores | None = None,
        allowed: Mask | None = None,
    ) -> TopItems:
        """The k items with the highest scores.

        Args:
            query: Shape (D,).
            k: Number of items, at least 1.
            group_scores: Score of each group, shape (>= n_groups,); by default zero, and -inf
                excludes the group's items.
            extra_scores: Exact scores on top for some items; -inf excludes an item.
            allowed: Items that may be returned, by index; blocks without any are not scored.

        Raises:
            DataError: The query, k or an extra score is not finite enough to rank by, or
                ``allowed`` does not cover every item.
        """
        if k < 1:
            raise DataError("k must be 1 or more", received=k)
        tables, extra = self._query_tables(query, group_scores), self._known_extra(extra_scores)
        if allowed is not None:
            tables, extra = self._restrict(allowed, tables, extra)
        extra_totals = self._single_item_scores(tables, extra.item_idx) + extra.score
        best = _best_items(extra.item_idx, extra_totals, k)
        block_bounds, n_scored, step_items = tables.block_bounds.copy(), 0, FIRST_ITEMS
        while True:
            kth_score = best[1][-1] if len(best[0]) == k else -np.inf
            open_blocks = np.flatnonzero((block_bounds >= kth_score) & (block_bounds > -np.inf))
            if not len(open_blocks):
                break
            n_blocks = 1 + step_items * len(block_bounds) // len(self)
            if n_blocks < len(open_blocks):
                open_blocks = _highest_blocks(open_blocks, block_bounds, n_blocks)
            position_scores = self._block_item_scores(tables, open_blocks)
            best = self._merge_best(best, open_blocks, position_scores, extra.item_idx, k)
            block_bounds[open_blocks] = -np.inf
            n_scored, step_items = n_scored + len(position_scores), 2 * step_items
        is_allowed = best[1] > -np.inf
        return TopItems(best[0][is_allowed], best[1][is_allowed], n_scored)

    def scores(self, query: Float32, *, group_scores: Float32 | None = None) -> Float32:
        """Scores of all items, shape (highest index + 1,); -inf where there is no item."""
        item_scores = np.full(len(self._item_positions), -np.inf, np.float32)
        all_blocks = np.arange(len(self.block_groups))
        tables = self._query_tables(query, group_scores)
        item_scores[self.item_idx] = self._block_item_scores(tables, all_blocks)
        return item_scores

    def decode(self, item_idx: npt.NDArray[np.integer[Any]]) -> Float32:
        """Decoded item vectors, zeros for unknown items, (..., D'); ``@ projection`` gives v^."""
        positions = self._positions(item_idx)
        block_idx = np.searchsorted(self.block_starts, positions, side="right") - 1
        code_idx = np.arange(self.codes.shape[1])
        codewords = self._codewords[code_idx, self.codes[positions]]  # (..., m, s)
        vectors = self._centroids[block_idx] + codewords.reshape(*positions.shape, -1)  # (..., D')
        return np.where((positions >= 0)[..., None], vectors, np.float32(0.0))

    @property
    def n_bytes(self) -> int:
        """Bytes that ``save`` writes, apart from headers."""
        return sum(array.nbytes for array in self._stored_arrays().values())

    def save(self, file_path: Path) -> None:
        """Write one file of plain arrays; no pickle."""
        with file_path.open("wb") as file:
            np.savez(file, allow_pickle=False, **self._stored_arrays())

    @classmethod
    def load(cls, file_path: Path) -> Self:
        """Read the file that ``save`` wrote.

        Raises:
            ArtifactError: The file is missing, damaged or not an index.
        """
        try:
            with file_path.open("rb") as file, np.load(file, allow_pickle=False) as npz_file:
                arrays = {name: npz_file[name] for name in npz_file.files}
            item_blocks = arrays.pop("item_blocks")
            return cls(item_idx=_items_by_block(item_blocks, arrays["block_starts"]), **arrays)
        except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ArtifactError(
                "The index of items cannot be read",
                received=f"{file_path}: {error}",
                way_out="Download the version again, or train again",
            ) from error

    def _stored_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays of the file: the block of each item replaces its position, in fewer bytes."""
        n_blocks = len(self.block_groups)
        item_blocks = np.full(len(self._item_positions), n_blocks, np.min_scalar_type(n_blocks))
        item_blocks[self.item_idx] = np.repeat(np.arange(n_blocks), self._block_sizes)
        field_names = (f.name for f in fields(self) if f.init and f.name != "item_idx")
        return {name: getattr(self, name) for name in field_names} | {"item_blocks": item_blocks}

    def _query_tables(self, query: Float32, group_scores: Float32 | None) -> _QueryTables:
        projected = self.projection @ np.asarray(query, np.float32)  # (D',)
        if group_scores is None:
            group_scores = np.zeros(self.n_groups, np.float32)
        has_all_groups = len(group_scores) >= self.n_groups and (group_scores < np.inf).all()
        if not np.isfinite(projected).all() or not has_all_groups:
            raise DataError("A query must be finite, with a score below infinity for each group")
        subqueries = projected.reshape(len(self.codebooks), -1)  # (m, s)
        word_scores = np.matmul(self._codewords, subqueries[:, :, None])[:, :, 0]  # (m, N_WORDS)
        block_scores = self._centroids @ projected + group_scores[self.block_groups]  # (J,)
        subquery_norms = np.sqrt(np.square(subqueries).sum(1))  # (m,)
        max_code_scores = np.minimum(
            word_scores.max(1)[:, None], self._radii_by_code * subquery_norms[:, None]
        ).sum(0)  # (J,)
        is_scored = block_scores > -np.inf
        margins = ROUNDING_SHARE * (
            np.abs(np.where(is_scored, block_scores, 0.0)) + np.abs(word_scores).max(1).sum()
        )
        pair_scores = word_scores[1::2, :, None] + word_scores[::2, None, :]
        pair_scores = pair_scores.reshape(len(word_scores) // 2, -1)  # (m / 2, N_WORDS ** 2)
        block_bounds = np.where(is_scored, block_scores + max_code_scores + margins, -np.inf)
        return _QueryTables(pair_scores, block_scores, block_bounds)

    def _restrict(
        self, allowed: Mask, tables: _QueryTables, extra: ExactScores
    ) -> tuple[_QueryTables, ExactScores]:
        """Tables and extra scores with -inf for blocks and items that are not allowed."""
        if len(allowed) < len(self._item_positions):
            raise DataError(
                "The mask of allowed items must cover every item",
                received=allowed.shape,
                way_out=f"Give {len(self._item_positions)} values, the unknown item's first",
            )
        allowed_positions = allowed[self.item_idx]
        n_allowed_before = np.append(0, np.cumsum(allowed_positions))  # (n + 1,)
        is_open = n_allowed_before[self.block_starts[1:]] > n_allowed_before[self.block_starts[:-1]]
        block_bounds = np.where(is_open, tables.block_bounds, np.float32(-np.inf))
        extra_scores = np.where(allowed[extra.item_idx], extra.score, np.float32(-np.inf))
        restricted_tables = tables._replace(
            block_bounds=block_bounds, allowed_positions=allowed_positions
        )
        return restricted_tables, ExactScores(extra.item_idx, extra_scores)

    def _block_item_scores(self, tables: _QueryTables, block_idx: Int64) -> Float32:
        """Scores of the items of at least one block, block after block."""
        block_sizes = self._block_sizes[block_idx]
        block_starts = self.block_starts[block_idx]
        block_ends = (block_starts + block_sizes).tolist()
        spans = list(zip(block_starts.tolist(), block_ends, strict=True))
        code_pairs = np.concatenate([self._code_pairs[start:end] for start, end in spans])
        item_scores = _sum_pair_scores(tables.pair_scores, code_pairs)
        item_scores += np.repeat(tables.block_scores[block_idx], block_sizes)
        if tables.allowed_positions is not None:
            is_allowed = [tables.allowed_positions[start:end] for start, end in spans]
            item_scores[~np.concatenate(is_allowed)] = -np.inf
        return item_scores

    def _merge_best(
        self,
        best: tuple[Int64, Float32],
        block_idx: Int64,
        item_scores: Float32,
        extra_idx: Int64,
        k: int,
    ) -> tuple[Int64, Float32]:
        """The k best of the previous ones and of some blocks' items without an extra score."""
        kth_score = best[1][-1] if len(best[1]) == k else -np.inf
        candidate_rows = np.flatnonzero(item_scores >= kth_score)
        n_top = k + len(extra_idx)  # at most these many rows can be replaced by extra scores
        if len(candidate_rows) > 4 * n_top:
            cut_rank = len(candidate_rows) - n_top
            candidate_scores = item_scores[candidate_rows]
            cut_score = np.partition(candidate_scores, cut_rank)[cut_rank]
            candidate_rows = candidate_rows[candidate_scores >= cut_score]
        rows_before = np.append(0, np.cumsum(self._block_sizes[block_idx]))
        block_rank = np.searchsorted(rows_before, candidate_rows, side="right") - 1
        block_starts = self.block_starts[block_idx[block_rank]]
        item_idx = self.item_idx[block_starts + candidate_rows - rows_before[block_rank]]
        if len(extra_idx):
            extra_rank = np.minimum(np.searchsorted(extra_idx, item_idx), len(extra_idx) - 1)
            is_plain = extra_idx[extra_rank] != item_idx
            candidate_rows, item_idx = candidate_rows[is_plain], item_idx[is_plain]
        merged_scores = np.append(best[1], item_scores[candidate_rows])
        return _best_items(np.append(best[0], item_idx), merged_scores, k)

    def _single_item_scores(self, tables: _QueryTables, item_idx: Int64) -> Float32:
        """Scores of single items of the index."""
        positions = self._positions(item_idx)
        item_scores = _sum_pair_scores(tables.pair_scores, self._code_pairs[positions])
        block_idx = np.searchsorted(self.block_starts, positions, side="right") - 1
        item_scores += tables.block_scores[block_idx]
        return item_scores

    def _positions(self, item_idx: npt.NDArray[np.integer[Any]]) -> Int32:
        """Positions of items, -1 for items that are not in the index."""
        is_inside = (item_idx >= 0) & (item_idx < len(self._item_positions))
        inside_positions = self._item_positions[np.where(is_inside, item_idx, 0)]
        positions: Int32 = np.where(is_inside, inside_positions, np.int32(-1))
        return positions

    def _known_extra(self, extra_scores: ExactScores | None) -> ExactScores:
        """Extra scores of items of the index, by increasing item."""
        if extra_scores is None:
            return ExactScores(np.empty(0, np.int64), np.empty(0, np.float32))
        item_idx, score = extra_scores
        if not (score < np.inf).all() or len(np.unique(item_idx)) < len(item_idx):
            raise DataError("Extra scores must be numbers, one an item")
        order = np.argsort(item_idx)
        order = order[self._positions(item_idx[order]) >= 0]
        return ExactScores(item_idx[order], score[order].astype(np.float32))


def _sum_pair_scores(pair_scores: Float32, code_pairs: npt.NDArray[np.uint16]) -> Float32:
    """Sum over the pairs of codes of each item, shape (N,)."""
    item_scores: Float32 = pair_scores[0].take(code_pairs[:, 0])
    for pair_idx in range(1, len(pair_scores)):
        item_scores += pair_scores[pair_idx].take(code_pairs[:, pair_idx])
    return item_scores


def _best_items(item_idx: npt.NDArray[Any], item_scores: Float32, k: int) -> tuple[Int64, Float32]:
    order = np.lexsort((item_idx, -item_scores))[:k]
    return item_idx[order].astype(np.int64), item_scores[order]


def _highest_blocks(block_idx: Int64, block_bounds: Float32, n_blocks: int) -> Int64:
    """The blocks with the highest bounds, unordered."""
    return block_idx[np.argpartition(-block_bounds[block_idx], n_blocks - 1)[:n_blocks]]


def _items_by_block(item_blocks: npt.NDArray[Any], block_starts: Int32) -> Int32:
    """Items in the order of blocks, from the block of each item."""
    order = np.argsort(item_blocks, kind="stable")[: int(block_starts[-1])]
    return order.astype(np.int32)


def _check_shapes(index: ItemIndex) -> None:
    n_blocks, n_items = len(index.block_groups), len(index.item_idx)
    n_codes, width = index.codes.shape[-1], len(index.projection)
    is_consistent = (
        n_codes % 2 == 0
        and index.codes.shape == (n_items, n_codes)
        and index.codes.dtype == np.uint8
        and index.block_centroids.shape == (n_blocks, width)
        and index.block_radii.shape == (n_blocks, n_codes)
        and index.codebooks.shape == (n_codes, N_WORDS, width // n_codes)
        and index.block_starts.shape == (n_blocks + 1,)
        and index.block_starts[0] == 0
        and index.block_starts[-1] == n_items
        and (np.diff(index.block_starts) >= 0).all()
        and index.item_idx.min(initial=0) >= 0
        and index.block_groups.min(initial=0) >= 0
    )
    if not is_consistent:
        raise ArtifactError(
            "The shapes of the index's arrays do not match",
            received={f.name: getattr(index, f.name).shape for f in fields(index) if f.init},
            way_out="Download the version again, or train again",
        )
