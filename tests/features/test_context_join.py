"""Readings are joined as of a moment, from where the user was before, never from the future."""

import numpy as np
import pyarrow as pa
import pytest

from chronotope.contracts.errors import ConfigError
from chronotope.contracts.schemas import EVENTS, INSTANT
from chronotope.features.build import build_features
from chronotope.features.context_join import ContextReadings
from chronotope.features.snapshot import load_features
from chronotope.features.sources import FeaturesConfig

READINGS = [
    # second, valid for, place, rain
    (0, 100, None, 9.0),
    (10, 5, "north", 1.0),
    (20, 5, "north", 2.0),
    (20, 5, "south", 3.0),
    (30, 100, "north", None),
]


@pytest.fixture
def readings() -> pa.Table:
    at, valid, place, rain = zip(*READINGS, strict=True)
    us = [1_000_000 * s for s in at]
    until = [1_000_000 * (s + v) for s, v in zip(at, valid, strict=True)]
    ids = pa.array([str(n) for n in range(len(at))])
    columns = [ids, pa.array(us).cast(INSTANT), pa.array(until).cast(INSTANT), pa.array(place)]
    names = ["event_id", "occurred_at", "valid_until", "place_id", "rain mm"]
    return pa.table([*columns, pa.array(rain, pa.float64())], names=names)


@pytest.mark.parametrize(
    ("second", "place", "expected"),
    [
        (10, "north", 1.0),  # from its moment on
        (9, "north", 9.0),  # not before it: everywhere speaks
        (15, "north", 9.0),  # expired
        (22, "north", 2.0),
        (22, "south", 3.0),
        (22, None, 9.0),
        (22, "elsewhere", 9.0),
        (31, "north", 9.0),  # the latest reading of the place lacks the number
        (150, "south", np.nan),
        (-1, "north", np.nan),
    ],
)
def test_the_latest_valid_reading_of_the_place(
    readings: pa.Table, second: int, place: str | None, expected: float
) -> None:
    known = ContextReadings.from_table(readings, ["rain mm"])
    found = known.as_of(np.array([1_000_000 * second]), [place])
    np.testing.assert_array_equal(found, np.float32([[expected]]))


def events_at(stays: list[tuple[int, str | None]]) -> pa.Table:
    plain = {"user_id": "ann", "item_id": "tea", "event_type": "visit"}
    rows = [
        {"event_id": f"e{n}", "occurred_at": 1_000_000 * at, "place_id": place, **plain}
        for n, (at, place) in enumerate(stays)
    ]
    columns = {f.name: pa.array([row.get(f.name) for row in rows]).cast(f.type) for f in EVENTS}
    return pa.table(columns)


def test_a_log_is_joined_from_the_place_before(readings: pa.Table, tmp_path) -> None:
    stays = [(5, "north"), (12, "south"), (21, None), (22, "north"), (22, "south"), (23, "x")]
    config = FeaturesConfig(context_table=("rain mm",))
    ref = build_features(events_at(stays), None, config=config, out=tmp_path, readings=readings)
    log, _ = load_features(ref.path)
    # nowhere, north, south, south again, the same for the whole basket, the basket's last
    np.testing.assert_array_equal(log.context["rain mm"], np.float32([9, 1, 3, 3, 3, 3]))


def test_a_log_and_a_request_are_told_the_same(readings: pa.Table, tmp_path) -> None:
    rng = np.random.default_rng(5)
    seconds = np.sort(rng.choice(200, 40, replace=False)).tolist()
    places = rng.choice(["north", "south", "x"], 40).tolist()
    config = FeaturesConfig(context_table=("rain mm",))
    events = events_at(list(zip(seconds, places, strict=True)))
    ref = build_features(events, None, config=config, out=tmp_path, readings=readings)
    log, _ = load_features(ref.path)
    known, before = ContextReadings.from_table(readings, ["rain mm"]), [None, *places[:-1]]
    for second, place, joined in zip(seconds, before, log.context["rain mm"], strict=True):
        alone = known.as_of(np.array([1_000_000 * second]), [place])
        np.testing.assert_array_equal(alone, [[joined]])


def test_without_a_table_everything_is_unknown(tmp_path) -> None:
    config = FeaturesConfig(context_table=("rain mm",))
    ref = build_features(events_at([(5, "north")]), None, config=config, out=tmp_path)
    assert np.isnan(load_features(ref.path)[0].context["rain mm"]).all()


def test_an_unknown_reading_is_named(readings: pa.Table) -> None:
    with pytest.raises(ConfigError, match="no columns \\['snow'\\]"):
        ContextReadings.from_table(readings, ["snow"])
