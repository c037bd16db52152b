"""Scores for a hidden request time: the mixture over times sampled from the time head."""

from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt

from chronotope.artifact.onnx_recommender import ModelOutput
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.protocols import Recommender
from chronotope.contracts.queries import Queries
from chronotope.metrics import LognormalMixture

MAX_WAIT_S = 10 * 365 * 86_400
"""Upper bound of the time between the last event and a sampled request time."""


class ForecastingRecommender(Recommender, Protocol):
    """A recommender that also predicts the time of the next event."""

    def answer(self, queries: Queries) -> ModelOutput:
        """Scores of items and places, and the time mixture."""


@dataclass(frozen=True, slots=True)
class RequestTimeMarginalized:
    """A recommender that averages over request times where the time is hidden.

    With t_1 .. t_n the midpoints of n equally likely intervals of the predicted time,

        p(i) = sum_j p(i | t_j) / n

    A given request time is used as it is. Each hidden query costs n additional inferences.

    Attributes:
        model: Recommender for a given time.
        n_times: Number n of sampled times.
    """

    model: ForecastingRecommender
    n_times: int = 8

    @property
    def name(self) -> str:
        """Name shown in tables."""
        return self.model.name

    @property
    def history_len(self) -> int | None:
        """Longest history the model reads."""
        return self.model.history_len

    def fit(self, log: EventLog, catalog: Catalog) -> Self:
        """Train the model."""
        self.model.fit(log, catalog)
        return self

    def observe(self, log: EventLog) -> None:
        """Update the state of the model."""
        self.model.observe(log)

    def scores(self, queries: Queries) -> npt.NDArray[np.floating]:
        """Log-probabilities, or logits if every request time is given, shape (B, n_items)."""
        if queries.time_given.all():
            return self.model.scores(queries)
        time_mixture = self.model.answer(queries).when
        is_hidden = ~queries.time_given & (queries.item_idx[:, -1] > 0)
        mean_probs: npt.NDArray[np.float32] = np.zeros(1, dtype=np.float32)
        for request_s in self._request_times_s(queries, time_mixture):
            timed_queries = replace(
                queries,
                request_s=np.where(is_hidden, request_s, queries.request_s),
                time_given=queries.time_given | is_hidden,
            )
            mean_probs = mean_probs + _softmax(self.model.scores(timed_queries)) / np.float32(
                self.n_times
            )
        with np.errstate(divide="ignore"):  # the unknown item has probability 0
            return np.asarray(np.log(mean_probs), dtype=np.float32)

    def _request_times_s(
        self, queries: Queries, time_mixture: npt.NDArray[np.float32]
    ) -> npt.NDArray[np.int64]:
        """UTC seconds of the sampled request times, shape (n_times, B)."""
        mixture = LognormalMixture.of_parts(time_mixture)
        quantiles_h = [mixture.quantile((j + 0.5) / self.n_times) for j in range(self.n_times)]
        waits_s = np.minimum(np.stack(quantiles_h) * 3600.0, MAX_WAIT_S)
        return queries.occurred_s[:, -1] + np.rint(waits_s).astype(np.int64)


def _softmax(item_scores: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """Probabilities of the items, the smallest positive number at least; 0 for the unknown."""
    logits = np.array(item_scores, dtype=np.float32)
    logits[:, 0] = -np.inf
    logits -= logits.max(axis=1, keepdims=True)
    np.exp(logits, out=logits)
    logits /= logits.sum(axis=1, keepdims=True)
    np.maximum(logits[:, 1:], np.finfo(np.float32).tiny, out=logits[:, 1:])
    return logits
