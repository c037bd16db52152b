"""The simulated city keeps its own law."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from chronotope.contracts.schemas import ITEMS
from chronotope.datasets.city import N_SLOTS, CityConfig, build_city, city_items
from chronotope.datasets.city_anomalies.walks import Walks
from chronotope.datasets.loading import load_spec
from chronotope.datasets.normalise import normalise
from chronotope.datasets.readers import read_events, read_items
from chronotope.datasets.simulation import simulate_events, simulate_walks
from chronotope.spacetime.distances import haversine_km
from tests.quality.city_oracle import best_reachable_accuracy

SMALL = CityConfig(n_events=20_000, n_users=200, n_items=100)


def simulate(config: CityConfig, **changes: int) -> pa.Table:
    return pa.concat_tables(simulate_events(config, **changes))


def people(config: CityConfig) -> list[np.ndarray]:
    """Places of each person in order of time, anomalies left out."""
    walks = next(simulate_walks(config, build_city(config)))
    ends = np.concatenate([[0], np.cumsum(walks.length)])
    return [walks.item[a:b][~walks.anomaly[a:b]] for a, b in pairwise(ends.tolist())]


def test_number_of_events_is_exact_and_does_not_depend_on_batches() -> None:
    whole = simulate(SMALL)
    assert whole.num_rows == 20_000
    assert simulate(SMALL, batch_events=777).equals(whole)
    assert not simulate(SMALL.model_copy(update={"seed": 8})).equals(whole)


def test_nights_are_quiet_and_weekends_busy() -> None:
    local = pc.add(simulate(SMALL)["occurred_at"].cast(pa.int64()), 3_600_000_000).to_numpy()
    hour, day = local // 3_600_000_000 % 24, (local // 86_400_000_000 + 3) % 7
    assert np.mean((hour >= 1) & (hour < 5)) < 0.06
    assert np.sum(day == 5) > 1.2 * np.sum(day == 1)


def test_exploration_prefers_near_places() -> None:
    city = build_city(CityConfig(n_items=1_000, decay_km=1.0))
    here = np.repeat(np.arange(1_000), N_SLOTS)
    there = city.slots[1].ravel()
    km = haversine_km(
        lat=city.lat[here], lon=city.lon[here], to_lat=city.lat[there], to_lon=city.lon[there]
    )
    anywhere = haversine_km(
        lat=city.lat[:, None], lon=city.lon[:, None], to_lat=city.lat, to_lon=city.lon
    )
    assert km.mean() < 0.7 * anywhere.mean()


def test_urge_to_explore_fades() -> None:
    early, late = [], []
    for places in people(SMALL):
        _, first = np.unique(places, return_index=True)
        if len(places) >= 60:
            early.append(np.sum(first < 20) / 20)
            late.append(np.sum((first >= 40) & (first < 60)) / 20)
    assert np.mean(late) < 0.7 * np.mean(early)


def test_cold_places_open_late() -> None:
    config = CityConfig(n_events=20_000, n_users=200, n_items=100, cold_items=0.3, anomalies=0)
    city, table = build_city(config), simulate(config)
    index = pc.cast(pc.utf8_slice_codeunits(table["item_id"], 1), pa.int64()).to_numpy()
    day = (table["occurred_at"].cast(pa.int64()).to_numpy() // 1_000_000 + 3600) // 86_400
    assert city.cold.sum() == 30
    assert day[city.cold[index]].min() - day.min() >= 96
    assert city.cold[index].any()


def test_anomalies_are_labelled_and_follow_at_once() -> None:
    config = CityConfig(n_events=20_000, n_users=200, n_items=100, anomalies=0.05)
    walks = next(simulate_walks(config, build_city(config)))
    assert np.mean(walks.anomaly) == pytest.approx(0.05, abs=0.01)
    odd = np.flatnonzero(walks.anomaly)
    assert (walks.occurred_s[odd] - walks.occurred_s[odd - 1] <= 30).all()


def counting_hits(config: CityConfig, walks: Walks) -> list[bool]:
    """Hits of a predictor that is told nothing but each person's past."""
    ends = np.concatenate([[0], np.cumsum(walks.length)])
    hits = []
    for a, b in pairwise(ends.tolist()):
        counts = np.zeros(config.n_items)
        for place in walks.item[a:b].tolist():
            hits.append(bool(counts.any()) and int(counts.argmax()) == place)
            counts[place] += 1
    return hits


def test_no_predictor_passes_the_best_reachable_accuracy() -> None:
    best = best_reachable_accuracy(SMALL)
    walks = next(simulate_walks(SMALL, build_city(SMALL)))
    reached = float(np.mean(counting_hits(SMALL, walks)))
    assert 0.4 * best < reached < best < 0.8


def test_who_knows_the_rhythm_comes_close_to_the_best_reachable_accuracy() -> None:
    walks = next(simulate_walks(SMALL, build_city(SMALL)))
    user = np.repeat(np.arange(200), walks.length)
    hour = (walks.occurred_s // 3600 + 1 + 72) % 168  # Monday midnight is 0
    night = (hour % 24 >= 21) | (hour % 24 < 7)
    office = (hour < 120) & (hour % 24 >= 8) & (hour % 24 < 17)
    sure = night | office
    guess = np.where(night, walks.home[user], walks.work[user])
    hits = np.array(counting_hits(SMALL, walks))
    reached = np.mean(np.where(sure, guess == walks.item, hits))
    assert reached == pytest.approx(best_reachable_accuracy(SMALL), abs=0.03)


def test_best_reachable_accuracy_of_pure_chance() -> None:
    config = CityConfig(n_events=2_000, n_users=20, n_items=50, anomalies=0.5)
    calm = best_reachable_accuracy(config.model_copy(update={"anomalies": 0.0}))
    assert best_reachable_accuracy(config) == pytest.approx(0.5 * calm + 0.01, abs=0.06)


def test_registered_as_a_dataset() -> None:
    spec = load_spec(Path(__file__).parents[2] / "conf" / "datasets" / "simulated_city.yaml")
    batches = [normalise(spec, raw) for raw in read_events(spec)]
    rows = pa.concat_tables(batch.rows for batch in batches)
    assert rows.num_rows == len(rows["event_id"].unique()) == 100_000
    assert rows["place_id"].equals(rows["item_id"])
    assert set(rows["is_anomaly"].unique().to_pylist()) == {0.0, 1.0}
    items = read_items(spec)
    assert items.schema.equals(ITEMS)
    assert pc.all(pc.is_in(rows["item_id"], value_set=items["item_id"].combine_chunks())).as_py()
    assert city_items(SMALL)["text"].null_count == 0
