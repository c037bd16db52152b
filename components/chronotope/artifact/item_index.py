"""The best items of a large catalogue, found over codes of a few bytes an item.

Items lie in blocks of alike ones of one group (a category, say). Item i of block j has m codes,

    score(q, i) = <q', centre_j> + g_group(j) + sum_m T_m[code_im],  T_m[c] = <q'_m, word_mc>

with q' the query in the index's own axes. Blocks are opened in the order of the bound

    bound_j = <q', centre_j> + g_group(j) + sum_m min(max_c T_m[c], |q'_m| radius_jm)

until none is above the k-th best so far: the answer is that of scoring every item.

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
"""Centroids of a code book: one byte a code."""

FIRST_ITEMS = 4096
"""About so many items are scored before the first look at the bounds, then twice as many."""

ROUNDING = np.float32(2e-5)
"""Share of the terms of a bound that float32 may lose; added to it, so that it stays one."""


class ExactScores(NamedTuple):
    """Exact scores that some items get beside those of the codes.

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
        n_scored: Items whose codes were looked at.
    """

    item_idx: Int64
    score: Float32
    n_scored: int


class _Asked(NamedTuple):
    """A query, looked up: tables of pairs of codes, and each block's centre and bound."""

    table: Float32  # (m / 2, N_WORDS ** 2)
    centre: Float32  # (J,)
    bound: Float32  # (J,)
    allowed: Mask | None = None  # in the order of blocks, (n,)


@dataclass(frozen=True, slots=True)
class ItemIndex:
    """Codes of n items in J blocks; made by ``chronotope.compression.build_index``.

    Attributes:
        axes: Takes a query to the index's axes, shape (D', D), D' >= D.
        centre: Middle of each block, float16, shape (J, D').
        start: First position of each block, shape (J + 1,).
        group: Group of each block, shape (J,).
        radius: Longest code vector in each block and part, float32, shape (J, m).
        words: Code books, float16, shape (m, N_WORDS, D' / m).
        codes: uint8, shape (n, m), in the order of blocks; m is even.
        item: Item at each position, int32, shape (n,), increasing within a block.
    """

    axes: Float32
    centre: npt.NDArray[np.float16]
    start: Int32
    group: Int32
    radius: Float32
    words: npt.NDArray[np.float16]
    codes: npt.NDArray[np.uint8]
    item: Int32
    _centre: Float32 = field(init=False, repr=False, compare=False)
    _radius: Float32 = field(init=False, repr=False, compare=False)  # (m, J): sums are fast
    _words: Float32 = field(init=False, repr=False, compare=False)
    _pairs: npt.NDArray[np.uint16] = field(init=False, repr=False, compare=False)
    _position: Int32 = field(init=False, repr=False, compare=False)
    _size: Int32 = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse arrays that do not belong together.

        Raises:
            ArtifactError: They do not.
        """
        _check(self)
        position = np.full(int(self.item.max(initial=0)) + 1, -1, np.int32)
        position[self.item] = np.arange(len(self.item), dtype=np.int32)
        pairs = np.ascontiguousarray(self.codes).view("<u2")
        for name, value in {
            "_centre": self.centre.astype(np.float32),
            "_radius": np.ascontiguousarray(self.radius.T),
            "_words": self.words.astype(np.float32),
            "_pairs": pairs,
            "_position": position,
            "_size": np.diff(self.start),
        }.items():
            object.__setattr__(self, name, value)

    def __len__(self) -> int:
        """Number of items."""
        return len(self.item)

    @property
    def n_items(self) -> int:
        """Rows that a table of all indices has, the unknown item's among them."""
        return len(self._position)

    @property
    def n_groups(self) -> int:
        """Groups that scores are asked for."""
        return int(self.group.max(initial=0)) + 1

    def top_k(
        self,
        query: Float32,
        k: int,
        *,
        group: Float32 | None = None,
        extra: ExactScores | None = None,
        allowed: Mask | None = None,
    ) -> TopItems:
        """The k items with the highest scores.

        Args:
            query: Shape (D,).
            k: Number of items, at least 1.
            group: Score of each group, shape (>= n_groups,); none counts as zero, and -inf
                leaves its items out.
            extra: Exact scores on top for some items; -inf leaves an item out.
            allowed: Which items may be found, by index; blocks without any are not opened.

        Raises:
            DataError: The query, k or an extra score is no number that can be ranked by, or
                ``allowed`` does not speak of every item.
        """
        if k < 1:
            raise DataError("k must be 1 or more", received=k)
        asked, added = self._ask(query, group), self._known(extra)
        if allowed is not None:
            asked, added = self._only(allowed, asked, added)
        found = _best(added.item_idx, self._of(asked, added.item_idx) + added.score, k)
        bound, n_scored, step = asked.bound.copy(), 0, FIRST_ITEMS
        while True:
            least = found[1][-1] if len(found[0]) == k else -np.inf
            worth = np.flatnonzero((bound >= least) & (bound > -np.inf))
            if not len(worth):
                break
            n_blocks = 1 + step * len(bound) // len(self)
            blocks = worth if n_blocks >= len(worth) else _highest(worth, bound, n_blocks)
            scores = self._score(asked, blocks)
            found = self._better(found, blocks, scores, added.item_idx, k)
            bound[blocks] = -np.inf
            n_scored, step = n_scored + len(scores), 2 * step
        left = found[1] > -np.inf
        return TopItems(found[0][left], found[1][left], n_scored)

    def scores(self, query: Float32, *, group: Float32 | None = None) -> Float32:
        """Scores of all items, shape (highest index + 1,); -inf where there is no item."""
        every = np.full(len(self._position), -np.inf, np.float32)
        every[self.item] = self._score(self._ask(query, group), np.arange(len(self.group)))
        return every

    def told(self, item_idx: npt.NDArray[np.integer[Any]]) -> Float32:
        """What the codes say of items, zeros for unknown ones, (..., D'); ``@ axes`` gives v^."""
        at = self._at(item_idx)
        block = np.searchsorted(self.start, at, side="right") - 1
        words = self._words[np.arange(self.codes.shape[1]), self.codes[at]]  # (..., m, s)
        told = self._centre[block] + words.reshape(*at.shape, -1)
        return np.where((at >= 0)[..., None], told, np.float32(0.0))

    @property
    def n_bytes(self) -> int:
        """Bytes that ``save`` writes, but for a few of headers."""
        return sum(array.nbytes for array in self._stored().values())

    def save(self, path: Path) -> None:
        """Write one file of plain arrays; no pickle."""
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **self._stored())

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what ``save`` wrote.

        Raises:
            ArtifactError: It is missing, damaged or something else.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                told = {name: stored[name] for name in stored.files}
            return cls(item=_in_blocks(told.pop("block"), told["start"]), **told)
        except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ArtifactError(
                "The index of items cannot be read",
                received=f"{path}: {error}",
                way_out="Download the version again, or train again",
            ) from error

    def _stored(self) -> dict[str, npt.NDArray[Any]]:
        """Arrays of the file: the block of each item says where it lies, in fewer bytes."""
        n_blocks = len(self.group)
        block = np.full(len(self._position), n_blocks, np.min_scalar_type(n_blocks))
        block[self.item] = np.repeat(np.arange(n_blocks), self._size)
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.init and f.name != "item"}
        return plain | {"block": block}

    def _ask(self, query: Float32, group: Float32 | None) -> _Asked:
        q = self.axes @ np.asarray(query, np.float32)
        told = np.zeros(self.n_groups, np.float32) if group is None else group
        if not np.isfinite(q).all() or len(told) < self.n_groups or not (told < np.inf).all():
            raise DataError("A query must be finite, with a score below infinity for each group")
        parts = q.reshape(len(self.words), -1)  # (m, s)
        each = np.matmul(self._words, parts[:, :, None])[:, :, 0]  # (m, N_WORDS)
        centre = self._centre @ q + told[self.group]
        length = np.sqrt(np.square(parts).sum(1))
        most = np.minimum(each.max(1)[:, None], self._radius * length[:, None]).sum(0)
        margin = ROUNDING * (
            np.abs(np.where(centre > -np.inf, centre, 0.0)) + np.abs(each).max(1).sum()
        )
        table = (each[1::2, :, None] + each[::2, None, :]).reshape(len(each) // 2, -1)
        bound = np.where(centre > -np.inf, centre + most + margin, -np.inf)
        return _Asked(table, centre, bound)

    def _only(self, allowed: Mask, asked: _Asked, added: ExactScores) -> tuple[_Asked, ExactScores]:
        """The same, with nothing left of blocks and extra scores that are not allowed."""
        if len(allowed) < len(self._position):
            raise DataError(
                "What is allowed must be said of every item",
                received=allowed.shape,
                way_out=f"Give {len(self._position)} values, the unknown item's first",
            )
        inside = allowed[self.item]
        ahead = np.append(0, np.cumsum(inside))
        is_open = ahead[self.start[1:]] > ahead[self.start[:-1]]
        bound = np.where(is_open, asked.bound, np.float32(-np.inf))
        score = np.where(allowed[added.item_idx], added.score, np.float32(-np.inf))
        return asked._replace(bound=bound, allowed=inside), ExactScores(added.item_idx, score)

    def _score(self, asked: _Asked, blocks: Int64) -> Float32:
        """Scores of the items of some blocks, at least one, block after block."""
        size = self._size[blocks]
        begin = self.start[blocks]
        runs = zip(begin.tolist(), (begin + size).tolist(), strict=True)
        scores = _looked_up(asked.table, np.concatenate([self._pairs[a:b] for a, b in runs]))
        scores += np.repeat(asked.centre[blocks], size)
        if asked.allowed is not None:
            runs = zip(begin.tolist(), (begin + size).tolist(), strict=True)
            scores[~np.concatenate([asked.allowed[a:b] for a, b in runs])] = -np.inf
        return scores

    def _better(
        self, found: tuple[Int64, Float32], blocks: Int64, scores: Float32, added: Int64, k: int
    ) -> tuple[Int64, Float32]:
        """The best of what was found and of some blocks, without what came with an extra score."""
        least = found[1][-1] if len(found[1]) == k else -np.inf
        rows = np.flatnonzero(scores >= least)
        n_top = k + len(added)  # the k-th best of the others is among so many
        if len(rows) > 4 * n_top:
            cut = len(rows) - n_top
            rows = rows[scores[rows] >= np.partition(scores[rows], cut)[cut]]
        before = np.append(0, np.cumsum(self._size[blocks]))
        of = np.searchsorted(before, rows, side="right") - 1
        items = self.item[self.start[blocks[of]] + rows - before[of]]
        if len(added):
            at = np.minimum(np.searchsorted(added, items), len(added) - 1)
            rows, items = rows[added[at] != items], items[added[at] != items]
        return _best(np.append(found[0], items), np.append(found[1], scores[rows]), k)

    def _of(self, asked: _Asked, item_idx: Int64) -> Float32:
        """Scores of single items of the index."""
        at = self._at(item_idx)
        scores = _looked_up(asked.table, self._pairs[at])
        scores += asked.centre[np.searchsorted(self.start, at, side="right") - 1]
        return scores

    def _at(self, item_idx: npt.NDArray[np.integer[Any]]) -> Int32:
        """Position of items, -1 for those that are not in the index."""
        inside = (item_idx >= 0) & (item_idx < len(self._position))
        at: Int32 = np.where(inside, self._position[np.where(inside, item_idx, 0)], np.int32(-1))
        return at

    def _known(self, extra: ExactScores | None) -> ExactScores:
        """Extra scores of items of the index, by increasing item."""
        if extra is None:
            return ExactScores(np.empty(0, np.int64), np.empty(0, np.float32))
        if not (extra.score < np.inf).all() or len(np.unique(extra.item_idx)) < len(extra.item_idx):
            raise DataError("Extra scores must be numbers, one an item")
        order = np.argsort(extra.item_idx)
        order = order[self._at(extra.item_idx[order]) >= 0]
        return ExactScores(extra.item_idx[order], extra.score[order].astype(np.float32))


def _looked_up(table: Float32, pairs: npt.NDArray[np.uint16]) -> Float32:
    """Sums over the tables of the entries that pairs of codes name, shape (N,)."""
    scores: Float32 = table[0].take(pairs[:, 0])
    for part in range(1, len(table)):
        scores += table[part].take(pairs[:, part])
    return scores


def _best(items: npt.NDArray[Any], scores: Float32, k: int) -> tuple[Int64, Float32]:
    order = np.lexsort((items, -scores))[:k]
    return items[order].astype(np.int64), scores[order]


def _highest(blocks: Int64, bound: Float32, n: int) -> Int64:
    """The n blocks of the highest bounds, in no order."""
    return blocks[np.argpartition(-bound[blocks], n - 1)[:n]]


def _in_blocks(block: npt.NDArray[Any], start: Int32) -> Int32:
    """Items in the order of blocks, from the block of each item."""
    order = np.argsort(block, kind="stable")[: int(start[-1])]
    return order.astype(np.int32)


def _check(index: ItemIndex) -> None:
    n_blocks, n, m = len(index.group), len(index.item), index.codes.shape[-1]
    width = len(index.axes)
    fits = (
        m % 2 == 0
        and index.codes.shape == (n, m)
        and index.codes.dtype == np.uint8
        and index.centre.shape == (n_blocks, width)
        and index.radius.shape == (n_blocks, m)
        and index.words.shape == (m, N_WORDS, width // m)
        and index.start.shape == (n_blocks + 1,)
        and index.start[0] == 0
        and index.start[-1] == n
        and (np.diff(index.start) >= 0).all()
        and index.item.min(initial=0) >= 0
        and index.group.min(initial=0) >= 0
    )
    if not fits:
        raise ArtifactError(
            "The arrays of the index do not belong together",
            received={f.name: getattr(index, f.name).shape for f in fields(index) if f.init},
            way_out="Download the version again, or train again",
        )
