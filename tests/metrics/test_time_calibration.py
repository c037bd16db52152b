import numpy as np
import pytest
from scipy import stats

from chronotope.contracts.errors import DataError
from chronotope.metrics import LognormalMixture, evaluate_time

WEIGHT, MU, SIGMA = np.array([0.3, 0.7]), np.array([0.0, 3.0]), np.array([0.5, 1.2])


def mixture(n):
    rows = [np.tile(part, (n, 1)) for part in (np.log(WEIGHT), MU, SIGMA)]
    return LognormalMixture(*rows)


def sample(n):
    rng = np.random.default_rng(0)
    k = rng.choice(2, p=WEIGHT, size=n)
    return rng.lognormal(MU[k], SIGMA[k])


def test_density_and_distribution_agree_with_scipy():
    hours = np.array([0.01, 1.0, 30.0, 900.0])
    parts = [stats.lognorm(s=s, scale=np.exp(m)) for m, s in zip(MU, SIGMA, strict=True)]
    density = sum(w * p.pdf(hours) for w, p in zip(WEIGHT, parts, strict=True))
    share = sum(w * p.cdf(hours) for w, p in zip(WEIGHT, parts, strict=True))
    np.testing.assert_allclose(np.exp(mixture(4).log_density(hours)), density, rtol=1e-9)
    np.testing.assert_allclose(mixture(4).cdf(hours), share, rtol=1e-9)


@pytest.mark.parametrize("q", [0.001, 0.1, 0.5, 0.9, 0.999])
def test_quantile_inverts_the_distribution(q):
    predicted = mixture(1)
    assert predicted.cdf(predicted.quantile(q))[0] == pytest.approx(q, abs=1e-9)


def test_the_true_distribution_is_calibrated():
    hours = sample(5000)
    scores = evaluate_time(mixture(5000), hours)
    assert scores.coverage_80 == pytest.approx(0.8, abs=0.02)
    np.testing.assert_allclose(scores.pit, 0.1, atol=0.02)
    assert sum(scores.pit) == pytest.approx(1)


def test_overconfidence_shows():
    n = 2000
    narrow = LognormalMixture(np.zeros((n, 1)), np.full((n, 1), 3.0), np.full((n, 1), 0.1))
    truth, scores = evaluate_time(mixture(n), sample(n)), evaluate_time(narrow, sample(n))
    assert scores.nll > truth.nll + 1
    assert scores.coverage_80 < 0.4


def test_log_error_is_of_the_median():
    one = LognormalMixture(np.zeros((1, 1)), np.log([[8.0]]), np.ones((1, 1)))
    assert evaluate_time(one, [2.0]).mean_abs_log_error == pytest.approx(np.log(4))


def test_a_gap_of_zero_counts_as_a_second():
    assert evaluate_time(mixture(1), [0.0]) == evaluate_time(mixture(1), [1 / 3600])


@pytest.mark.parametrize("hours", [[], [-1.0], [np.nan], [1.0, 2.0]])
def test_gaps_that_cannot_be_are_refused(hours):
    with pytest.raises(DataError, match="non-negative"):
        evaluate_time(mixture(1), hours)


@pytest.mark.parametrize(
    ("log_weight", "sigma", "what"), [(-0.5, 1.0, "sum to one"), (0.0, 0.0, "positive")]
)
def test_what_is_no_mixture_is_refused(log_weight, sigma, what):
    with pytest.raises(DataError, match=what):
        LognormalMixture(np.array([[log_weight]]), np.zeros((1, 1)), np.array([[sigma]]))


def test_parts_of_unequal_shape_are_refused():
    with pytest.raises(DataError, match="share a shape"):
        LognormalMixture(np.zeros((2, 1)), np.zeros((2, 2)), np.ones((2, 1)))
