"""-log p of items and times is that of the predicted distribution, and runs are its means."""

import numpy as np

from chronotope.anomalies.recommender_surprise import (
    N_ITEM_RUN,
    N_USER_RUN,
    event_surprise,
    recommender_features,
)
from chronotope.artifact.onnx_recommender import ModelOutput
from chronotope.contracts.event_log import EventLog
from chronotope.contracts.queries import Queries

N_ITEMS = 40
N_EVENTS = 4_000
PROBABILITY = np.arange(N_ITEMS) / np.arange(N_ITEMS).sum()  # index 0, the unknown, never occurs


class KnownLaw:
    """Knows the law of the log: fixed shares of items, lognormal gaps."""

    history_len = 4
    n_queries = 0

    def answer(self, queries: Queries) -> ModelOutput:
        self.n_queries += len(queries)
        assert not queries.user_idx.any()
        with np.errstate(divide="ignore"):
            scores = np.tile(np.log(PROBABILITY), (len(queries), 1)).astype(np.float32)
        mixture = np.zeros((len(queries), 3, 1), np.float32)  # weight 1, median 1 h, log-scale 0
        return ModelOutput(scores, mixture, np.zeros((len(queries), 1), np.float32))


def drawn_log(seed: int = 0) -> EventLog:
    rng = np.random.default_rng(seed)
    user_idx = np.sort(rng.integers(1, 30, N_EVENTS))
    gap_s = np.maximum(1, np.exp(rng.normal(size=N_EVENTS)) * 3600).astype(np.int64)
    return EventLog.sorted(
        user_idx=user_idx,
        item_idx=rng.choice(N_ITEMS, N_EVENTS, p=PROBABILITY),
        occurred_s=np.cumsum(gap_s),
    )


def test_p_values_are_those_of_the_law() -> None:
    log = drawn_log()
    surprise = event_surprise(KnownLaw(), log, np.arange(N_EVENTS))
    p_item, p_time = np.exp(-surprise.item), np.exp(-surprise.time)
    for level in (0.01, 0.1, 0.5):
        assert np.mean(p_time <= level) == np.clip(
            np.mean(p_time <= level), 0.7 * level, 1.3 * level
        )
        assert np.mean(p_item <= level) <= 1.3 * level  # discrete: never above its level
    expected = PROBABILITY[PROBABILITY[log.item_idx[7]] >= PROBABILITY].sum()
    assert np.isclose(p_item[7], expected, rtol=1e-4)


def test_an_unlikely_gap_is_surprising_on_both_sides() -> None:
    for gap_s in (5, 400 * 3600):
        log = EventLog.sorted(user_idx=[1, 1], item_idx=[3, 3], occurred_s=[0, gap_s])
        first, second = event_surprise(KnownLaw(), log, np.array([0, 1])).time
        assert first == 1.0  # no past to judge by
        assert second > 10


def test_an_item_the_recommender_cannot_know_is_neutral() -> None:
    log = EventLog.sorted(user_idx=[1], item_idx=[0], occurred_s=[0])
    assert event_surprise(KnownLaw(), log, np.array([0])).item[0] == 1.0


def test_runs_are_means_over_the_latest_events_and_only_these_are_scored() -> None:
    log, recommender = drawn_log(1), KnownLaw()
    rows = np.array([N_EVENTS - 1, N_EVENTS // 2])
    table = recommender_features(recommender, log, rows)
    assert recommender.n_queries <= len(rows) * (N_USER_RUN + N_ITEM_RUN)
    item_surprise = event_surprise(KnownLaw(), log, np.arange(N_EVENTS)).item
    for row, values in zip(rows.tolist(), table.values.tolist(), strict=True):
        user_rows = np.flatnonzero(log.user_idx[: row + 1] == log.user_idx[row])[-N_USER_RUN:]
        is_item = (log.item_idx == log.item_idx[row]) & (log.occurred_s <= log.occurred_s[row])
        item_rows = np.flatnonzero(is_item)
        item_rows = item_rows[np.argsort(log.occurred_s[item_rows], kind="stable")][-N_ITEM_RUN:]
        assert np.isclose(values[0] + values[1], values[2], rtol=1e-5)
        assert np.isclose(values[3], item_surprise[user_rows].mean(), rtol=1e-5)
        assert np.isclose(values[4], item_surprise[item_rows].mean(), rtol=1e-5)
