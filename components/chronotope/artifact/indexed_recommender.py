"""Answer from a bundle whose catalogue is ranked by an index, never scored in full.

Beside the files of every bundle, ``items.npz`` holds the index. The graph reads a history and
the vectors of its items, decoded from the index, and says a query, scores of categories, and
what a few items get on top (``chronotope.models.factorized``); the index finds the best. Where
``remainders.npy`` is there too, the best ``N_CANDIDATES`` are ranked again by it. Memory is
that of the index and of one answer.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import onnxruntime

from chronotope.artifact.bundle import INDEX, REMAINDERS, Manifest, read_manifest
from chronotope.artifact.item_index import ExactScores, ItemIndex, Mask, TopItems
from chronotope.artifact.onnx_recommender import ModelOutput, OnnxRecommender, open_session
from chronotope.artifact.residuals import N_CANDIDATES, Residuals
from chronotope.contracts.errors import ArtifactError
from chronotope.contracts.event_log import Catalog, EventLog, Float32, Int64
from chronotope.contracts.queries import Queries

N_BEST: Final = 10
"""Items that an answer is timed to find."""


@dataclass(frozen=True, slots=True)
class QueryOutput:
    """What the graph says of one query.

    Attributes:
        query: For the index, shape (D,).
        group: Score of each category, shape (n_categories,).
        extra: What few items get on top.
        when: As of ``ModelOutput``, shape (1, 3, C).
        place_scores: As of ``ModelOutput``, shape (1, n_places).
    """

    query: Float32
    group: Float32
    extra: ExactScores
    when: Float32
    place_scores: Float32

    def without(self, item_idx: npt.NDArray[np.integer[Any]]) -> "QueryOutput":
        """The same, with some items left out."""
        items = np.union1d(self.extra.item_idx, item_idx).astype(np.int64)
        score = np.zeros(len(items), np.float32)
        score[np.searchsorted(items, self.extra.item_idx)] = self.extra.score
        score[np.isin(items, item_idx)] = -np.inf
        return replace(self, extra=ExactScores(items, score))


class IndexedRecommender:
    """A frozen recommender for a large catalogue.

    It is a ``Recommender`` as well, for judging: ``scores`` is what the index says of all items,
    one batch at a time, the best of them as they are answered. To answer, ``best`` looks at few.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        index: ItemIndex,
        manifest: Manifest,
        remainders: Residuals | None = None,
    ) -> None:
        """Wrap an open session and an index; use ``load``."""
        self.index, self.remainders = index, remainders
        self._inner = OnnxRecommender(session, manifest)
        (self._width,) = (i.shape[-1] for i in session.get_inputs() if i.name == "vectors")

    @classmethod
    def load(cls, folder: Path, *, n_threads: int = 1) -> Self:
        """Open a bundle after verifying its digests.

        Raises:
            ArtifactError: It is damaged, or has no index.
        """
        manifest = read_manifest(folder)
        if INDEX not in manifest.digests:
            raise ArtifactError(
                "The bundle has no index of items",
                received=folder,
                way_out="Open it with OnnxRecommender",
            )
        session = open_session(folder, n_threads=n_threads)
        index = ItemIndex.load(folder / INDEX)
        more = REMAINDERS in manifest.digests
        rest = Residuals.load(folder / REMAINDERS, index) if more else None
        return cls(session, index, manifest, rest)

    @property
    def manifest(self) -> Manifest:
        """What the bundle says of itself."""
        return self._inner.manifest

    @property
    def name(self) -> str:
        """Name shown in tables."""
        return self.manifest.name

    @property
    def history_len(self) -> int | None:
        """Events of the past the graph reads."""
        return self.manifest.history_len

    def fit(self, log: EventLog, catalog: Catalog) -> Self:  # noqa: ARG002
        """A bundle is trained already; returns itself."""
        return self

    def observe(self, log: EventLog) -> None:
        """The graph's priors are frozen; the live state is the history in the query."""

    def best(self, queries: Queries, k: int) -> list[TopItems]:
        """The k best items of each query, exact over the codes.

        Args:
            queries: The questions.
            k: Number of items.
        """
        return [self.found(told, k) for told in self.told(queries)]

    def found(self, told: QueryOutput, k: int, *, allowed: Mask | None = None) -> TopItems:
        """The k best items by what the graph has told.

        Args:
            told: Of one query.
            k: Number of items.
            allowed: As of ``ItemIndex.top_k``.
        """
        n = k if self.remainders is None else max(N_CANDIDATES, 2 * k)
        found = self.index.top_k(told.query, n, group=told.group, extra=told.extra, allowed=allowed)
        if self.remainders is None:
            return found
        return self.remainders.again(found, self.index.axes @ told.query, k)

    def scores(self, queries: Queries) -> npt.NDArray[np.floating]:
        """Logits of all items, shape (B, n_items); -inf for the unknown.

        With remainders, the candidates' are those they are ranked again by, and the others', by
        the codes alone, end below the lowest of them.
        """
        return np.stack([self._all(told) for told in self.told(queries)])

    def answer(self, queries: Queries) -> ModelOutput:
        """What, when and where, for all items: as ``scores``, not bounded by the answer."""
        told = list(self.told(queries))
        return ModelOutput(
            item_scores=np.stack([self._all(one) for one in told]),
            when=np.concatenate([one.when for one in told]),
            place_scores=np.concatenate([one.place_scores for one in told]),
        )

    def prepared(self, queries: Queries) -> Callable[[], object]:
        """The work of one answer, to be timed: some of the best items, not all scores."""
        return partial(self.best, queries, N_BEST)

    def told(self, queries: Queries) -> Iterator[QueryOutput]:
        """Run the graph once for a batch, and take it apart."""
        feed = self._inner.feed(queries)
        vectors = self._vectors(feed["item_idx"].astype(np.int64))[..., -self._width :]
        said = self._inner.session.run(None, feed | {"vectors": vectors})
        for row in range(len(queries)):
            query, group, items, extra, when, places = (part[row : row + 1] for part in said)
            yield QueryOutput(query[0], group[0], _added(items[0], extra[0]), when, places)

    def _vectors(self, item_idx: Int64) -> Float32:
        """What is known of items, shape (..., D)."""
        told = self.index.told(item_idx)
        if self.remainders is not None:
            told += self.remainders.left(item_idx)
        vectors: Float32 = told @ self.index.axes
        return vectors

    def _all(self, told: QueryOutput) -> Float32:
        scores = self.index.scores(told.query, group=told.group)
        inside = told.extra.item_idx < len(scores)
        scores[told.extra.item_idx[inside]] += told.extra.score[inside]
        return scores if self.remainders is None else self._again(told, scores, self.remainders)

    def _again(self, told: QueryOutput, scores: Float32, remainders: Residuals) -> Float32:
        """Scores by codes, the best of them ranked again and above all others."""
        n = min(N_CANDIDATES, len(self.index))
        some = np.flatnonzero(scores >= np.partition(scores, -n)[-n])
        some = some[np.argsort(-scores[some], kind="stable")[:n]]
        exact = scores[some] + remainders.scores(some, self.index.axes @ told.query)
        scores = np.minimum(scores, np.nextafter(exact.min(), np.float32(-np.inf)))
        scores[some] = exact
        return scores


def _added(items: npt.NDArray[np.int64], extra: Float32) -> ExactScores:
    """One sum for each item that is known."""
    distinct, at = np.unique(items, return_inverse=True)
    total = np.bincount(at, weights=extra.astype(np.float64)).astype(np.float32)
    known = distinct > 0
    return ExactScores(distinct[known], total[known])
