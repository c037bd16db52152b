"""Every family alone learns tastes, and every family that reads an order learns the order."""

import numpy as np
import numpy.typing as npt
import pytest

from chronotope.contracts.event_log import EventLog
from chronotope.contracts.queries import queries_at
from chronotope.models.baselines import Popularity
from chronotope.models.config import BACKBONES, BackboneKind, ModelConfig
from chronotope.testing.recommender_suite import sample_catalog
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender

N_USERS, N_EVENTS, N_ITEMS, DAY_S = 40, 50, 15, 86_400
FAMILIES = [kind for kind in BACKBONES if kind != "none"]
IN_ORDER = [kind for kind in FAMILIES if kind != "lightgcn"]
pytestmark = pytest.mark.slow


def clubs() -> npt.NDArray[np.int64]:
    """Three clubs of five items; a member has any of the club's: three guesses hit .6."""
    rng = np.random.default_rng(0)
    club = rng.integers(0, 3, (N_USERS, 1))
    return 5 * club + rng.integers(0, 5, (N_USERS, N_EVENTS)) + 1


def ring() -> npt.NDArray[np.int64]:
    """One or two steps on round a ring: who knows the last item needs two guesses."""
    rng = np.random.default_rng(0)
    steps = np.where(rng.random((N_USERS, N_EVENTS)) < 0.9, 1, 2)
    return (rng.integers(0, N_ITEMS, (N_USERS, 1)) + steps.cumsum(1)) % N_ITEMS + 1


def daily(items: npt.NDArray[np.int64]) -> EventLog:
    """A row of items a user, one a day at a random time."""
    rng = np.random.default_rng(1)
    at = DAY_S * np.arange(N_EVENTS) + rng.integers(0, DAY_S, items.shape)
    user = np.repeat(np.arange(1, N_USERS + 1), N_EVENTS)
    return EventLog.sorted(user_idx=user, item_idx=items.ravel(), occurred_s=at.ravel())


def hits(log: EventLog, kind: BackboneKind | None) -> float:
    """Acc@3 on the last fifth, of a family without kernels or of popularity."""
    cut = int(np.quantile(log.occurred_s, 0.8))
    at = np.flatnonzero(log.occurred_s >= cut)
    model = Popularity() if kind is None else alone(kind)
    model.fit(log.before(cut), sample_catalog())
    scores = model.scores(queries_at(log, at, history_len=16, time_given=True))
    top = scores[:, 1 : N_ITEMS + 1].argsort(1)[:, -3:] + 1
    return float((top == log.item_idx[at][:, None]).any(1).mean())


def alone(kind: BackboneKind) -> ChronotopeRecommender:
    return ChronotopeRecommender(
        ModelConfig(history_len=16, kernels=False, backbone=kind, backbone_len=4, d_model=16),
        TrainingConfig(max_epochs=5, n_rounds=2, batch_size=32),
    )


@pytest.mark.parametrize("kind", FAMILIES)
def test_tastes_are_learned_up_to_what_can_be_known(kind: BackboneKind) -> None:
    assert 0.5 < hits(daily(clubs()), kind) < 0.67


@pytest.mark.parametrize("kind", IN_ORDER)
def test_an_order_is_learned(kind: BackboneKind) -> None:
    assert hits(daily(ring()), kind) > 0.8


def test_popularity_knows_neither() -> None:
    assert hits(daily(clubs()), None) < 0.35
    assert hits(daily(ring()), None) < 0.35
