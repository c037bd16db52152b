"""Recommender of a bundle whose catalogue is ranked by an index, never scored in full.

Beside the files of every bundle, ``items.npz`` holds the index. The graph reads a history and
the vectors of its items, decoded from the index, and returns a query vector, scores of
categories and additive scores of a few items (``chronotope.models.factorized``); the index
finds the best items. With ``residuals.npy`` the best ``N_CANDIDATES`` are ranked again exactly.
Memory is that of the index and of one answer.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt
import onnxruntime

from chronotope.artifact.bundle import INDEX, RESIDUALS, Manifest, read_manifest
from chronotope.artifact.item_index import ExactScores, ItemIndex, Mask, TopItems
from chronotope.artifact.onnx_recommender import ModelOutput, OnnxRecommender, open_session
from chronotope.artifact.residuals import N_CANDIDATES, Residuals
from chronotope.contracts.errors import ArtifactError
from chronotope.contracts.event_log import Catalog, EventLog, Float32, Int64
from chronotope.contracts.queries import Queries

N_TIMED: Final = 10
"""Number of items that a timed inference finds."""


@dataclass(frozen=True, slots=True)
class QueryOutput:
    """Outputs of the graph for one query.

    Attributes:
        query: Query vector of the index, shape (D,).
        group_scores: Score of each category, shape (n_categories,).
        extra_scores: Additive scores of a few items.
        when: As of ``ModelOutput``, shape (1, 3, C).
        place_scores: As of ``ModelOutput``, shape (1, n_places).
    """

    query: Float32
    group_scores: Float32
    extra_scores: ExactScores
    when: Float32
    place_scores: Float32

    def excluded_items(self) -> Int64:
        """Items that ``without`` excluded, shape (n,)."""
        is_excluded = self.extra_scores.score == -np.inf
        return np.asarray(self.extra_scores.item_idx[is_excluded], np.int64)

    def without(self, excluded_idx: npt.NDArray[np.integer[Any]]) -> "QueryOutput":
        """The same output with some items excluded from the ranking."""
        scored_idx = self.extra_scores.item_idx
        item_idx = np.union1d(scored_idx, excluded_idx).astype(np.int64)
        item_scores = np.zeros(len(item_idx), np.float32)
        item_scores[np.searchsorted(item_idx, scored_idx)] = self.extra_scores.score
        item_scores[np.isin(item_idx, excluded_idx)] = -np.inf
        return replace(self, extra_scores=ExactScores(item_idx, item_scores))


class IndexedRecommender:
    """A frozen recommender for a large catalogue.

    It is a ``Recommender`` as well, for evaluation: ``scores`` returns the index's scores of all
    items, the best of them exact. Serving uses ``top_items``, which reads a part of the index.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        index: ItemIndex,
        manifest: Manifest,
        residuals: Residuals | None = None,
    ) -> None:
        """Wrap an open session and an index; use ``load``."""
        self.index, self.residuals = index, residuals
        self._graph = OnnxRecommender(session, manifest)
        (self._vector_width,) = (
            graph_input.shape[-1]
            for graph_input in session.get_inputs()
            if graph_input.name == "vectors"
        )

    @classmethod
    def load(cls, bundle_dir: Path, *, n_threads: int = 1) -> Self:
        """Open a bundle after verifying its digests.

        Raises:
            ArtifactError: It is damaged, or has no index.
        """
        bundle_manifest = read_manifest(bundle_dir)
        if INDEX not in bundle_manifest.digests:
            raise ArtifactError(
                "The bundle has no index of items",
                received=bundle_dir,
                way_out="Open it with OnnxRecommender",
            )
        session = open_session(bundle_dir, n_threads=n_threads)
        index = ItemIndex.load(bundle_dir / INDEX)
        has_residuals = RESIDUALS in bundle_manifest.digests
        residuals = Residuals.load(bundle_dir / RESIDUALS, index) if has_residuals else None
        return cls(session, index, bundle_manifest, residuals)

    @property
    def session(self) -> onnxruntime.InferenceSession:
        """Open session of the graph."""
        return self._graph.session

    @property
    def manifest(self) -> Manifest:
        """Manifest of the bundle."""
        return self._graph.manifest

    @property
    def name(self) -> str:
        """Name shown in tables."""
        return self.manifest.name

    @property
    def history_len(self) -> int | None:
        """Number of past events the graph reads."""
        return self.manifest.history_len

    @property
    def history_lengths(self) -> tuple[int, ...]:
        """Lengths to which the graph's histories are padded, ascending."""
        return self._graph.history_lengths

    def fit(self, log: EventLog, catalog: Catalog) -> Self:  # noqa: ARG002
        """No operation: a bundle is already trained."""
        return self

    def observe(self, log: EventLog) -> None:
        """No operation: the graph's priors are frozen, the live state is in the query."""

    def top_items(self, queries: Queries, k: int) -> list[TopItems]:
        """The k best items of each query, exact over the codes.

        Args:
            queries: Queries of the batch.
            k: Number of items.
        """
        return [self.rank_items(output, k) for output in self.query_outputs(queries)]

    def rank_items(self, output: QueryOutput, k: int, *, allowed: Mask | None = None) -> TopItems:
        """The k best items by the graph's output.

        Args:
            output: Output for one query.
            k: Number of items.
            allowed: As of ``ItemIndex.top_k``.
        """
        n_candidates = k if self.residuals is None else max(N_CANDIDATES, 2 * k)
        top_items = self.index.top_k(
            output.query,
            n_candidates,
            group_scores=output.group_scores,
            extra_scores=output.extra_scores,
            allowed=allowed,
        )
        if self.residuals is None:
            return top_items
        return self.residuals.rerank(top_items, self.index.projection @ output.query, k)

    def scores(self, queries: Queries) -> npt.NDArray[np.floating]:
        """Logits of all items, shape (B, n_items); -inf for the unknown.

        With residuals, candidates have exact scores; all others, scored by codes alone, are
        capped below the lowest candidate.
        """
        return np.stack([self._item_scores(output) for output in self.query_outputs(queries)])

    def answer(self, queries: Queries) -> ModelOutput:
        """Outputs for all items: scores as of ``scores``, memory not bounded by the answer."""
        outputs = list(self.query_outputs(queries))
        return ModelOutput(
            item_scores=np.stack([self._item_scores(output) for output in outputs]),
            when=np.concatenate([output.when for output in outputs]),
            place_scores=np.concatenate([output.place_scores for output in outputs]),
        )

    def prepared(self, queries: Queries) -> Callable[[], object]:
        """Inference to be timed: the best items, not all scores."""
        return partial(self.top_items, queries, N_TIMED)

    def query_outputs(self, queries: Queries) -> Iterator[QueryOutput]:
        """Outputs of one run of the graph, query by query."""
        graph_inputs = self._graph.feed(queries)
        item_idx = graph_inputs["item_idx"].astype(np.int64)  # (B, H)
        row_vectors = self._item_vectors(item_idx)[..., -self._vector_width :]  # (B, H, width)
        batch_outputs = self._graph.session.run(None, graph_inputs | {"vectors": row_vectors})
        for row in range(len(queries)):
            query, group_scores, extra_idx, extra_scores, when, place_scores = (
                batch_output[row : row + 1] for batch_output in batch_outputs
            )
            yield QueryOutput(
                query[0],
                group_scores[0],
                _sum_by_item(extra_idx[0], extra_scores[0]),
                when,
                place_scores,
            )

    def _item_vectors(self, item_idx: Int64) -> Float32:
        """Decoded item vectors, shape (..., D)."""
        decoded = self.index.decode(item_idx)
        if self.residuals is not None:
            decoded += self.residuals.decode(item_idx)
        row_vectors: Float32 = decoded @ self.index.projection
        return row_vectors

    def _item_scores(self, output: QueryOutput) -> Float32:
        item_scores = self.index.scores(output.query, group_scores=output.group_scores)
        extra_idx, extra_score = output.extra_scores
        is_inside = extra_idx < len(item_scores)
        item_scores[extra_idx[is_inside]] += extra_score[is_inside]
        if self.residuals is None:
            return item_scores
        return self._rerank_scores(output, item_scores, self.residuals)

    def _rerank_scores(
        self, output: QueryOutput, item_scores: Float32, residuals: Residuals
    ) -> Float32:
        """Scores by codes, the candidates' exact and above all others."""
        n_candidates = min(N_CANDIDATES, len(self.index))
        lowest_score = np.partition(item_scores, -n_candidates)[-n_candidates]
        candidate_idx = np.flatnonzero(item_scores >= lowest_score)
        order = np.argsort(-item_scores[candidate_idx], kind="stable")[:n_candidates]
        candidate_idx = candidate_idx[order]
        projected_query = self.index.projection @ output.query
        exact_scores = item_scores[candidate_idx] + residuals.scores(candidate_idx, projected_query)
        score_cap = np.nextafter(exact_scores.min(), np.float32(-np.inf))
        item_scores = np.minimum(item_scores, score_cap)
        item_scores[candidate_idx] = exact_scores
        return item_scores


def _sum_by_item(item_idx: npt.NDArray[np.int64], extra_scores: Float32) -> ExactScores:
    """Sum of the additive scores of each item; the unknown item is left out."""
    unique_idx, positions = np.unique(item_idx, return_inverse=True)
    score_sums = np.bincount(positions, weights=extra_scores.astype(np.float64))
    is_known = unique_idx > 0
    return ExactScores(unique_idx[is_known], score_sums.astype(np.float32)[is_known])
