"""Thresholds that history teaches: seldom wrong in usual times, and right about a shift."""

import math

import numpy as np
import pytest
from scipy import stats

from chronotope.monitoring.config import MonitorConfig
from chronotope.monitoring.sampling_noise import rescale_divergences, subsample_counts
from chronotope.monitoring.thresholds import (
    DriftStatistic,
    alarm_level,
    check_statistics,
    historical_p_value,
)
from chronotope.validation.divergence import jensen_shannon

CONFIG = MonitorConfig()
N_COLUMNS, N_SEEDS = 5, 200


def simulated(
    seed: int, *, n_windows: int, spread: float, shift: float = 0.0
) -> list[DriftStatistic]:
    """Divergences of six columns between neighbours among windows of unequal size."""
    rng = np.random.default_rng(seed)
    found = []
    for column in range(N_COLUMNS):
        shares = rng.dirichlet(np.ones(8)) * np.exp(spread * rng.normal(size=(n_windows, 8)))
        shares[-1, 0] += shift if column == 0 else 0.0
        shares /= shares.sum(axis=1, keepdims=True)
        counts = rng.multinomial(rng.integers(200, 1500, n_windows), shares).astype(float)
        now, before = subsample_counts(counts[1:], seed), subsample_counts(counts[:-1], seed)
        noise = 1 / now.sum(axis=1) + 1 / before.sum(axis=1)
        p, q = (of / of.sum(axis=1, keepdims=True) for of in (now, before))
        values = jensen_shannon(p, q)
        pearson = 8 * values[-1] / noise[-1]
        found.append(
            DriftStatistic(
                "data", f"column {column}", "js", float(values[-1]), scale="cube root",
                history=rescale_divergences(values, 7 * noise / 8)[:-1],
                p_sampling=float(stats.chi2.sf(pearson, 7)),
            )
        )  # fmt: skip
    return found


@pytest.mark.parametrize(("n_windows", "spread"), [(8, 0.0), (8, 0.3), (20, 0.1)])
def test_usual_times_are_seldom_called_drift(n_windows: int, spread: float) -> None:
    """False alarms over all columns together, at a nominal five in a hundred."""
    worlds = [simulated(seed, n_windows=n_windows, spread=spread) for seed in range(N_SEEDS)]
    for correction in ("benjamini_hochberg", "bonferroni"):
        config = MonitorConfig(quantile=0.95, correction=correction)
        alarms = sum(any(c.verdict == "drift" for c in check_statistics(w, config)) for w in worlds)
        assert alarms <= stats.binom.ppf(0.999, N_SEEDS, 0.05)


def test_a_shift_beyond_the_usual_is_found_and_no_other_column_is_blamed() -> None:
    found = [
        check_statistics(simulated(s, n_windows=12, spread=0.1, shift=2.0), CONFIG)
        for s in range(50)
    ]
    assert sum(checks[0].verdict == "drift" for checks in found) >= 45
    assert sum(c.verdict == "drift" for checks in found for c in checks[1:]) <= 5
    first = found[0][0]
    assert first.threshold is not None
    assert first.usual is not None
    assert first.usual < first.threshold < first.value


def test_with_too_little_history_nothing_is_called_drift() -> None:
    measured = simulated(0, n_windows=CONFIG.min_history + 1, spread=0.0, shift=5.0)
    assert {len(each.history) for each in measured} == {CONFIG.min_history - 1}
    checks = check_statistics(measured, CONFIG)
    assert {check.verdict for check in checks} == {"not enough history"}
    assert {(check.threshold, check.p_value) for check in checks} == {(None, None)}


def test_a_known_level_is_judged_without_a_history() -> None:
    fallen = DriftStatistic(
        "predictions", "accuracy", "ndcg_10", 0.2, p_sampling=1e-6, needs_history=False
    )
    calm = DriftStatistic(
        "predictions", "accuracy", "ndcg_10", 0.2, p_sampling=0.2, needs_history=False
    )
    shown = DriftStatistic(
        "data", "x", "psi", 9.0, p_sampling=0.0, needs_history=False, can_alarm=False
    )
    assert [c.verdict for c in check_statistics([fallen, shown], CONFIG)] == ["drift", "shown"]
    assert [c.verdict for c in check_statistics([calm], CONFIG)] == ["usual"]
    assert check_statistics([], CONFIG) == ()


def test_what_sampling_explains_is_no_drift_whatever_history_says() -> None:
    flat = np.full(20, 0.01)
    told = {"scale": "cube root", "history": flat}
    (by_chance,) = check_statistics(
        [DriftStatistic("data", "x", "js", 0.02, p_sampling=0.3, **told)], CONFIG
    )  # type: ignore[arg-type]
    (real,) = check_statistics(
        [DriftStatistic("data", "x", "js", 0.02, p_sampling=1e-9, **told)], CONFIG
    )  # type: ignore[arg-type]
    assert (by_chance.verdict, real.verdict) == ("usual", "drift")


def test_the_p_value_is_that_of_the_next_of_normal_values() -> None:
    history = np.array([1.0, 2.0, 3.0, 4.0])
    t = (6.0 - 2.5) / (history.std(ddof=1) * math.sqrt(1.25))
    assert historical_p_value(6.0, history, "above") == pytest.approx(stats.t.sf(t, 3))
    assert historical_p_value(6.0, history, "below") == pytest.approx(stats.t.cdf(t, 3))
    assert historical_p_value(-1.0, history, "both") == pytest.approx(2 * stats.t.sf(t, 3))
    assert historical_p_value(2.0, np.full(5, 2.0), "both") == 1.0
    assert historical_p_value(2.1, np.full(5, 2.0), "above") == 0.0
    nearly = 2.0 + np.array([0.0, 1e-12, 2e-12])
    assert historical_p_value(2.0 + 1e-8, nearly, "both") == 1.0  # rounding is no drift


@pytest.mark.parametrize(
    ("p_values", "correction", "level", "any_alarm"),
    [
        ([0.001, 0.004, 0.9, 0.9], "benjamini_hochberg", 0.005, True),
        (
            [0.0026, 0.0049, 0.9, 0.9],
            "benjamini_hochberg",
            0.005,
            True,
        ),  # the second lifts the first
        ([0.0026, 0.0051, 0.9, 0.9], "benjamini_hochberg", 0.0025, False),
        ([0.0026, 0.0049, 0.9, 0.9], "bonferroni", 0.0025, False),
        ([0.0024, 0.0049, 0.9, 0.9], "bonferroni", 0.0025, True),
        ([], "benjamini_hochberg", 0.01, False),
        ([], "bonferroni", 0.01, False),
    ],
)
def test_many_checks_are_allowed_for(
    p_values: list[float], correction: str, level: float, any_alarm: bool
) -> None:
    config = MonitorConfig(correction=correction)
    found, alarms = alarm_level(np.array(p_values), config)
    assert found == pytest.approx(level)
    assert alarms == any_alarm


def test_windows_are_thinned_to_the_size_of_the_last() -> None:
    counts = np.array([[900.0, 100.0], [3.0, 1.0], [50.0, 50.0]])
    found = subsample_counts(counts, 0)
    assert found.sum(axis=1).tolist() == [100, 4, 100]
    assert 75 < found[0, 0] < 100
    assert found[1:].tolist() == counts[1:].tolist()
    assert counts[0, 0] == 900


def test_what_goes_beyond_chance_stays_in_a_smaller_window() -> None:
    found = rescale_divergences(np.array([0.5, 0.02, 0.03]), np.array([0.1, 0.1, 0.01]))
    assert found.tolist() == pytest.approx([0.41, 0.002, 0.03])
