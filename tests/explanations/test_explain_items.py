"""Explanations equal real runs of the model without the events they name."""

from collections.abc import Callable

import numpy as np
import pytest

from chronotope.contracts.event_log import Float32
from chronotope.contracts.queries import Queries
from chronotope.explanations import (
    HistoryOcclusion,
    event_effects,
    explain_scores,
    find_counterfactual,
    without_events,
)

N_ITEMS = 8
HOUR = 3600


def history(items: list[int], padding: int = 0) -> Queries:
    """One query, an hour between its events."""
    n = len(items)
    zeros = [0] * padding

    def row(values: list[int], dtype: type) -> np.ndarray:
        return np.array([[*zeros, *values]], dtype)

    return Queries(
        user_idx=np.array([1], np.int32),
        item_idx=row(items, np.int32),
        occurred_s=row([HOUR * (hour + 1) for hour in range(n)], np.int64),
        utc_offset_min=row([60] * n, np.int32),
        place_idx=row(items, np.int32),
        request_s=np.array([HOUR * (n + 1)], np.int64),
        request_offset_min=np.array([60], np.int32),
        request_place_idx=np.array([0], np.int32),
        time_given=np.array([True]),
        context={"rain": np.array([0.5], np.float32)},
    )


def counting(weights: dict[int, float]) -> Callable[[Queries], Float32]:
    """Logit of item i: its base, and log(1 + sum of the weights of its events' hours)."""

    def score(queries: Queries) -> Float32:
        logits = np.zeros((len(queries), N_ITEMS), np.float32)
        logits += np.linspace(0.7, 0.0, N_ITEMS)
        for row in range(len(queries)):
            for item, second in zip(queries.item_idx[row], queries.occurred_s[row], strict=True):
                if item:
                    logits[row, item] += weights.get(int(second) // HOUR, 1.0)
        return logits

    return score


def test_removed_events_are_gone_and_the_others_keep_their_order() -> None:
    removed = np.zeros((3, 6), np.bool_)
    removed[0, 3], removed[1, 2:5], removed[2] = True, True, True
    queries = without_events(history([3, 4, 3, 5], padding=2), removed)
    assert queries.item_idx.tolist() == [[3, 3, 5], [0, 0, 5], [0, 0, 0]]
    assert (queries.occurred_s[0] // HOUR).tolist() == [1, 3, 4]
    assert queries.request_s.tolist() == [5 * HOUR] * 3
    assert queries.context["rain"].tolist() == [0.5] * 3


def test_effects_are_differences_of_real_runs() -> None:
    score, query = counting({1: 0.1, 2: 2.0, 3: 0.5}), history([3, 4, 3], padding=1)
    effects = event_effects(HistoryOcclusion(score, query, np.array([3, 4])))
    assert effects.position.tolist() == [1, 2, 3]

    def log_probability(kept: list[int]) -> np.ndarray:
        removed = np.array([[row not in kept for row in range(4)]])
        logits = score(without_events(query, removed)).astype(np.float64)[0, 1:]
        return (logits - np.log(np.exp(logits).sum()))[[2, 3]]

    for row, position in enumerate([1, 2, 3]):
        others = [other for other in (1, 2, 3) if other != position]
        whole = log_probability([1, 2, 3]) - log_probability(others)
        alone = log_probability([position]) - log_probability([])
        assert effects.effect[row] == pytest.approx((whole + alone) / 2, abs=1e-6)
    assert effects.effect[0, 0] < effects.effect[2, 0]
    assert effects.effect[1, 0] < 0 < effects.effect[1, 1]


def test_a_counterfactual_is_irreducible_and_true() -> None:
    score, query = counting({1: 3.0, 2: 0.01, 3: 2.5, 4: 0.02, 5: 1.0}), history([7, 7, 7, 2, 5])
    (explanation,) = explain_scores(score, query, np.array([7]), list_len=2, counterfactuals=True)
    assert explanation.rank == 1
    assert [event.position for event in explanation.events[:2]] == [0, 2]
    found = explanation.counterfactual
    assert found is not None
    assert found.position.tolist() == [0, 2]
    occlusion = HistoryOcclusion(score, query, np.array([7]))
    removed = np.zeros((3, 5), np.bool_)
    removed[0, [0, 2]] = removed[1, 0] = removed[2, 2] = True
    scores = occlusion.run(removed)
    assert scores.rank[0, 0] == found.rank > 2
    assert (scores.rank[1:, 0] <= 2).all()
    assert np.exp(scores.log_probability[0, 0]) == pytest.approx(found.probability)


def test_a_habit_of_many_events_is_removed_as_a_whole() -> None:
    score, query = counting({}), history([7] * 20)
    occlusion = HistoryOcclusion(score, query, np.array([7]))
    found = find_counterfactual(occlusion, event_effects(occlusion), 1)
    assert found is not None
    assert (found.is_whole_item, len(found.position), found.rank) == (True, 20, 7)


def test_what_is_not_in_the_list_has_no_counterfactual() -> None:
    score = counting({})
    for query, item in ((history([3]), 7), (history([], padding=1), 1)):
        (explanation,) = explain_scores(
            score, query, np.array([item]), list_len=1, counterfactuals=True
        )
        assert explanation.counterfactual is None
    assert explanation.events == ()


def test_blocks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    occlusion = HistoryOcclusion(counting({2: 0.3}), history([3, 4, 3, 6]), np.array([3, 6, 1]))
    whole = event_effects(occlusion)
    monkeypatch.setattr("chronotope.explanations.occlusion.MAX_SCORES", N_ITEMS)
    by_one = event_effects(occlusion)
    assert np.allclose(whole.effect, by_one.effect, atol=1e-6)
    assert (whole.rank_without == by_one.rank_without).all()
