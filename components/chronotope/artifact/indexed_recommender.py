"""Answer from a bundle whose catalogue is ranked by an index, never scored in full.

Beside the files of every bundle, ``items.npz`` holds the index. The graph reads a history and
the vectors of its items, decoded from the index, and says a query, scores of categories, and
what a few items get on top (``chronotope.models.split``); the index finds the best. Memory is
that of the index and of one answer.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import onnxruntime

from chronotope.artifact.bundle import INDEX, Manifest, read_manifest
from chronotope.artifact.item_index import Extra, Found, ItemIndex, Mask
from chronotope.artifact.onnx_recommender import Answers, OnnxRecommender, open_session
from chronotope.contracts.errors import ArtifactError
from chronotope.contracts.eventlog import Catalog, EventLog, Float32
from chronotope.contracts.queries import Queries


@dataclass(frozen=True, slots=True)
class Told:
    """What the graph says of one query.

    Attributes:
        query: For the index, shape (D,).
        group: Score of each category, shape (n_categories,).
        extra: What few items get on top.
        when: As of ``Answers``, shape (1, 3, C).
        place_scores: As of ``Answers``, shape (1, n_places).
    """

    query: Float32
    group: Float32
    extra: Extra
    when: Float32
    place_scores: Float32

    def without(self, item_idx: npt.NDArray[np.integer[Any]]) -> "Told":
        """The same, with some items left out."""
        items = np.union1d(self.extra.item_idx, item_idx).astype(np.int64)
        score = np.zeros(len(items), np.float32)
        score[np.searchsorted(items, self.extra.item_idx)] = self.extra.score
        score[np.isin(items, item_idx)] = -np.inf
        return replace(self, extra=Extra(items, score))


class IndexedRecommender:
    """A frozen recommender for a large catalogue.

    It is a ``Recommender`` as well, for judging: ``scores`` is what the index says of all items,
    one batch at a time. To answer, ``best`` looks at few of them.
    """

    def __init__(
        self, session: onnxruntime.InferenceSession, index: ItemIndex, manifest: Manifest
    ) -> None:
        """Wrap an open session and an index; use ``load``."""
        self.index, self._inner = index, OnnxRecommender(session, manifest)
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
        return cls(session, ItemIndex.load(folder / INDEX), manifest)

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

    def best(self, queries: Queries, k: int, *, slack: float = 0.0) -> list[Found]:
        """The k best items of each query, exact over the codes.

        Args:
            queries: The questions.
            k: Number of items.
            slack: As of ``ItemIndex.top_k``.
        """
        return [self.found(told, k, slack=slack) for told in self.told(queries)]

    def found(
        self, told: Told, k: int, *, allowed: Mask | None = None, slack: float = 0.0
    ) -> Found:
        """The k best items by what the graph has told.

        Args:
            told: Of one query.
            k: Number of items.
            allowed: As of ``ItemIndex.top_k``.
            slack: As of ``ItemIndex.top_k``.
        """
        return self.index.top_k(
            told.query, k, group=told.group, extra=told.extra, allowed=allowed, slack=slack
        )

    def scores(self, queries: Queries) -> npt.NDArray[np.floating]:
        """Logits of all items by the codes, shape (B, n_items); -inf for the unknown."""
        return np.stack([self._all(told) for told in self.told(queries)])

    def answer(self, queries: Queries) -> Answers:
        """What, when and where, for all items: as ``scores``, not bounded by the answer."""
        told = list(self.told(queries))
        return Answers(
            item_scores=np.stack([self._all(one) for one in told]),
            when=np.concatenate([one.when for one in told]),
            place_scores=np.concatenate([one.place_scores for one in told]),
        )

    def told(self, queries: Queries) -> Iterator[Told]:
        """Run the graph once for a batch, and take it apart."""
        feed = self._inner.feed(queries)
        vectors = self.index.vectors(feed["item_idx"].astype(np.int64))[..., -self._width :]
        said = self._inner.session.run(None, feed | {"vectors": vectors})
        for row in range(len(queries)):
            query, group, items, extra, when, places = (part[row : row + 1] for part in said)
            yield Told(query[0], group[0], _added(items[0], extra[0]), when, places)

    def _all(self, told: Told) -> Float32:
        scores = self.index.scores(told.query, group=told.group)
        inside = told.extra.item_idx < len(scores)
        scores[told.extra.item_idx[inside]] += told.extra.score[inside]
        return scores


def _added(items: npt.NDArray[np.int64], extra: Float32) -> Extra:
    """One sum for each item that is known."""
    distinct, at = np.unique(items, return_inverse=True)
    total = np.bincount(at, weights=extra.astype(np.float64)).astype(np.float32)
    known = distinct > 0
    return Extra(distinct[known], total[known])
