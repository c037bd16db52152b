"""Planted anomalies of a simulated city: their law, their labels, and the best detection."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronotope.datasets.city import CityConfig, build_city
from chronotope.datasets.city_anomalies.best_detection import best_detection
from chronotope.datasets.city_anomalies.labelled_log import write_labelled_log
from chronotope.datasets.city_anomalies.plant import taken_over
from chronotope.datasets.city_anomalies.rates import PLANTED, TELEPORT_KM, AnomalyKind
from chronotope.datasets.city_anomalies.walks import Walks
from chronotope.datasets.loading import load_spec
from chronotope.datasets.normalise import normalise
from chronotope.datasets.readers import read_events
from chronotope.datasets.simulation import simulate_events, simulate_walks
from chronotope.spacetime.distances import haversine_km

RATES = {"takeover": 0.02, "bot": 0.02, "flood": 0.02, "teleport": 0.02}
CONFIG = CityConfig(n_events=20_000, n_users=200, n_items=200, anomalies=0.0, planted=RATES)


@pytest.fixture(scope="module")
def walks() -> Walks:
    return next(simulate_walks(CONFIG, build_city(CONFIG)))


def test_every_kind_is_planted_at_its_rate(walks: Walks) -> None:
    for kind in PLANTED:  # a few dozen runs of geometric length: the spread is wide
        assert np.sum(walks.kind == kind) == pytest.approx(400, rel=0.75)
    n_extra = sum(np.sum(walks.kind == kind) for kind in PLANTED if kind != AnomalyKind.TAKEOVER)
    assert len(walks.item) == CONFIG.n_events + n_extra


def test_takeovers_have_their_share_on_average() -> None:
    lengths = np.full(200, 1_000)
    masks = [taken_over(0.02, lengths, np.random.default_rng(seed)) for seed in range(5)]
    assert np.mean(masks) == pytest.approx(0.02, rel=0.15)


def test_without_rates_the_log_is_the_old_one() -> None:
    plain = CONFIG.model_copy(update={"planted": CityConfig().planted})
    rows = pa.concat_tables(simulate_events(plain))
    assert rows.num_rows == CONFIG.n_events
    assert "anomaly_kind" not in rows.column_names


def test_events_of_a_user_are_in_order_and_one_a_second(walks: Walks) -> None:
    same_user = np.diff(walks.user) == 0
    assert (np.diff(walks.occurred_s)[same_user] > 0).all()


def test_a_teleport_is_far_and_soon(walks: Walks) -> None:
    city = build_city(CONFIG)
    rows = np.flatnonzero(walks.kind == AnomalyKind.TELEPORT)
    rows = rows[walks.kind[rows - 1] == AnomalyKind.REGULAR]
    here, there = walks.item[rows - 1], walks.item[rows]
    km = haversine_km(
        lat=city.lat[here], lon=city.lon[here], to_lat=city.lat[there], to_lon=city.lon[there]
    )
    gaps_s = walks.occurred_s[rows] - walks.occurred_s[rows - 1]
    assert (gaps_s < 300).all()
    assert np.mean(km >= TELEPORT_KM) > 0.95  # an own event may lie between


def test_a_flood_is_many_accounts_at_one_place_in_half_an_hour(walks: Walks) -> None:
    is_flood = walks.kind == AnomalyKind.FLOOD
    place = np.bincount(walks.item[is_flood]).argmax()
    rows = np.flatnonzero(is_flood & (walks.item == place))
    assert len(np.unique(walks.user[rows])) > 20
    middle_s = np.median(walks.occurred_s[rows])
    assert np.sum(np.abs(walks.occurred_s[rows] - middle_s) < 1_800) > 20


def test_the_best_detector_finds_most_and_not_what_cannot_be_told_apart() -> None:
    results = {result.kind: result for result in best_detection(CONFIG)}
    assert set(results) == set(PLANTED)
    for result in results.values():
        assert 0.7 < result.recall_without_tables <= result.recall + 0.05
    assert results[AnomalyKind.TAKEOVER].recall < 1.0  # a stranger may go where the user goes


def test_labels_carry_the_ids_of_the_lake(tmp_path: Path) -> None:
    small = CONFIG.model_copy(update={"n_events": 2_000, "n_users": 20})
    log = write_labelled_log(small, tmp_path, name="labelled")
    spec = load_spec(log.dataset)
    rows = pa.concat_tables(normalise(spec, raw).rows for raw in read_events(spec))
    labels = pq.read_table(log.labels)
    assert rows.num_rows == log.n_events
    assert labels.num_rows == sum(log.n_anomalies.values()) > 0
    assert set(labels["event_id"].to_pylist()) <= set(rows["event_id"].to_pylist())
    assert "anomaly_kind" not in rows.column_names
