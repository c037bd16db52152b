"""Answers followed up by hand: who had what, when, at which position."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from chronotope.contracts.drift_report import OutcomeSummary
from chronotope.lake.impression_tables import ACTIONS, SHOWN
from chronotope.monitoring.config import MonitorConfig
from chronotope.monitoring.outcome_drift import (
    ShownAnswers,
    measure_outcome_drift,
    summarise_outcome,
)
from chronotope.monitoring.windows import Windows

DAY = 86_400
T0 = 1_000 * DAY
CONFIG = MonitorConfig(horizon_h=2, window_days=1, min_rows=50, min_history=6)


def showing(*answers: tuple[Any, ...]) -> pa.Table:
    """Rows of (user, seconds after T0, version, policy, items, propensities)."""
    rows = [
        (n, user, None if at is None else T0 + at, version, policy, at_position + 1, item, chance)
        for n, (user, at, version, policy, items, chances) in enumerate(answers, 1)
        for at_position, (item, chance) in enumerate(zip(items, chances, strict=True))
    ]
    return pa.table([list(of) for of in zip(*rows, strict=True)], schema=SHOWN)


def doing(*done: tuple[str, str, int]) -> pa.Table:
    rows = [(user, item, T0 + at) for user, item, at in done]
    columns = [list(of) for of in zip(*rows, strict=True)] if rows else [[], [], []]
    return pa.table(columns, schema=ACTIONS)


def followed(shown: pa.Table, done: pa.Table, config: MonitorConfig = CONFIG) -> OutcomeSummary:
    found = summarise_outcome(shown, done, config)
    assert found is not None
    return found[0]


def test_nothing_shown_is_no_outcome() -> None:
    assert summarise_outcome(SHOWN.empty_table(), doing(("u", "a", 0)), CONFIG) is None


def test_an_answer_is_followed_by_its_own_user_and_item_in_time() -> None:
    both = (["a", "b"], [1.0, 1.0])
    shown = showing(
        ("u", 0, "1", "greedy", *both),  # a after 10 s
        ("v", 0, "1", "greedy", *both),  # b after 2 h to the second
        ("w", 0, "1", "greedy", *both),  # b a second later: too late
        ("x", 100, "2", "greedy", *both),  # a before it was shown
        ("y", DAY, "2", "greedy", *both),  # another item
        ("u", DAY, "2", "greedy", *both),  # nothing on this day
    )
    done = doing(
        ("u", "a", 10), ("v", "b", 7200), ("w", "b", 7201), ("x", "a", 99), ("y", "c", DAY + 9),
        ("v", "a", 3 * DAY), ("u", "a", 10),
    )  # fmt: skip
    found = followed(shown, done)
    assert (found.n_answers, found.n_open, found.n_nameless) == (6, 0, 0)
    assert [(of.day, of.version, of.n_answers, of.hit_rate) for of in found.days] == [
        ("1972-09-27", "1", 3, pytest.approx(2 / 3)),
        ("1972-09-27", "2", 1, 0),
        ("1972-09-28", "2", 2, 0),
    ]
    assert [(of.position, of.n_shown) for of in found.positions] == [(1, 6), (2, 6)]
    assert [of.hit_rate for of in found.positions] == pytest.approx([1 / 6, 1 / 6])
    assert [of.weighted for of in found.positions] == [None, None]
    assert (found.explored, found.gini) == (0, 0)


def test_what_cannot_be_judged_is_left_out_and_counted() -> None:
    shown = showing(
        ("u", 0, "1", "greedy", ["a"], [None]),
        (None, 0, "1", "greedy", ["a"], [None]),
        ("u", 9_000, None, None, ["a"], [None]),  # the last moment known is 9,000 s
        ("u", None, "1", "greedy", ["a"], [None]),
    )
    found = followed(shown, doing())
    assert (found.n_answers, found.n_open, found.n_nameless) == (1, 1, 1)
    assert found.positions[0].weighted is None
    young = followed(showing(("u", 0, "1", "greedy", ["a"], [None])), doing())
    assert (young.n_answers, young.n_open, young.days, young.positions) == (0, 1, (), ())


def test_inverse_propensity_takes_the_policy_out_of_a_position() -> None:
    """Its favourite (9 of 10 answers) is always had, the other item never: any item, half."""
    favourite = [("u", n, "1", "epsilon", ["a"], [0.9]) for n in range(90)]
    other = [("u", n, "1", "epsilon", ["b"], [0.1]) for n in range(10)]
    found = followed(showing(*favourite, *other), doing(("u", "a", 100), ("x", "x", DAY)))
    (first,) = found.positions
    assert first.n_shown == 100
    assert (first.hit_rate, first.weighted) == pytest.approx((0.9, 0.5))
    assert (found.explored, found.gini) == pytest.approx((1.0, 0.4))


@pytest.mark.parametrize("chance", [0.0, -1.0, float("nan"), 7.0, None])
def test_an_impossible_propensity_counts_for_nothing(chance: float | None) -> None:
    shown = showing(
        ("u", 0, "1", "epsilon", ["a"], [0.5]), ("u", 0, "1", "epsilon", ["b"], [chance])
    )
    (first,) = followed(shown, doing(("u", "a", 9), ("x", "x", DAY))).positions
    assert (first.hit_rate, first.weighted) == (0.5, 1.0)


def answers(rates: list[float], version: str = "1", n: int = 200) -> ShownAnswers:
    """A day of answers for each rate, the last of them the current window."""
    rng = np.random.default_rng(0)
    size = n * len(rates)
    return ShownAnswers(
        user=rng.integers(0, 50, size),
        at_s=T0 - DAY * (len(rates) - 1 - np.arange(size) // n) - rng.integers(0, DAY, size),
        version=np.full(size, version),
        greedy=np.ones(size, np.bool_),
        hit=rng.random(size) < np.repeat(rates, n),
    )


def test_a_fall_is_beyond_what_days_were_like() -> None:
    windows = Windows(T0 + 1, DAY, 9)
    calm, fallen = ([0.3] * 8 + [last] for last in (0.3, 0.1))
    (usual,) = measure_outcome_drift(answers(calm), "1", windows, CONFIG)
    (low,) = measure_outcome_drift(answers(fallen), "1", windows, CONFIG)
    assert (len(usual.history), low.side) == (8, "below")
    assert usual.p_sampling > 0.01
    assert low.p_sampling < 1e-6
    assert low.high is not None
    assert low.value < low.high < low.history.min()


def test_only_the_champion_is_judged_and_only_on_enough() -> None:
    windows = Windows(T0 + 1, DAY, 9)
    for version, n in (("2", 200), ("1", 40)):
        assert measure_outcome_drift(answers([0.3] * 9, version, n), "1", windows, CONFIG) == []
    assert measure_outcome_drift(answers([0.3] * 9), None, windows, CONFIG) == []
