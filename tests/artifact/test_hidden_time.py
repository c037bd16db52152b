"""A hidden moment is averaged over; a told one is left alone."""

from dataclasses import dataclass, field

import numpy as np
import pytest

from chronotope.artifact.hidden_time import RequestTimeMarginalized
from chronotope.artifact.onnx_recommender import ModelOutput
from chronotope.contracts.event_log import Catalog, EventLog
from chronotope.contracts.queries import Queries, queries_at

HOUR_S = 3600


@dataclass
class Clock:
    """Item 1 within an hour of the last event, item 2 after; hidden, it cannot tell."""

    name: str = "clock"
    history_len: int | None = 4
    log_mean: float = 0.0
    asked_h: list[float] = field(default_factory=list)

    def fit(self, log: EventLog, catalog: Catalog) -> "Clock":
        return self

    def observe(self, log: EventLog) -> None:
        pass

    def answer(self, queries: Queries) -> ModelOutput:
        wait_h = (queries.request_s - queries.occurred_s[:, -1]) / HOUR_S
        self.asked_h += wait_h.tolist()
        scores = np.zeros((len(queries), 3), np.float32)
        scores[:, 1] = np.where(queries.time_given, np.where(wait_h < 1, 9.0, -9.0), 0.0)
        one = np.array([[[0.0], [self.log_mean], [np.log(0.25)]]], np.float32)
        when = np.repeat(one, len(queries), axis=0)  # log-weight, mean, log-scale of log hours
        return ModelOutput(scores, when, np.zeros((len(queries), 1), np.float32))

    def scores(self, queries: Queries) -> np.ndarray:
        return self.answer(queries).item_scores


def ask(*, time_given: bool) -> Queries:
    log = EventLog.sorted(user_idx=[1, 1], item_idx=[1, 2], occurred_s=[0, 5 * HOUR_S])
    return queries_at(log, np.array([1]), history_len=4, time_given=time_given)


def test_a_hidden_moment_is_averaged_over_the_likely_ones() -> None:
    clock = Clock()
    p = np.exp(RequestTimeMarginalized(clock, n_times=4).scores(ask(time_given=False)))
    assert p.sum() == pytest.approx(1.0, rel=1e-5)
    assert p[0, 1] == pytest.approx(0.5, abs=1e-4)
    np.testing.assert_allclose(
        np.log(clock.asked_h[1:]), 0.25 * np.array([-1.1503, -0.3186, 0.3186, 1.1503]), atol=1e-3
    )  # standard normal quantiles at 1/8, 3/8, 5/8, 7/8


def test_no_moment_lies_more_than_ten_years_ahead() -> None:
    clock = Clock(log_mean=40.0)
    scores = RequestTimeMarginalized(clock).scores(ask(time_given=False))
    assert np.isfinite(scores[:, 1:]).all()
    assert max(clock.asked_h) <= 10 * 366 * 24


def test_a_told_moment_is_asked_for_once() -> None:
    clock = Clock()
    scores = RequestTimeMarginalized(clock).scores(ask(time_given=True))
    assert clock.asked_h == [5.0]
    assert scores.tolist() == [[0.0, -9.0, 0.0]]


def test_without_a_past_nothing_is_averaged() -> None:
    log = EventLog.sorted(user_idx=[1], item_idx=[1], occurred_s=[7])
    stranger = queries_at(log, np.array([0]), history_len=4, time_given=False)
    p = np.exp(RequestTimeMarginalized(Clock()).scores(stranger))
    assert p[0].tolist() == pytest.approx([0.0, 0.5, 0.5])
