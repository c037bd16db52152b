"""The champion's answer in words, from a lake and a hand-made graph."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pytest
from scipy.stats import lognorm

from chronotope.artifact.bundle import read_vocabulary
from chronotope.artifact.onnx_recommender import ModelOutput, OnnxRecommender
from chronotope.contracts.errors import ConfigError, StoreError
from chronotope.contracts.queries import Queries
from chronotope.inference.forecast import forecast_time, remaining_wait
from chronotope.inference.history import UserHistory
from chronotope.inference.ranking import DenseRanking
from chronotope.inference.recent_activity import RecentActivity, utc_midnight
from chronotope.inference.recommend import recommend
from chronotope.inference.request import Recommendation, RecommendOptions
from chronotope.lake import Lake
from chronotope.lake.event_labels import EventLabel, EventLabelLog
from chronotope.registry.champion import Champion, load_champion
from chronotope.runtime.workspace import Workspace
from chronotope.testing.recommender_suite import sample_catalog
from tests.inference.hand_made import LAST_S, MU, SCORES, SIGMA, fill_lake, write_hand_made_bundle
from tests.inference.promotions import PROMO, add_promotion

AT = datetime.fromtimestamp(LAST_S, UTC) + timedelta(hours=6)


class Listening(OnnxRecommender):
    """Keeps what it was asked."""

    asked: Queries

    def answer(self, queries: Queries) -> ModelOutput:
        type(self).asked = queries
        return super().answer(queries)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("root")
    fill_lake(root)
    write_hand_made_bundle(root / "bundle")
    return root


def ask(
    root: Path, user: str = "u00", at: datetime = AT, wish: RecommendOptions | None = None
) -> Recommendation:
    def load(root: Path, dataset: str) -> Champion:
        folder = root / "bundle"
        return Champion("1", Listening.load(folder), read_vocabulary(folder))

    return recommend(root, "city", user, at, options=wish, load=load)


def test_probabilities_are_a_softmax_without_the_unknown(root: Path) -> None:
    items = ask(root, wish=RecommendOptions(k=100)).items
    weights = np.exp(SCORES[1:].astype(float))
    assert [item.id for item in items] == [f"i{n:02d}" for n in range(15)]
    np.testing.assert_allclose([i.probability for i in items], weights / weights.sum(), rtol=1e-6)


def test_only_the_past_is_read(root: Path) -> None:
    assert ask(root).n_history == 3
    assert ask(root, at=datetime.fromtimestamp(LAST_S, UTC)).n_history == 2
    words = sample_catalog().items
    assert Listening.asked.item_idx.tolist() == [words.index(["i01", "i01"]).tolist()]
    assert Listening.asked.request_s.tolist() == [LAST_S]


def test_an_event_labelled_as_fraud_is_nobodys_history(tmp_path: Path) -> None:
    fill_lake(tmp_path)
    write_hand_made_bundle(tmp_path / "bundle")
    events = Lake(tmp_path / "data" / "lake" / "city").read("events")
    is_first = pc.and_(pc.equal(events["user_id"], "u00"), pc.equal(events["item_id"], "i02"))
    (event_id,) = events.filter(is_first)["event_id"].to_pylist()
    label_log = EventLabelLog(Workspace(tmp_path).event_labels("city"))
    label_log.append([EventLabel(event_id, is_anomalous=True)])
    assert ask(tmp_path).n_history == 2
    reasons = {item.id: item.reason for item in ask(tmp_path).items}
    assert reasons["i02"] != "you had it once, on 2020-09-13"
    assert reasons["i03"] != "follows i02"
    label_log.append([EventLabel(event_id, is_anomalous=False)])
    assert ask(tmp_path).n_history == 3
    label_log.close()


def test_reasons_are_what_can_be_counted(root: Path) -> None:
    reasons = {item.id: item.reason for item in ask(root).items}
    assert reasons["i01"] == "you had it 2 times, last on 2020-09-11"
    assert reasons["i02"] == "you had it once, on 2020-09-13"
    assert reasons["i03"] == "follows i02"
    assert reasons["i04"] == "popular: once in 28 days"
    assert reasons["i09"] == "new to you"


def test_a_reason_names_the_period_if_it_ended_long_before_the_request(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chronotope.inference.recommend.trained_until", lambda _: AT)
    reasons = [item.reason for item in ask(root, "nobody", AT + timedelta(days=900)).items]
    popular = [reason for reason in reasons if reason.startswith("popular")]
    assert popular
    assert all(reason.endswith(f"in the 28 days before {AT:%Y-%m-%d}") for reason in popular)


def test_when_is_the_rest_of_the_gap_given_the_silence(root: Path) -> None:
    when, gap = ask(root).when, lognorm(SIGMA, scale=np.exp(MU))
    assert when is not None
    expected = [gap.isf((1 - q) * gap.sf(6.0)) - 6.0 for q in (0.5, 0.1, 0.9)]
    np.testing.assert_allclose([when.median_h, when.low_h, when.high_h], expected, rtol=1e-4)


def test_a_stranger_gets_an_answer_and_a_note(root: Path) -> None:
    said = ask(root, "nobody")
    assert (said.n_history, said.when, len(said.items)) == (0, None, 10)
    assert "cold-start user" in said.notes[0]
    assert Listening.asked.item_idx.tolist() == [[0]]


def test_long_after_the_log_the_crowd_of_its_end_is_told(root: Path) -> None:
    said = ask(root, at=datetime(2200, 1, 1, tzinfo=UTC))
    assert said.when is None  # nobody was ever silent for so long
    assert "No time forecast" in said.notes[0]
    assert said.n_history == 4


def one_event() -> UserHistory:
    zero = np.zeros(1, np.int32)
    return UserHistory(zero + 1, zero + 1, np.array([LAST_S]), zero)


def test_a_wait_of_centuries_is_no_forecast() -> None:
    wide = np.array([[[0.0], [MU], [np.log(9.0)]]], np.float32)  # a tail without end
    soon, late = (AT + timedelta(days=days) for days in (0, 10_000))
    assert forecast_time(remaining_wait(wide, one_event(), soon)) is not None
    assert forecast_time(remaining_wait(wide, one_event(), late)) is None


def test_the_density_of_a_wait_is_the_slope_of_its_quantiles() -> None:
    wait = remaining_wait(np.array([[[0.0], [MU], [np.log(SIGMA)]]], np.float32), one_event(), AT)
    assert wait is not None
    hours = wait.quantiles(np.array([0.499, 0.5, 0.501]))
    assert wait.density(hours)[1] == pytest.approx(0.002 / (hours[2] - hours[0]), 1e-4)


def test_only_new_ones_and_only_of_a_kind(root: Path) -> None:
    items = ask(root, wish=RecommendOptions(k=100, exclude_seen=True)).items
    assert {"i01", "i02"}.isdisjoint({item.id for item in items})
    with pytest.raises(ConfigError, match="no such category"):
        ask(root, wish=RecommendOptions(category="cakes"))


def test_of_equals_the_smaller_index_is_first() -> None:
    scores = np.array([-np.inf, 0.0, 1.0, 0.0, 1.0, 1.0, 0.0])
    scored = DenseRanking(scores, np.array([False, *[True] * 5, False]))
    for k, best in ((1, [2]), (2, [2, 4]), (4, [2, 4, 5, 1]), (9, [2, 4, 5, 1, 3])):
        assert scored.best(k).items.tolist() == best


def test_followers_are_of_the_same_user() -> None:
    user, item = np.array([1, 1, 1, 2, 2], np.int32), np.array([3, 4, 3, 4, 1], np.int32)
    crowd = RecentActivity.from_events(user, item, 5)
    assert [crowd.follows(i).tolist() for i in range(5)] == [[], [], [], [4], [3, 1]]
    assert crowd.counts.tolist() == [0, 1, 0, 2, 2]
    assert utc_midnight(AT) == datetime(2020, 9, 13, tzinfo=UTC)


def test_distance_is_shown_and_filters(root: Path) -> None:
    here = RecommendOptions(lat=40.0, lon=-40.0, within_km=3.0)
    items = ask(root, wish=here).items
    assert [item.id for item in items] == ["i00", "i01", "i02"]  # 1.4 km apart
    km = [item.distance_km for item in items]
    assert km[0] == 0.0
    assert km[1] == pytest.approx(111.195 * 0.01 * np.sqrt(1 + np.cos(np.radians(40)) ** 2), 1e-3)
    assert (
        "the other filters and the distance"
        in ask(root, wish=RecommendOptions(lat=-80, lon=0, within_km=1)).notes[-1]
    )


@pytest.mark.parametrize("wish", [RecommendOptions(lat=1.0), RecommendOptions(within_km=1.0)])
def test_half_a_position_is_refused(root: Path, wish: RecommendOptions) -> None:
    with pytest.raises(ConfigError):
        ask(root, wish=wish)


def test_absence_is_told_and_makes_no_folder(root: Path) -> None:
    with pytest.raises(StoreError, match="no champion yet"):
        load_champion(root, "city")
    with pytest.raises(ConfigError, match="choose one of: city"):
        load_champion(root, "town")
    assert not (root / "mlruns").exists()


@pytest.mark.parametrize(("hours", "is_promoted"), [(0, True), (24, False)], ids=["on", "over"])
def test_item_context_of_the_lake_reaches_the_model(
    tmp_path: Path, hours: int, *, is_promoted: bool
) -> None:
    fill_lake(tmp_path)
    write_hand_made_bundle(tmp_path / "bundle")
    add_promotion(tmp_path, "city", "i03", AT - timedelta(hours=1), AT + timedelta(hours=8))

    def load(root: Path, _: str) -> Champion:
        opened = Listening.load(root / "bundle")
        manifest = opened.manifest.model_copy(update={"item_context": (PROMO,)})
        vocabulary = read_vocabulary(root / "bundle")
        return Champion("1", Listening(opened.session, manifest), vocabulary)

    # the hand-made graph has no inputs for it, so that it is the same answer
    recommend(tmp_path, "city", "u00", AT + timedelta(hours=hours), load=load)
    items, levels = Listening.asked.context_item_idx, Listening.asked.context_levels
    assert items is not None
    assert levels is not None
    assert items[0].tolist() == ([4] if is_promoted else [0])
    assert levels[0].tolist() == ([[1]] if is_promoted else [[0]])
