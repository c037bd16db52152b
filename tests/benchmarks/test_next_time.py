"""The benchmark of waits cuts as it says, fits what it says, and repeats known numbers."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats

from benchmarks import next_time
from benchmarks.next_place import Stream, read_stream
from chronotope.contracts.event_log import EventLog
from chronotope.metrics import TimeCalibration
from chronotope.testing.recommender_suite import sample_catalog
from tests.real_data import CHECK_INS, DATA_ROOT

N_USERS, N_EVENTS = 8, 200


@pytest.fixture(scope="module")
def stream() -> Stream:
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
    return Stream(log, base, sample_catalog(), np.array([], dtype=np.int64), ())


def test_global_cut_follows_time(stream: Stream) -> None:
    waits = next_time.cut(stream, "global")
    ended = stream.log.occurred_s[waits.at]
    assert ended[waits.train].max() < ended[waits.later].min()
    assert ended[waits.later].max() < ended[waits.test].min()
    assert len(waits.test) == len(stream.log) // 10
    assert len(waits.at) == N_USERS * (N_EVENTS - 1)


def test_session_cut_leaves_out_what_opens_a_session(stream: Stream) -> None:
    waits = next_time.cut(stream, "session")
    assert set(waits.at % 4) == {1, 2, 3}
    assert len(waits.test) == len(stream.log) // 2 * 3 // 4


@pytest.mark.parametrize("protocol", next_time.PROTOCOLS)
def test_nothing_is_judged_that_trained(stream: Stream, protocol: str) -> None:
    waits = next_time.cut(stream, protocol)
    rows = np.concatenate([waits.train, waits.later, waits.test])
    np.testing.assert_array_equal(np.sort(rows), np.arange(len(waits.at)))


def test_open_waits_hide_how_they_ended(stream: Stream) -> None:
    waits = next_time.cut(stream, "global")
    assert len(waits.still_open) == len(set(waits.user_idx[waits.still_open])) > 0
    assert not set(waits.still_open) & set(waits.train)
    assert (waits.waited >= 0).all()
    assert (waits.waited < waits.hours[waits.still_open]).all()
    assert len(next_time.cut(stream, "session").still_open) == 0


def test_open_wait_equals_scipys_survival() -> None:
    weight, mean, scale = np.array([0.3, 0.7]), np.array([0.0, 2.0]), np.array([0.5, 1.5])
    mixture = torch.tensor(np.stack([np.log(weight), mean, np.log(scale)])[None])
    survival = sum(
        w * stats.lognorm(s, scale=np.exp(m)).sf(50.0)
        for w, m, s in zip(weight, mean, scale, strict=True)
    )
    nll = next_time.open_wait_nll(mixture, torch.tensor([50.0], dtype=torch.float64))
    np.testing.assert_allclose(nll.item(), -np.log(survival), rtol=1e-9)


def scores(stream: Stream, name: str) -> TimeCalibration:
    return next_time.MODELS[name](next_time.cut(stream, "global"))


def test_exponential_is_scored_in_closed_form(stream: Stream) -> None:
    waits = next_time.cut(stream, "global")
    mean, true = waits.hours[waits.train].mean(), waits.hours[waits.test]
    expected = -np.log(np.exp(-true / mean) / mean).mean()
    assert scores(stream, "exponential").nll == pytest.approx(expected)


def test_mixture_finds_two_kinds_of_wait(stream: Stream) -> None:
    mixed, single = scores(stream, "mixture_8"), scores(stream, "lognormal")
    log_h = np.log(0.1), np.log(10)
    truth = np.log(2) + 0.5 * np.log(2 * np.pi * np.e * 0.3**2) + np.mean(log_h)
    assert truth - 0.2 < mixed.nll < truth + 0.2 < single.nll


def test_head_learns_no_more_than_there_is(stream: Stream) -> None:
    mixed, head = scores(stream, "mixture_8"), scores(stream, "rhythm")
    assert abs(head.nll - mixed.nll) < 0.5


@pytest.mark.data
@pytest.mark.slow
@pytest.mark.skipif(not CHECK_INS.is_dir(), reason=f"needs the check-ins in {CHECK_INS}")
class TestRealWaits:
    def test_known_numbers_come_again(self) -> None:
        waits = next_time.cut(read_stream(CHECK_INS), "global")
        assert len(waits.test) == 11_333
        found = {name: next_time.MODELS[name](waits) for name in list(next_time.MODELS)[:4]}
        assert np.median(waits.hours[waits.test]) == pytest.approx(7.8, abs=0.05)
        assert found["exponential"].nll == pytest.approx(5.64, abs=0.01)
        assert found["lognormal"].nll == pytest.approx(3.93, abs=0.01)
        assert found["mixture_8"].nll == pytest.approx(3.78, abs=0.01)
        assert found["user_median"].mean_abs_log_error == pytest.approx(2.218, abs=0.003)

    def test_head_beats_them(self, tmp_path: Path) -> None:
        out = tmp_path / "rows.json"
        next_time.main(["--data", str(DATA_ROOT), "--protocols", "global", "--json", str(out)])
        row = json.loads(out.read_text(encoding="utf-8"))[-1]
        assert row["model"] == "rhythm"
        assert 3.0 < row["nll"] < 3.3
        assert row["mean_abs_log_error"] < 1.9
        assert 0.78 <= row["coverage_80"] <= 0.82
