"""Answers when nobody says for which moment: an average over likely ones."""

from dataclasses import dataclass, replace
from typing import Any, Protocol, Self

import numpy as np
import numpy.typing as npt
from scipy.special import logsumexp

from chronotope.artifact.onnx_recommender import ModelOutput
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.protocols import Recommender
from chronotope.contracts.queries import Queries
from chronotope.metrics.time_calibration import LognormalMixture

LONGEST_S = 10 * 365 * 86_400
"""No moment later than ten years after the last event is asked about."""


class ForecastingRecommender(Recommender, Protocol):
    """A recommender that also tells when."""

    def answer(self, queries: Queries) -> ModelOutput:
        """What, when and where."""


@dataclass(frozen=True, slots=True)
class RequestTimeMarginalized:
    """A recommender that fills in a hidden request time by what it says of *when*.

    With t_1 .. t_n the middles of n equally likely stretches of the predicted time,

        p(i) = sum_j p(i | t_j) / n

    A moment that is told is used as it is. The cost is n more answers a hidden query.

    Attributes:
        model: Answers for one moment.
        n_times: Moments n.
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
        """Let the model observe."""
        self.model.observe(log)

    def scores(self, queries: Queries) -> npt.NDArray[np.floating]:
        """Log-probabilities, or logits where the moment is told, shape (B, n_items)."""
        if queries.time_given.all():
            return self.model.scores(queries)
        when = self.model.answer(queries).when
        hidden = ~queries.time_given & (queries.item_idx[:, -1] > 0)
        parts = []
        for instant_s in self._likely_s(queries, when):
            asked = replace(
                queries,
                request_s=np.where(hidden, instant_s, queries.request_s),
                time_given=queries.time_given | hidden,
            )
            parts.append(_log_softmax(self.model.scores(asked)))
        mean = logsumexp(np.stack(parts), axis=0) - np.log(self.n_times)
        return np.asarray(mean, dtype=np.float32)

    def _likely_s(self, queries: Queries, when: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        """UTC seconds of the moments asked about, shape (n_times, B)."""
        told = LognormalMixture.of_parts(when)
        hours = [told.quantile((j + 0.5) / self.n_times) for j in range(self.n_times)]
        waits_s = np.minimum(np.stack(hours) * 3600.0, LONGEST_S)
        return queries.occurred_s[:, -1] + np.rint(waits_s).astype(np.int64)


def _log_softmax(scores: npt.NDArray[Any]) -> npt.NDArray[np.floating]:
    """Log-probabilities of the known items; the unknown one has none."""
    logits = np.array(scores, dtype=np.float32)
    logits[:, 0] = -np.inf
    return np.asarray(logits - logsumexp(logits, axis=1, keepdims=True))
