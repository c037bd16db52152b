"""Lists with a new item: how often they are drawn, and the propensities that are logged."""

from collections import Counter

import numpy as np
import pytest

from chronotope.contracts.ids import IdMap
from chronotope.experiments.experiment import Exploration
from chronotope.inference.item_metadata import ItemMetadata
from chronotope.inference.ranking import DenseRanking
from chronotope.inference.recent_activity import RecentActivity
from chronotope.serving.api.requests import RecommendRequest
from chronotope.serving.model.new_item_exposure import NewItemExposure
from chronotope.serving.model.selection import SelectedItems, select_items

N_ITEMS, K, N_DRAWS = 9, 3, 6_000


def ranking(excluded: tuple[int, ...] = ()) -> DenseRanking:
    """Items 1, 2, 3, … in this order."""
    scores = np.r_[-np.inf, np.log(np.linspace(2.0, 1.0, N_ITEMS - 1) / 12.0)]
    allowed = np.arange(N_ITEMS) > 0
    allowed[list(excluded)] = False
    return DenseRanking(scores, allowed)


def no_activity() -> RecentActivity:
    none = np.empty(0, np.int32)
    return RecentActivity.from_events(none, none, N_ITEMS)


def metadata() -> ItemMetadata:
    nowhere, no_category = np.full(N_ITEMS, np.nan), np.zeros(N_ITEMS, np.int32)
    return ItemMetadata(nowhere, nowhere, nowhere, nowhere, IdMap.of([]), no_category)


def select(
    seed: str,
    new: list[int],
    share: float,
    exploration: Exploration,
    excluded: tuple[int, ...] = (),
) -> SelectedItems:
    return select_items(
        ranking(excluded),
        RecommendRequest(k=K),
        exploration,
        metadata(),
        no_activity(),
        seed,
        NewItemExposure(share, np.array(new, np.int64)),
    )


@pytest.mark.parametrize(
    "exploration",
    [Exploration(share=0.0), Exploration(share=0.4), Exploration(share=0.3, kind="softmax")],
    ids=str,
)
@pytest.mark.parametrize("new", [[7], [1, 7], [3, 7, 8], [2]], ids=str)
def test_propensities_are_the_frequencies(exploration: Exploration, new: list[int]) -> None:
    told: dict[tuple[int, int], float] = {}
    counts: Counter[tuple[int, int]] = Counter()
    for draw in range(N_DRAWS):
        selected = select(f"seed {draw}", new, 0.3, exploration)
        for position, item in enumerate(selected.items.tolist()):
            counts[item, position] += 1
            told[item, position] = float(selected.propensities[position])
    assert min(told.values()) > 0.0
    for place, propensity in told.items():
        error = np.sqrt(propensity * (1.0 - propensity) / N_DRAWS)
        assert abs(counts[place] / N_DRAWS - propensity) < 4.5 * error + 1e-9, place


def test_each_propensity_depends_on_item_and_position_alone() -> None:
    exploration = Exploration(share=0.4)
    told: dict[tuple[int, int], set[float]] = {}
    for draw in range(300):
        selected = select(f"seed {draw}", [3, 7], 0.5, exploration)
        for position, item in enumerate(selected.items.tolist()):
            value = round(float(selected.propensities[position]), 12)
            told.setdefault((item, position), set()).add(value)
    assert all(len(values) == 1 for values in told.values())


def test_items_that_the_request_excludes_are_not_shown() -> None:
    for draw in range(100):
        selected = select(f"seed {draw}", [7], 1.0, Exploration(share=0.0), excluded=(7,))
        assert (selected.items.tolist(), selected.policy) == ([1, 2, 3], "greedy")
        assert selected.propensities.tolist() == [1.0] * 3
        assert not selected.explored


def test_without_new_items_nothing_changes() -> None:
    exploration = Exploration(share=0.5)
    for draw in range(50):
        seed = f"seed {draw}"
        plain, with_share = (select(seed, [], share, exploration) for share in (0.0, 0.9))
        np.testing.assert_array_equal(plain.items, with_share.items)
        np.testing.assert_array_equal(plain.propensities, with_share.propensities)
        assert plain.policy == with_share.policy == "epsilon 0.5 of 8"


def test_an_item_is_shown_more_often_to_those_whom_it_fits() -> None:
    new = [4, 8]  # the first is likelier
    lists = [select(f"seed {draw}", new, 1.0, Exploration(share=0.0)) for draw in range(2_000)]
    shares = Counter(int(selected.items[-1]) for selected in lists)
    odds = np.exp(ranking().log_probability[4] - ranking().log_probability[8])
    expected = 0.25 + 0.5 * odds / (1.0 + odds)
    assert abs(shares[4] / 2_000 - expected) < 4.5 * np.sqrt(expected * (1 - expected) / 2_000)
    assert shares[8] / 2_000 > 0.25
