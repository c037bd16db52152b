import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronotope.features.build import build_features
from chronotope.features.snapshot import load_features
from chronotope.features.sources import FeaturesConfig
from tests.real_data import CHECK_INS


@pytest.mark.data
@pytest.mark.skipif(not CHECK_INS.exists(), reason=f"needs the check-ins in {CHECK_INS}")
def test_new_york_comes_out_whole(tmp_path):
    raw = pq.read_table(CHECK_INS / "checkins.parquet")
    text = {name: raw[name].cast(pa.string()) for name in ("user_id", "venue_id")}
    events = pa.table(
        {
            "event_id": pa.array([str(row) for row in range(len(raw))]),
            "user_id": text["user_id"],
            "item_id": text["venue_id"],
            "event_type": pa.array(["check_in"] * len(raw)),
            "occurred_at": raw["utc_time"].cast(pa.timestamp("us", tz="UTC")),
            "lat": raw["lat"],
            "lon": raw["lon"],
        }
    )
    config = FeaturesConfig(items_are_places=True)
    ref = build_features(events, None, config=config, out=tmp_path)
    log, catalog = load_features(ref.path)
    assert (ref.n_events, ref.n_users, ref.n_items) == (113_344, 1_082, 4_988)
    assert len(log) == ref.n_events
    assert np.abs(catalog.place_lat[1:] - 40.75).max() < 0.5
    assert np.abs(catalog.place_lon[1:] + 73.95).max() < 0.7
