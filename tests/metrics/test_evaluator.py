import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chronotope.contracts.errors import ConfigError, DataError
from chronotope.contracts.event_log import EventLog
from chronotope.metrics import evaluate

EVENTS = [(1, 1, 10), (1, 2, 20), (1, 1, 30), (1, 3, 30), (2, 3, 15), (2, 3, 15), (2, 3, 40)]


class Counts:
    """User counts of the history plus, scaled down, what was observed."""

    name = "counts"
    history_len = None

    def __init__(self, n_items=4):
        self.seen = np.zeros(n_items)
        self.observed = []
        self.batches = []

    def fit(self, log, catalog):
        return self

    def observe(self, log):
        self.observed.append(len(log))
        self.seen = np.bincount(log.item_idx, minlength=len(self.seen)) / 100

    def scores(self, queries):
        self.batches.append(len(queries))
        own = (queries.item_idx[:, :, None] == np.arange(len(self.seen))).sum(axis=1)
        return own + self.seen


@pytest.fixture
def log():
    user, item, when = zip(*EVENTS, strict=True)
    return EventLog.sorted(user_idx=user, item_idx=item, occurred_s=when)


def test_ranks_and_slices_by_hand(log):
    outcomes = evaluate(Counts(), log, np.array([6, 3, 2, 1]), n_items=4, time_given=True)
    assert outcomes.rank.tolist() == [1.0, 3.0, 1.5, 2.5]
    assert outcomes.is_return.tolist() == [True, False, True, False]
    assert outcomes.n_history.tolist() == [2, 2, 2, 1]
    assert outcomes.user.tolist() == [2, 1, 1, 1]


def test_second_event_of_a_basket_is_no_return(log):
    outcomes = evaluate(Counts(), log, np.array([5]), n_items=4, time_given=True)
    assert not outcomes.is_return[0]
    assert outcomes.n_history[0] == 0


def test_rounds_observe_only_the_past_and_order_is_restored(log):
    model = Counts()
    positions = np.array([6, 1])
    outcomes = evaluate(
        model, log, positions, n_items=4, time_given=False, rounds=[20, 35], batch_size=1
    )
    assert model.observed == [3, 6]
    assert outcomes.position.tolist() == [6, 1]
    assert outcomes.rank.tolist() == [1.0, 3.0]


def test_batch_size_changes_nothing(log):
    positions = np.arange(len(log))
    one = evaluate(Counts(), log, positions, n_items=4, time_given=True, batch_size=1)
    many = evaluate(Counts(), log, positions, n_items=4, time_given=True, batch_size=100)
    assert one.rank.tolist() == many.rank.tolist()


def test_cold_items_are_counted_before_the_first_target():
    log = EventLog.sorted(user_idx=[1] * 8, item_idx=[1] * 5 + [2, 2, 1], occurred_s=range(8))
    late = evaluate(Counts(), log, np.array([6, 7]), n_items=4, time_given=True)
    early = evaluate(Counts(), log, np.array([4, 7]), n_items=4, time_given=True)
    assert late.is_cold_item.tolist() == [True, False]
    assert early.is_cold_item.tolist() == [True, True]


def test_coverage_is_the_share_of_items_ever_recommended(log):
    outcomes = evaluate(Counts(), log, np.array([2]), n_items=4, time_given=True, coverage_k=2)
    assert outcomes.coverage == pytest.approx(2 / 3)


def test_wrong_width_and_unordered_rounds_are_refused(log):
    with pytest.raises(DataError, match="counts must score"):
        evaluate(Counts(), log, np.array([2]), n_items=9, time_given=True)
    with pytest.raises(ConfigError, match="increasing"):
        evaluate(Counts(), log, np.array([2]), n_items=4, time_given=True, rounds=[9, 9])


def test_no_targets_no_outcomes(log):
    assert len(evaluate(Counts(), log, np.array([], int), n_items=4, time_given=True)) == 0


EVENT = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(0, 6))


@given(st.lists(EVENT, min_size=1, max_size=25))
def test_returns_and_history_agree_with_the_oracle(oracle, events):
    events = sorted(events, key=lambda event: (event[0], event[2]))
    user, item, when = zip(*events, strict=True)
    log = EventLog.sorted(user_idx=user, item_idx=item, occurred_s=when)
    outcomes = evaluate(Counts(), log, np.arange(len(log)), n_items=4, time_given=True)
    past = [oracle.history(events, position) for position in range(len(events))]
    assert outcomes.n_history.tolist() == [len(items) for items in past]
    assert outcomes.is_return.tolist() == [x in items for x, items in zip(item, past, strict=True)]
