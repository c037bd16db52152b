"""The search finds a front that is known, tries nothing twice, and keeps to its budget."""

from itertools import product
from typing import Any

import pytest

from chronotope.compression.pareto_front import is_on_front
from chronotope.tuning.pareto_search import ConstraintCheck, SearchBudget, search_front
from chronotope.tuning.study import ParameterSuggester

SIDES = (0, 1, 2, 3, 4, 5)


def space(trial: ParameterSuggester) -> dict[str, object]:
    return {name: trial.suggest_int(name, 0, 5) for name in ("a", "b", "c")}


def costs(a: int, b: int, c: int) -> tuple[float, ...]:
    """Better in one respect is worse in the other, and c only costs: the front has c = 0."""
    return (a + c + abs(b - a)), (5 - a + c + abs(b - a))


def judge(params: dict[str, Any]) -> ConstraintCheck:
    return ConstraintCheck(tuple(map(float, costs(**params))), {})


FRONT = {(a, a, 0) for a in SIDES}
WORST = {"a": 0, "b": 5, "c": 5}


def found(n_trials: int, **more: Any) -> list[dict[str, Any]]:
    told = {"first": [WORST], "n_objectives": 2, "budget": SearchBudget(n_trials, seed=1)} | more
    return [params for params, _ in search_front(space, judge, **told)]


def test_the_toy_front_is_what_it_is_said_to_be() -> None:
    points = list(product(SIDES, repeat=3))
    on = is_on_front([costs(*point) for point in points])
    assert {point for point, front in zip(points, on, strict=True) if front} == FRONT


def test_a_known_front_is_found_with_a_part_of_the_trials() -> None:
    tried = {(p["a"], p["b"], p["c"]) for p in found(60)}
    assert len(tried) == 60
    assert len(FRONT & tried) >= 4  # by chance 1.7


def test_the_same_seed_tries_the_same_in_the_same_order() -> None:
    assert found(30) == found(30)
    assert found(30) != found(30, budget=SearchBudget(30, seed=2))


def test_what_was_begun_is_walked_through_again() -> None:
    assert found(12)[:6] == found(6)


def test_the_first_ones_are_tried_even_without_time() -> None:
    first = [WORST, {"a": 1, "b": 1, "c": 1}, WORST]
    assert found(1, first=first, budget=SearchBudget(1)) == first[:2]
    assert found(99, first=first, budget=SearchBudget(99, timeout_s=1e-9)) == first[:2]


def test_a_small_space_is_tried_out_and_the_search_ends() -> None:
    def two(trial: ParameterSuggester) -> dict[str, object]:
        return {"a": trial.suggest_categorical("a", [0, 1]), "b": 0, "c": 0}

    tried = search_front(two, judge, first=[], n_objectives=2, budget=SearchBudget(50))
    assert sorted(params["a"] for params, _ in tried) == [0, 1]  # type: ignore[type-var]


@pytest.mark.parametrize("told", [None, (1.0, 1.0)])
def test_the_search_leaves_what_breaks_a_bound(told: tuple[float, ...] | None) -> None:
    def bounded(params: dict[str, Any]) -> ConstraintCheck:
        excess = {"a": float(params["a"])}
        return ConstraintCheck(told if excess["a"] > 0 else judge(params).costs, excess)

    settings: dict[str, Any] = {"n_objectives": 2, "budget": SearchBudget(40, seed=0)}
    tried = search_front(space, bounded, first=[WORST], **settings)
    within = [params for params, _ in tried[6:] if params["a"] == 0]
    assert len(within) > 10  # of 34; by chance 6
