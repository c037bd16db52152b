"""The time of the next event: shape, honesty, and rhythms planted in simulated pasts."""

import numpy as np
import pytest
import torch
from torch import Tensor

from chronotope.contracts.event_log import EventLog
from chronotope.contracts.queries import queries_at
from chronotope.losses.objectives import lognormal_mixture_nll
from chronotope.metrics import LognormalMixture, TimeCalibration, evaluate_time
from chronotope.models.batch import Batch, to_batch
from chronotope.models.gap_features import GAP_KERNELS, GapFeatures, gap_features
from chronotope.models.inter_event.arrival_profile import N_AHEAD, PROFILES
from chronotope.models.time_head import TimeHead

N_USERS, N_EVENTS, N_TEST_USERS = 250, 40, 50


def log_of(gaps_h: np.ndarray) -> EventLog:
    """One user a row, each starting at another hour, visiting items in turn."""
    rng = np.random.default_rng(1)
    start_h = rng.uniform(0, 168, (len(gaps_h), 1))
    at_s = 1_700_000_000 + 3600 * np.cumsum(np.hstack([start_h, gaps_h]), axis=1)
    n_users, n_events = at_s.shape
    return EventLog.sorted(
        user_idx=np.repeat(np.arange(1, n_users + 1), n_events),
        item_idx=np.tile(1 + np.arange(n_events) % 7, n_users),
        occurred_s=at_s.ravel().astype(np.int64),
        utc_offset_min=np.full(at_s.size, -300),
    )


def batch_at(log: EventLog, at: np.ndarray, *, width: int = 80, time_given: bool = False) -> Batch:
    return to_batch(queries_at(log, at, history_len=width, time_given=time_given), width)


def mixture_of(when: Tensor) -> LognormalMixture:
    log_weight, mean, log_scale = when.double().numpy().transpose(1, 0, 2)
    return LognormalMixture(log_weight, mean, np.exp(log_scale))


def learn(gaps_h: np.ndarray) -> TimeCalibration:
    """Train on the first users' gaps, judge on the gaps of users never seen."""
    torch.manual_seed(0)
    log = log_of(gaps_h)
    at = np.flatnonzero(np.arange(len(log)) - log.user_start() >= 10)
    hours = torch.from_numpy((log.occurred_s[at] - log.occurred_s[at - 1]) / 3600.0).float()
    batch = batch_at(log, at)
    rhythm, is_test = gap_features(batch), log.user_idx[at] > len(gaps_h) - N_TEST_USERS
    train, test = (torch.from_numpy(np.flatnonzero(x)) for x in (~is_test, is_test))
    head = TimeHead(8).train()
    optimiser = torch.optim.AdamW(head.parameters(), lr=3e-3, weight_decay=0.1)
    for _ in range(500):
        rows = train[torch.randint(len(train), (128,))]
        loss = lognormal_mixture_nll(
            head.mixture(at_rows(rhythm, rows), categories(rows)), hours[rows]
        ).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    with torch.no_grad():
        said = head.eval().mixture(at_rows(rhythm, test), categories(test))
    return evaluate_time(mixture_of(said), hours[test].numpy())


def at_rows(rhythm: GapFeatures, rows: Tensor) -> GapFeatures:
    return GapFeatures(*(column[rows] for column in rhythm))


def categories(rows: Tensor) -> Tensor:
    return torch.zeros(len(rows), dtype=torch.int64)


def forward(head: TimeHead, batch: Batch) -> Tensor:
    return head(batch, categories(batch.item_idx))


@pytest.fixture(scope="module")
def log() -> EventLog:
    return log_of(np.random.default_rng(0).lognormal(1.0, 1.5, (6, 90)))


def test_mixture_has_its_shape_and_weights_sum_to_one(log: EventLog) -> None:
    batch = batch_at(log, np.array([0, 1, 60, 300]))
    when = forward(TimeHead(5), batch)
    assert when.shape == (4, 3, 5 + N_AHEAD)
    np.testing.assert_allclose(when[:, 0].exp().sum(1).detach(), 1.0, rtol=1e-5)


def test_every_parameter_gets_a_finite_gradient(log: EventLog) -> None:
    batch, head = batch_at(log, np.arange(0, 540, 7)), TimeHead(4)
    lognormal_mixture_nll(forward(head, batch), torch.full((78,), 3.0)).mean().backward()
    for name, parameter in head.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().sum() > 0, name


def test_the_moment_of_the_request_is_never_read(log: EventLog) -> None:
    at, head = np.arange(0, 540, 11), TimeHead(4).eval()
    hidden, given = batch_at(log, at), batch_at(log, at, time_given=True)
    assert not torch.equal(hidden.request_s, given.request_s)
    torch.testing.assert_close(forward(head, hidden), forward(head, given), rtol=0, atol=0)


@pytest.mark.parametrize("width", [66, 100, 400])
def test_padding_changes_nothing(log: EventLog, width: int) -> None:
    at, head = np.array([1, 5, 40, 60, 130]), TimeHead(4).eval()
    narrow, wide = batch_at(log, at, width=65), batch_at(log, at, width=width)
    torch.testing.assert_close(forward(head, narrow), forward(head, wide))


def test_short_windows_are_read_too(log: EventLog) -> None:
    at, head = np.array([3, 94]), TimeHead(4).eval()
    short, wide = batch_at(log, at, width=4), batch_at(log, at)
    torch.testing.assert_close(forward(head, short), forward(head, wide))


def test_histograms_count_the_gaps_that_the_kernels_choose(log: EventLog) -> None:
    batch = batch_at(log, np.array([30]))
    mass = gap_features(batch).gap_counts.sum(-1)[0]
    items = log.item_idx[:30]
    assert mass[GAP_KERNELS.index("count")] == pytest.approx(29)
    assert mass[GAP_KERNELS.index("item")] == pytest.approx((items[:29] == items[29]).sum())


def test_active_hours_are_counted_from_the_last_event() -> None:
    """Nine days at one hour, the last event 6 h later: that hour comes again in 18 h."""
    log = log_of(np.array([[24.0] * 9 + [6.0], [24.0] * 10]))
    batch = batch_at(log, np.array([10, 21]))
    active = (gap_features(batch).features[:, -24:] / 3.0).square()
    assert active.argmax(1).tolist() == [0, 0]
    batch = batch_at(log_of(np.array([[24.0] * 9 + [6.0, 1.0]])), np.array([11]))
    assert (gap_features(batch).features[0, -24:]).argmax() == 18


def test_events_of_one_instant_count_as_one() -> None:
    """Baskets of three items: the gaps and hours are those of the baskets."""
    single = log_of(np.random.default_rng(0).lognormal(3.0, 0.5, (1, 30)))
    baskets = EventLog.sorted(
        user_idx=np.repeat(single.user_idx, 3),
        item_idx=np.repeat(single.item_idx, 3),
        occurred_s=np.repeat(single.occurred_s, 3),
        utc_offset_min=np.repeat(single.utc_offset_min, 3),
    )
    one, three = batch_at(single, np.array([30])), batch_at(baskets, np.array([90]), width=96)
    torch.testing.assert_close(gap_features(three).gap_counts, gap_features(one).gap_counts)
    torch.testing.assert_close(gap_features(three).arrivals, gap_features(one).arrivals)
    np.testing.assert_allclose(gap_features(three).basket_sizes.exp(), 4.0, rtol=1e-6)


def test_arrivals_are_counted_at_the_hours_ahead_at_which_they_come_again() -> None:
    """Saturdays at noon after Fridays at six: 18 hours ahead of a Friday's event."""
    gaps_h = np.tile([18.0, 150.0], 10)[:19]
    at_s = 1_699_639_200 + 3600 * np.r_[0, np.cumsum(gaps_h)].astype(np.int64)  # Friday 18:00 UTC
    log = EventLog.sorted(
        user_idx=np.ones(20, np.int64), item_idx=1 + np.arange(20) % 3, occurred_s=at_s
    )
    arrivals = gap_features(batch_at(log, np.array([19]))).arrivals[0]  # the last one is a Friday
    week, day, day_type = (arrivals[PROFILES.index(n)] for n in ("week", "day", "day_type"))
    assert week.argmax() + 1 == 18
    assert week[17] == pytest.approx(9 / 2)  # nine Saturdays, half of each in this hour
    assert week[17 + 24] == 0 < day[17 + 24]  # a Sunday
    assert day_type[17 + 24] == day[17 + 24]  # as on the other day of the weekend


def test_the_category_of_the_last_event_moves_the_forecast(log: EventLog) -> None:
    batch, head = batch_at(log, np.array([60])), TimeHead(4, 3)
    torch.nn.init.normal_(head.category_embedding.weight)
    unknown, known = (head(batch, torch.tensor([category])) for category in (0, 2))
    assert not torch.allclose(unknown, known)


def test_a_planted_daily_rhythm_is_found() -> None:
    """Two hours a day of each user's own: within about ten minutes of the truth."""
    rng = np.random.default_rng(0)
    apart_h = rng.uniform(2, 12, (N_USERS, 1))
    hour_h = np.where(np.arange(N_EVENTS + 1) % 2, apart_h, 0) + 24 * (np.arange(N_EVENTS + 1) // 2)
    gaps_h = np.diff(hour_h + rng.uniform(-0.2, 0.2, hour_h.shape), axis=1)
    blind = np.abs(np.log(gaps_h) - np.median(np.log(gaps_h))).mean()
    error = learn(gaps_h).mean_abs_log_error
    assert 0.01 < error < 0.15 < 0.3 < blind


def test_noise_is_said_to_be_noise() -> None:
    """No better than the entropy of the mixture drawn from, and honest about its width."""
    rng = np.random.default_rng(0)
    is_short = rng.random((N_USERS, N_EVENTS)) < 0.4
    log_h = np.where(
        is_short, rng.normal(-1, 0.5, is_short.shape), rng.normal(3, 0.7, is_short.shape)
    )
    truth = LognormalMixture(
        np.log([[0.4, 0.6]]).repeat(log_h.size, 0),
        np.array([[-1.0, 3.0]]).repeat(log_h.size, 0),
        np.array([[0.5, 0.7]]).repeat(log_h.size, 0),
    )
    scores = learn(np.exp(log_h))
    entropy = -truth.log_density(np.exp(log_h.ravel())).mean()
    assert entropy - 0.1 < scores.nll < entropy + 0.15
    assert 0.76 < scores.coverage_80 < 0.84
