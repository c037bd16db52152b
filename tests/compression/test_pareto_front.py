"""The front is what nothing else beats in every respect."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from chronotope.compression.pareto_front import is_on_front

POINTS = st.lists(st.tuples(*[st.integers(0, 5)] * 3), max_size=12)


def test_a_known_front_is_found() -> None:
    points = [(0.0, 9.0, 5.0), (0.1, 2.0, 5.0), (0.1, 2.0, 6.0), (0.2, 1.0, 9.0), (0.3, 9.0, 9.0)]
    assert is_on_front(points) == [True, True, False, True, False]


def test_equal_points_stay_together_and_nothing_has_no_front() -> None:
    assert is_on_front([(1, 1), (1, 1)]) == [True, True]
    assert is_on_front([]) == []


@given(POINTS)
def test_somebody_on_the_front_is_nowhere_worse_than_any_point(points: list[tuple[int]]) -> None:
    front = [np.array(p) for p, on in zip(points, is_on_front(points), strict=True) if on]
    assert all(any((f <= np.array(p)).all() for f in front) for p in points)
    assert not any((f <= g).all() and (f < g).any() for f in front for g in front)
