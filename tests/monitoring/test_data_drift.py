"""Columns in bins, windows, and how sure one may be of a divergence."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from chronotope.lake import Lake
from chronotope.monitoring.binning import bin_columns
from chronotope.monitoring.config import MonitorConfig
from chronotope.monitoring.data_drift import measure_data_drift
from chronotope.monitoring.encoded_events import EncodedEvents, read_encoded_events
from chronotope.monitoring.sampling_noise import (
    clustered_mean,
    counts_by_group,
    divergence_interval,
    effective_noise,
)
from chronotope.monitoring.windows import Windows
from chronotope.runtime.workspace import Workspace
from chronotope.validation.divergence import jensen_shannon
from tests.monitoring.city import rows

DAY = 86_400
T0 = 1_700_000_000 // (7 * DAY) * 7 * DAY + 4 * DAY  # a Monday, midnight UTC
CONFIG = MonitorConfig(window_days=1, reference_windows=1, min_rows=2, min_history=3)


def lake_of(
    root: Path, *events: tuple[str, str, float], items: pa.Table | None = None
) -> EncodedEvents:
    """Events of (user, item, hours after T0), one kind each item."""
    user, item, hours = (list(of) for of in zip(*events, strict=True))
    micros = [int((T0 + 3600 * h) * 1e6) for h in hours]
    table = pa.table(
        {
            "event_id": [str(n) for n in range(len(events))],
            "user_id": user,
            "item_id": item,
            "event_type": ["buy"] * len(events),
            "occurred_at": pa.array(micros, pa.timestamp("us", tz="UTC")),
            "utc_offset_min": pa.array([60] * len(events), pa.int32()),
            "value": [float(len(of)) for of in item],
        }
    )
    lake = Lake(Workspace(root).lake("x"))
    lake.merge_events(table)
    if items is not None:
        lake.upsert_items(items)
    return read_encoded_events(lake, 0)


def test_what_follows_from_the_previous_event(tmp_path: Path) -> None:
    items = pa.table(
        {"item_id": ["a", "b"], "category": ["x", None], "lat": [0.0, 0.0], "lon": [0.0, 1.0]}
    )
    found = lake_of(
        tmp_path,
        ("u", "b", 5), ("u", "a", 2), ("v", "a", 9), ("u", "b", 2), ("u", "zz", 29),
        items=items,
    )  # fmt: skip
    names = [found.item.names[code] for code in found.item.codes]
    assert (names[2:], set(names[:2])) == (["b", "zz", "a"], {"a", "b"})
    assert found.numbers["hours since last"].tolist()[2:4] == [3, 24]
    assert np.isnan(found.numbers["hours since last"][[0, 1, 4]]).all()
    km = found.numbers["km from last"]
    assert km[2] == pytest.approx(111.2 * (names[1] == "a"), abs=0.1)
    assert np.isnan(km[[0, 1, 3, 4]]).all()
    assert found.texts["hour of day"].codes.tolist() == [3, 3, 6, 6, 10]
    assert found.texts["weekday"].codes.tolist() == [0, 0, 0, 1, 0]
    category = found.texts["item category"]
    assert [category.codes[at] >= 0 for at in range(5)] == [n == "a" for n in names]


def test_bins_are_those_of_history_and_the_rest_is_told(tmp_path: Path) -> None:
    past = [("u", "aa", n / 10) for n in range(30)] + [("v", "b", n / 10) for n in range(20)]
    found = lake_of(tmp_path, *past, ("u", "new", 50.0), ("v", "aa", 51.0))
    is_history = found.occurred_s < T0 + 40 * 3600
    columns = {each.name: each for each in bin_columns(found, is_history, n_bins=2)}
    item = columns["item"]
    assert set(item.labels) == {"aa", "b", "other"}
    assert np.bincount(item.codes)[item.labels.index("other")] == 1
    assert "place" in columns or "event type" not in columns  # one value alone tells nothing
    assert "item category" not in columns
    assert columns["value"].labels[-1] == "> 2"  # longer than any name before
    assert np.bincount(columns["value"].codes)[-1] == 1
    gaps = columns["hours since last"]
    assert (gaps.codes == -1).sum() == 2  # the first event of either user


def test_windows_end_with_the_last_event() -> None:
    at = T0 + DAY * np.array([0.0, 0.6, 1.4, 2.5]) // 1
    windows = Windows.over(at.astype(np.int64), CONFIG)
    assert (windows.n, windows.end_s) == (2, T0 + int(2.5 * DAY) + 1)
    assert windows.of(at.astype(np.int64)).tolist() == [-1, 0, 0, 1]
    assert windows.of(np.array([windows.end_s + 10 * DAY])).tolist() == [1]
    counts = windows.counts(np.array([-1, 0, 0, 1]), np.array([0, 1, -1, 1]), 2)
    assert counts.tolist() == [[0, 1], [0, 1]]


def test_rates_of_new_items_and_users(tmp_path: Path) -> None:
    lake = Lake(Workspace(tmp_path).lake("x"))
    late = rows(n=300, days=1, seed=1)
    strangers = pa.array([f"s{n}" for n in range(len(late))])
    late = late.set_column(late.schema.get_field_index("user_id"), "user_id", strangers)
    lake.merge_events(pa.concat_tables([rows(), late]))
    events = read_encoded_events(lake, 0)
    config = MonitorConfig(window_days=3, min_rows=50)
    measured, _ = measure_data_drift(events, Windows.over(events.occurred_s, config), config)
    rate = {each.name: each for each in measured if each.statistic == "share"}
    assert rate["new users"].value == pytest.approx(300 / 600, abs=0.1)
    assert rate["new users"].p_sampling < 1e-9
    assert rate["new items"].value < 0.01
    assert rate["new items"].p_sampling > 0.01


def test_an_interval_holds_the_true_divergence() -> None:
    """Twenty rows a user; on 100 samples the 95 % interval holds it in at least 85."""
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.3, 0.3, 0.4])
    true, held = float(jensen_shannon(p, q)), 0
    config = MonitorConfig(n_resamples=200)
    for seed in range(100):
        rng = np.random.default_rng(seed)
        user = np.repeat(np.arange(60), 20)
        groups = [counts_by_group(user, rng.choice(3, len(user), p=of), 3) for of in (p, q)]
        low, high = divergence_interval(groups[0], groups[1], jensen_shannon, config)
        held += low <= true <= high
    assert held >= 85


def test_users_who_are_alike_tell_less() -> None:
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(200), 10)
    alone = counts_by_group(user, rng.integers(0, 4, len(user)), 4)
    alike = counts_by_group(user, np.repeat(rng.integers(0, 4, 200), 10), 4)
    assert effective_noise(alone) == pytest.approx(1 / 2000, rel=0.15)
    assert effective_noise(alike) == pytest.approx(1 / 200, rel=0.15)
    values = np.repeat(rng.normal(size=200), 10)
    _, error = clustered_mean(values, user)
    assert error == pytest.approx(values.std() / np.sqrt(200), rel=0.01)
