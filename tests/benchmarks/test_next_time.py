"""The benchmark of waits cuts as it says, fits what it says, and repeats known numbers."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from scipy import stats

from benchmarks.next_time import __main__ as next_time
from benchmarks.next_time import peers
from benchmarks.next_time.case import Case
from benchmarks.next_time.forecasts import (
    Forecasts,
    TimeScores,
    mixture_forecasts,
    nightly_levels,
    score_forecasts,
)
from benchmarks.next_time.time_models import open_wait_nll
from benchmarks.next_time.waits import (
    PROTOCOLS,
    TimedLog,
    dequantized_hours,
    draw_users,
    read_timed_log,
    split_waits,
)
from benchmarks.peers import environments
from chronotope.contracts.event_log import EventLog
from chronotope.metrics import LognormalMixture
from chronotope.testing.recommender_suite import sample_catalog
from tests.real_data import CHECK_INS, DATA_ROOT

N_USERS, N_EVENTS = 8, 200


@pytest.fixture(scope="module")
def source() -> TimedLog:
    """Waits are two lognormals, .1 h and 10 h, the same for all; sessions of four."""
    rng = np.random.default_rng(0)
    log_h = np.where(rng.random((N_USERS, N_EVENTS)) < 0.5, np.log(0.1), np.log(10))
    hours = np.exp(log_h + rng.normal(0, 0.3, log_h.shape))
    event = np.arange(N_USERS * N_EVENTS)
    log = EventLog.sorted(
        user_idx=1 + event // N_EVENTS,
        item_idx=1 + event % 5,
        occurred_s=(1_700_000_000 + 3600 * np.cumsum(hours, axis=1)).astype(np.int64).ravel(),
        session_idx=1 + event // 4,
    )
    base = log.take(event % N_EVENTS < N_EVENTS // 2)
    return TimedLog(log, sample_catalog(), base)


def test_global_cut_follows_time(source: TimedLog) -> None:
    waits = split_waits(source, "global")
    ended = source.log.occurred_s[waits.positions]
    assert ended[waits.train].max() < ended[waits.later].min()
    assert ended[waits.later].max() < ended[waits.test].min()
    assert len(waits.test) == len(source.log) // 10
    assert len(waits.positions) == N_USERS * (N_EVENTS - 1)


def test_session_cut_leaves_out_what_opens_a_session(source: TimedLog) -> None:
    waits = split_waits(source, "session")
    assert set(waits.positions % 4) == {1, 2, 3}
    assert len(waits.test) == len(source.log) // 2 * 3 // 4


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_nothing_is_judged_that_trained(source: TimedLog, protocol: str) -> None:
    waits = split_waits(source, protocol)
    rows = np.concatenate([waits.train, waits.later, waits.test])
    np.testing.assert_array_equal(np.sort(rows), np.arange(len(waits.positions)))


def test_open_waits_hide_how_they_ended(source: TimedLog) -> None:
    waits = split_waits(source, "global")
    assert len(waits.still_open) == len(set(waits.user_idx[waits.still_open])) > 0
    assert not set(waits.still_open) & set(waits.train)
    assert (waits.waited >= 0).all()
    assert (waits.waited < waits.hours[waits.still_open]).all()
    assert len(split_waits(source, "session").still_open) == 0


def test_open_wait_equals_scipys_survival() -> None:
    weight, mean, scale = np.array([0.3, 0.7]), np.array([0.0, 2.0]), np.array([0.5, 1.5])
    mixture = torch.tensor(np.stack([np.log(weight), mean, np.log(scale)])[None])
    survival = sum(
        w * stats.lognorm(s, scale=np.exp(m)).sf(50.0)
        for w, m, s in zip(weight, mean, scale, strict=True)
    )
    nll = open_wait_nll(mixture, torch.tensor([50.0], dtype=torch.float64))
    np.testing.assert_allclose(nll.item(), -np.log(survival), rtol=1e-9)


def scores(source: TimedLog, name: str) -> TimeScores:
    case = Case(split_waits(source, "global"))
    return score_forecasts(next_time.MODELS[name](case), case.test_h, case.test_ended_s)


def test_exponential_is_scored_in_closed_form(source: TimedLog) -> None:
    waits = split_waits(source, "global")
    mean, true = waits.hours[waits.train].mean(), waits.hours[waits.test]
    expected = -np.log(np.exp(-true / mean) / mean).mean()
    assert scores(source, "exponential").nll == pytest.approx(expected)


def test_mixture_finds_two_kinds_of_wait(source: TimedLog) -> None:
    mixed, single = scores(source, "mixture_8"), scores(source, "lognormal")
    log_h = np.log(0.1), np.log(10)
    truth = np.log(2) + 0.5 * np.log(2 * np.pi * np.e * 0.3**2) + np.mean(log_h)
    assert truth - 0.2 < mixed.nll < truth + 0.2 < single.nll


def test_head_learns_no_more_than_there_is(source: TimedLog) -> None:
    mixed, head = scores(source, "mixture_8"), scores(source, "time_head")
    assert abs(head.nll - mixed.nll) < 0.5


def test_a_basket_is_one_target(source: TimedLog) -> None:
    log = source.log
    twice = EventLog.sorted(
        **{name: np.repeat(getattr(log, name), 2) for name in ("user_idx", "item_idx")},
        occurred_s=np.repeat(log.occurred_s, 2),
    )
    waits = split_waits(TimedLog(twice, source.catalog), "global")
    assert len(waits.positions) == N_USERS * (N_EVENTS - 1)
    assert set(waits.positions % 2) == {0}


def test_drawn_users_keep_their_whole_past(source: TimedLog) -> None:
    drawn = draw_users(source.log, 3, seed=0)
    assert len(drawn) == 3 * N_EVENTS
    assert len(np.unique(drawn.user_idx)) == 3


def test_days_are_scored_by_their_probability() -> None:
    """A lognormal's mass between 12 and 36 hours, an hour of it."""
    mixture = LognormalMixture(np.zeros((1, 1)), np.full((1, 1), 3.0), np.full((1, 1), 0.8))
    forecasts = mixture_forecasts(mixture, np.array([24.0]), 12.0)
    wait = stats.lognorm(0.8, scale=np.exp(3.0))
    mass = wait.cdf(36.0) - wait.cdf(12.0)
    np.testing.assert_allclose(forecasts.log_score, np.log(mass / 24.0), rtol=1e-6)
    np.testing.assert_allclose(forecasts.cdf_high, wait.cdf(36.0), rtol=1e-6)


def test_a_day_that_the_interval_divides_counts_in_part() -> None:
    low, high = np.array([0.2, 0.05, 0.95]), np.array([0.3, 0.15, 0.99])
    forecasts = Forecasts(np.zeros(3), np.ones(3), low, high)
    scores = score_forecasts(forecasts, np.ones(3), np.zeros(3, np.int64))
    assert scores.coverage_80 == pytest.approx((1 + 0.5 + 0) / 3)


def test_levels_of_the_night_follow_what_came_in_the_days_before() -> None:
    """Waits are later than forecast from the fifth day on: covered again a night later."""
    day = np.repeat(np.arange(40), 60)
    pit = np.tile((np.arange(60) + 0.5) / 60, 40)
    pit = np.where(day >= 5, pit**0.3, pit)
    forecasts = Forecasts(np.zeros(len(pit)), np.ones(len(pit)), pit, pit)
    low, high = nightly_levels(forecasts, day * 86_400)
    assert (low[day < 1], high[day < 1]) == (pytest.approx(0.1), pytest.approx(0.9))
    is_inside = (pit >= low) & (pit <= high)
    assert abs(is_inside[day >= 33].mean() - 0.8) < 0.02
    assert abs(((pit >= 0.1) & (pit <= 0.9))[day >= 33].mean() - 0.8) > 0.04


def test_models_of_days_are_trained_on_spread_waits(source: TimedLog) -> None:
    waits = split_waits(replace(source, resolution_h=24.0), "global")
    spread_h = dequantized_hours(waits, seed=0)
    difference = (spread_h - waits.hours)[waits.hours > 12]
    assert np.abs(difference).max() <= 12 < 2 * difference.std() * np.sqrt(3)
    np.testing.assert_array_equal(dequantized_hours(waits, seed=0), spread_h)


def test_peers_get_each_gap_with_its_role(source: TimedLog, tmp_path: Path) -> None:
    waits = split_waits(source, "global")
    peers.write_events(Case(waits, work=tmp_path))
    events = pq.read_table(tmp_path / "events.parquet")
    role, gap_h = events["role"].to_numpy(), events["gap_h"].to_numpy()
    np.testing.assert_allclose(gap_h[role == peers.TEST], waits.hours[waits.test])
    np.testing.assert_allclose(gap_h[role == peers.TRAIN], waits.hours[waits.train])
    assert (role == peers.CONTEXT).sum() == N_USERS  # first events


def test_the_environment_pins_the_library() -> None:
    (name,) = environments.TIME_ENVIRONMENTS
    assert "easy-tpp==" in environments.requirements(name).read_text(encoding="utf-8")


def test_a_row_replaces_that_of_the_same_case(source: TimedLog, tmp_path: Path) -> None:
    out, case = tmp_path / "rows.json", Case(split_waits(source, "global"))
    for name in ("exponential", "lognormal", "exponential"):
        next_time.keep(next_time.measure(name, case, "simulated", "global"), out)
    assert [row["model"] for row in json.loads(out.read_text())] == ["lognormal", "exponential"]


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.skipif(not CHECK_INS.is_dir(), reason=f"needs the check-ins in {CHECK_INS}")
class TestRealWaits:
    def test_known_numbers_come_again(self, tmp_path: Path) -> None:
        source = read_timed_log("foursquare_nyc", DATA_ROOT, tmp_path, 0)
        case = Case(split_waits(source, "global"))
        assert len(case.waits.test) == 11_331
        assert np.median(case.test_h) == pytest.approx(7.8, abs=0.05)
        models = list(next_time.MODELS)[:4]
        found = {
            name: score_forecasts(next_time.MODELS[name](case), case.test_h, case.test_ended_s)
            for name in models
        }
        assert found["exponential"].nll == pytest.approx(5.64, abs=0.01)
        assert found["lognormal"].nll == pytest.approx(3.93, abs=0.01)
        assert found["mixture_8"].nll == pytest.approx(3.78, abs=0.01)
        assert found["user_median"].mean_abs_log_error == pytest.approx(2.218, abs=0.003)

    def test_head_beats_them(self, tmp_path: Path) -> None:
        out = tmp_path / "rows.json"
        options = ["--data", str(DATA_ROOT), "--protocols", "global", "--models", "time_head"]
        next_time.main([*options, "--json", str(out)])
        (row,) = json.loads(out.read_text(encoding="utf-8"))
        assert 2.9 < row["nll"] < 3.15
        assert row["mean_abs_log_error"] < 1.8
        assert 0.78 <= row["coverage_80"] <= 0.83
