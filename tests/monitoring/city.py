"""Two months of a city with a champion made by hand; its last days may be unlike the others."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from chronotope.contracts.data_version import DataVersion
from chronotope.features.build import build_features
from chronotope.features.sources import FeaturesConfig
from chronotope.lake import Lake
from chronotope.monitoring.config import MonitorConfig
from chronotope.monitoring.monitor import MonitoredState
from chronotope.runtime.workspace import Workspace
from tests.inference.hand_made import DAY, LAST_S

DAYS, N_EVENTS, N_USERS = 60, 6_000, 12
SHIFT_S = LAST_S - 3 * DAY
SMALL = MonitorConfig(window_days=3, min_rows=50, n_resamples=50, max_targets=100)
YAML = """
name: city
description: A city made by hand.
licence: CC0-1.0
data_dir: .
items_are_places: true
events:
  format: csv
  path: nothing.csv
  columns: {user_id: u, item_id: i, occurred_at: t}
"""


def rows(*, shifted: bool = False, n: int = N_EVENTS, days: int = DAYS, seed: int = 0) -> pa.Table:
    """Events of the last days: by day, mostly the first items; shifted: by night, the last."""
    rng = np.random.default_rng(seed)
    day = rng.integers(0, days, n)
    hour = np.clip(rng.normal(14, 3, n), 6, 22)
    item = np.minimum(rng.geometric(0.25, n) - 1, 9)
    # Days end with LAST_S, whose own hour is 12:26 UTC.
    at = LAST_S - (days - 1 - day) * DAY - 86_000 + (hour * 3600).astype(np.int64) % DAY
    at = np.minimum(at, LAST_S)
    if shifted:
        late = at > SHIFT_S
        at = np.where(late, at - at % DAY + (at % 10_800), at)
        item = np.where(late, 14 - item, item)
    micros = pa.array(at * 1_000_000, pa.timestamp("us", tz="UTC"))
    names = [f"i{k:02d}" for k in item]
    return pa.table(
        {
            "event_id": [f"e{seed}-{k}" for k in range(n)],
            "user_id": [f"u{k:02d}" for k in rng.integers(0, N_USERS, n)],
            "item_id": names,
            "place_id": names,
            "event_type": ["visit"] * n,
            "occurred_at": micros,
        }
    )


def settle(root: Path, **told: Any) -> Lake:
    """The lake of the city below a root."""
    lake = Lake(Workspace(root).lake("city"))
    lake.merge_events(rows(**told))
    return lake


def subject(root: Path, config: MonitorConfig = SMALL) -> MonitoredState:
    """The city's latest version, on a snapshot of it."""
    workspace = Workspace(root)
    lake = Lake(workspace.lake("city"))
    version = DataVersion((("events", lake.table_version("events")),))
    ref = build_features(
        lake.read("events"), None, config=FeaturesConfig(items_are_places=True),
        out=workspace.features("city"), data_version=str(version),
    )  # fmt: skip
    now = datetime.now(UTC)
    return MonitoredState("city", workspace, ref.path, version, config, now)
