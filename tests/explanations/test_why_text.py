"""What the text of an explanation claims is what the numbers beside it say."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from chronotope.explanations.counterfactual import Counterfactual
from chronotope.explanations.explain_items import Explanation, InfluentialEvent
from chronotope.explanations.why_text import why_text

ITEMS = ["tea", "bun"]


class History:
    """Three events on the second of January 2024."""

    item_idx = np.array([0, 1, 0])
    occurred_s = np.array([1_704_200_000] * 3)
    utc_offset_min = np.zeros(3, np.int64)

    def __len__(self) -> int:
        return 3


def text(*events: InfluentialEvent, without: Counterfactual | None = None) -> str:
    vocabulary: Any = SimpleNamespace(
        titles=[None, "Sweet bun"], items=SimpleNamespace(name=ITEMS.__getitem__)
    )
    history: Any = History()
    return why_text(Explanation(1, 0.4, events, without), history, vocabulary, "popular")


@pytest.mark.parametrize(("rank", "probability"), [(2, 0.4), (1, 0.35)])
def test_an_event_that_is_needed_is_the_cause(rank: int, probability: float) -> None:
    assert text(InfluentialEvent(1, 0.5, probability, rank)) == (
        "Mostly because of Sweet bun on 2024-01-02."
    )


def test_an_event_that_hardly_matters_is_not_named_beside_the_cause() -> None:
    needed, other = InfluentialEvent(1, 0.5, 0.1, 58), InfluentialEvent(0, 0.3, 0.39, 1)
    alone = Counterfactual(np.array([1]), 58, 0.1, False)
    assert text(needed, other, without=alone) == (
        "Mostly because of Sweet bun on 2024-01-02. "
        "Without this event it would be 58th instead of 1st."
    )
    both = Counterfactual(np.array([1, 0]), 70, 0.05, False)
    assert text(needed, other, without=both).endswith(
        "instead of 1st: Sweet bun on 2024-01-02 and tea on 2024-01-02."
    )


def test_events_that_others_replace_are_no_cause() -> None:
    one, other = InfluentialEvent(1, 0.5, 0.39, 1), InfluentialEvent(0, 0.3, 0.4, 1)
    assert text(one) == (
        "Sweet bun on 2024-01-02 is in favour of it, but it would be 1st without this event too."
    )
    assert text(one, other) == (
        "Several events are in favour of it: Sweet bun on 2024-01-02 and tea on 2024-01-02. "
        "Without any one of them it would still be 1st."
    )
    both = Counterfactual(np.array([0, 1]), 12, 0.01, False)
    assert text(one, other, without=both).endswith(
        "still be 1st. Without these 2 events it would be 12th instead of 1st."
    )


def test_without_an_influential_event_the_general_reason_is_given() -> None:
    assert text() == "Your history hardly changes the place of this item: popular."
