"""Nothing of a target's own row, or of what came after it, reaches an answer."""

from dataclasses import replace

import numpy as np
import pytest

from chronotope.contracts.event_log import Catalog, EventLog, Int64
from chronotope.contracts.ids import IdMap
from chronotope.contracts.protocols import Recommender
from chronotope.contracts.queries import queries_at
from chronotope.metrics import evaluate, expected_rank, hit_rate
from chronotope.models.baselines import baselines
from chronotope.models.config import ModelConfig
from chronotope.testing.recommender_suite import sample_catalog, sample_log
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender
from tests.quality.chance import luck

SHOPS = replace(sample_catalog(), items_are_places=False)
"""Items that are not places, so that *where* has a head of its own."""

DAY_S = 86_400


def ours() -> ChronotopeRecommender:
    """Our own model, small, with everything switched on."""
    return ChronotopeRecommender(
        ModelConfig(history_len=32, kernel_len=16, backbone="gru", d_model=8),
        TrainingConfig(max_epochs=1, n_rounds=2, batch_size=64),
    )


def model_named(name: str) -> Recommender:
    """A fresh model."""
    return next(model for model in [*baselines(), ours()] if model.name == name)


NAMES = [model.name for model in [*baselines(), ours()]]


def changed_from(log: EventLog, start_s: int, *, time_given: bool) -> EventLog:
    """Everything that anybody does from an instant on is different.

    What the question itself tells stays: if the time is given, the moment and its clock.
    """
    rng, late = np.random.default_rng(1), log.occurred_s >= start_s
    names = ["item_idx", "place_idx", "session_idx"] + ([] if time_given else ["utc_offset_min"])
    other = {
        name: np.where(late, rng.integers(1, 16, len(log)), getattr(log, name)).astype(np.int32)
        for name in names
    }
    value = np.where(late, rng.random(len(log)), log.value).astype(np.float32)
    moved_s = log.occurred_s + (0 if time_given else DAY_S) * late
    return replace(log, **other, value=value, occurred_s=moved_s, context={"weather": value})


def first_after(log: EventLog, start_s: int) -> Int64:
    """Each user's first event from an instant on, if there is one before."""
    late = log.occurred_s >= start_s
    is_next = np.r_[False, late[1:] & ~late[:-1] & (log.user_idx[1:] == log.user_idx[:-1])]
    return np.flatnonzero(is_next)


def answers(
    name: str, log: EventLog, start_s: int, asked: Int64, *, time_given: bool
) -> list[np.ndarray]:
    """All that a model trained on the past says of some events: what, when and where."""
    model = model_named(name).fit(log.before(start_s), SHOPS)
    queries = queries_at(log, asked, history_len=model.history_len, time_given=time_given)
    if isinstance(model, ChronotopeRecommender):
        return [part.numpy() for part in model.outputs(queries)]
    return [model.scores(queries)]


@pytest.mark.parametrize("time_given", [False, True], ids=["hidden", "given"])
@pytest.mark.parametrize("name", NAMES)
def test_what_comes_later_changes_no_answer(name: str, time_given: bool) -> None:
    log = sample_log()
    start_s = int(np.quantile(log.occurred_s, 0.7))
    asked = first_after(log, start_s)
    assert len(asked) > 5

    def said(change_s: int) -> list[np.ndarray]:
        changed = changed_from(log, change_s, time_given=time_given)
        return answers(name, changed, start_s, asked, time_given=time_given)

    truth = answers(name, log, start_s, asked, time_given=time_given)
    for one, other in zip(truth, said(start_s), strict=True):
        np.testing.assert_array_equal(one, other)
    past = said(start_s - 3 * DAY_S)
    assert not any(np.array_equal(one, other) for one, other in zip(truth, past, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_a_stream_does_not_look_ahead(name: str) -> None:
    log = sample_log()
    first_s, second_s, end_s = np.quantile(log.occurred_s, [0.6, 0.7, 0.8]).astype(int).tolist()
    asked = np.flatnonzero((log.occurred_s >= first_s) & (log.occurred_s < end_s))

    def ranks(change_s: int) -> np.ndarray:
        changed = changed_from(log, change_s, time_given=False)
        model = model_named(name).fit(changed.before(first_s), SHOPS)
        ask = {"n_items": SHOPS.n_items, "time_given": True, "rounds": [first_s, second_s]}
        return evaluate(model, changed, asked, **ask).rank

    np.testing.assert_array_equal(ranks(end_s), ranks(int(log.occurred_s.max()) + 1))
    assert not np.array_equal(ranks(end_s), ranks(first_s - 3 * DAY_S))


N_PLANTED = 20


def planted_log() -> EventLog:
    """Items by pure chance; every other column of a row betrays that row's item."""
    rng = np.random.default_rng(0)
    item = rng.integers(1, 1 + N_PLANTED, 4_000)
    return EventLog.sorted(
        user_idx=np.repeat(np.arange(1, 41), 100),
        item_idx=item,
        place_idx=1 + N_PLANTED - item,
        session_idx=item,
        occurred_s=1_600_000_000 + rng.permutation(4_000) * 3_600,
        value=item,
        context={"betrays": item},
    )


def planted_catalog() -> Catalog:
    ids = IdMap.of([f"i{n:02d}" for n in range(N_PLANTED)])
    nowhere = np.full(1 + N_PLANTED, np.nan)
    return Catalog(
        users=IdMap.of([f"u{n:02d}" for n in range(40)]),
        items=ids,
        places=ids,
        categories=IdMap.of(["thing"]),
        item_category=np.r_[0, np.ones(N_PLANTED)].astype(np.int32),
        item_lat=nowhere,
        item_lon=nowhere,
        place_lat=nowhere,
        place_lon=nowhere,
    )


def test_a_planted_future_feature_scores_at_chance() -> None:
    log = planted_log()
    start_s = int(np.quantile(log.occurred_s, 0.7))
    asked = np.flatnonzero(log.occurred_s >= start_s)
    model = ours().fit(log.before(start_s), planted_catalog())
    queries = queries_at(log, asked, history_len=model.history_len, time_given=True)
    said = model.answer(queries)
    bound = 1 / N_PLANTED + luck(len(asked))
    assert hit_rate(expected_rank(said.item_scores, log.item_idx[asked]), 1).mean() <= bound
    assert hit_rate(expected_rank(said.place_scores, log.place_idx[asked]), 1).mean() <= bound


def test_the_planted_feature_would_tell_all_if_it_were_read() -> None:
    log, at = planted_log(), np.arange(4_000)
    told = queries_at(log, at, history_len=1, time_given=True, place_given=True).request_place_idx
    np.testing.assert_array_equal(1 + N_PLANTED - told, log.item_idx)
