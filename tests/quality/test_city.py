"""In a city whose law is known, the model comes close to the best that anyone can reach."""

import pytest

from chronotope.contracts.event_log import EventLog, Float64
from chronotope.datasets.city import CityConfig
from chronotope.metrics import hit_rate
from chronotope.models.baselines import Popularity, UserCounts
from chronotope.models.config import ModelConfig
from chronotope.training.config import TrainingConfig
from chronotope.training.recommender import ChronotopeRecommender
from tests.quality.chance import best_without_order, luck
from tests.quality.city_oracle import best_reachable_accuracy
from tests.quality.town import asked_from, catalog_of, instant_at, later_ranks, walked

pytestmark = pytest.mark.slow

CITY = CityConfig(n_events=20_000, n_users=100, n_items=100, anomalies=0.0)


@pytest.fixture(scope="module")
def log() -> EventLog:
    return walked(CITY)


@pytest.fixture(scope="module")
def start_s(log: EventLog) -> int:
    return instant_at(log, 0.7)


@pytest.fixture(scope="module")
def ours(log: EventLog, start_s: int) -> Float64:
    """Hits of the trained model on later events."""
    model = ChronotopeRecommender(
        ModelConfig(history_len=256, kernel_len=128), TrainingConfig(max_epochs=5)
    )
    return hit_rate(later_ranks(model, log, catalog_of(CITY), start_s), 1)


@pytest.fixture(scope="module")
def best(start_s: int) -> float:
    return best_reachable_accuracy(CITY, n_users=CITY.n_users, since_s=start_s)


def test_within_five_percent_of_the_best_reachable(ours: Float64, best: float) -> None:
    assert ours.mean() >= 0.95 * best


def test_never_better_than_who_knows_the_law(ours: Float64, best: float) -> None:
    """Beyond luck, only an answer that leaked into the question could be."""
    assert ours.mean() <= best + luck(len(ours))


@pytest.mark.parametrize("model", [Popularity(), UserCounts()], ids=lambda m: m.name)
def test_beats_counting(
    model: Popularity | UserCounts, ours: Float64, log: EventLog, start_s: int
) -> None:
    theirs = hit_rate(later_ranks(model, log, catalog_of(CITY), start_s), 1)
    assert ours.mean() > theirs.mean() + 2 * luck(len(ours))


def test_beats_who_knows_all_but_the_order(ours: Float64, log: EventLog, start_s: int) -> None:
    """What ``test_noise`` forbids to a model of shuffled time is reached in true time."""
    asked = asked_from(log, start_s)
    early = log.occurred_s[asked] < instant_at(log, 0.9)
    bound = best_without_order(log, asked[early]) + luck(int(early.sum()))
    assert ours[early].mean() > bound
