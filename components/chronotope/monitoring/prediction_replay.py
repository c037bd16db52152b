"""The champion asked about later events, each from what was known before it."""

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from chronotope.artifact.remapped import RemappedRecommender
from chronotope.contracts.event_log import Catalog, EventLog, Float64, Int64
from chronotope.contracts.queries import Queries, queries_at
from chronotope.metrics import (
    EvaluationResult,
    LognormalMixture,
    answer_entropy,
    evaluate,
    top_items,
)
from chronotope.monitoring.config import MonitorConfig
from chronotope.monitoring.windows import Windows
from chronotope.splitting.targets import targets_between

TOP = 10
"""Items of an answer that count as recommended."""

_BATCH = 256


@dataclass(frozen=True, slots=True)
class ReplayedPredictions:
    """What came of asking about one window.

    Attributes:
        window: Its number.
        outcomes: Rank of what happened, for each target.
        entropy: Mean over the answers, nats.
        named: How often each item was among the best ``TOP``, the unknown left out.
        unknown: Share of targets whose item the champion has never heard of.
        pit: Predicted probability of a wait no longer than the true one, the time hidden,
            shape (n_targets,).
    """

    window: int
    outcomes: EvaluationResult
    entropy: float
    named: Int64
    unknown: float
    pit: Float64


def replay_predictions(
    champion: RemappedRecommender,
    log: EventLog,
    catalog: Catalog,
    windows: Windows,
    config: MonitorConfig,
    *,
    after_s: int,
) -> list[ReplayedPredictions]:
    """Ask about the latest windows that began after the champion's training, oldest first.

    Windows with fewer than ``min_rows`` targets are left out.

    Args:
        champion: Speaks the ids of the catalogue.
        log: Everything that happened.
        catalog: Its items.
        windows: How time is cut.
        config: How many windows and targets.
        after_s: Last event of the champion's training, UTC seconds.
    """
    found = []
    for window in range(max(0, windows.n - config.prediction_windows), windows.n):
        start, most = windows.start_s(window), config.max_targets
        if start <= after_s:
            continue
        end = start + windows.length_s
        targets = targets_between(log, start, end, max_targets=most, seed=config.seed)
        if len(targets) >= config.min_rows:
            found.append(_answered(champion, log, catalog, window, targets))
    return found


def _answered(
    champion: RemappedRecommender, log: EventLog, catalog: Catalog, window: int, targets: Int64
) -> ReplayedPredictions:
    noting = _Noting(champion, catalog.n_items)
    outcomes = evaluate(noting, log, targets, n_items=catalog.n_items, time_given=True)
    return ReplayedPredictions(
        window=window,
        outcomes=outcomes,
        entropy=noting.entropy / len(targets),
        named=noting.named[1:],
        unknown=float((champion.item_mapping[log.item_idx[targets]] == 0).mean()),
        pit=_pit(champion, log, targets),
    )


class _Noting:
    """The champion, which notes of its answers what the evaluator does not keep."""

    def __init__(self, champion: RemappedRecommender, n_items: int) -> None:
        self.champion, self.entropy = champion, 0.0
        self.named = np.zeros(n_items, dtype=np.int64)

    @property
    def name(self) -> str:
        return self.champion.name

    @property
    def history_len(self) -> int | None:
        return self.champion.history_len

    def fit(self, log: EventLog, catalog: Catalog) -> Self:
        self.champion.fit(log, catalog)
        return self

    def observe(self, log: EventLog) -> None:
        self.champion.observe(log)

    def scores(self, queries: Queries) -> npt.NDArray[np.floating]:
        scores = self.champion.scores(queries)
        self.entropy += float(answer_entropy(scores).sum())
        self.named += np.bincount(top_items(scores, TOP).ravel(), minlength=len(self.named))
        return scores


def _pit(champion: RemappedRecommender, log: EventLog, targets: Int64) -> Float64:
    """Where the true wait falls in the predicted one, as it was told with the time hidden."""
    found = []
    for at in np.array_split(targets, -(-len(targets) // _BATCH)):
        queries = queries_at(log, at, history_len=champion.history_len, time_given=False)
        mixture = LognormalMixture.of_parts(champion.answer(queries).when)
        found.append(mixture.cdf((log.occurred_s[at] - queries.occurred_s[:, -1]) / 3600.0))
    return np.concatenate(found)
