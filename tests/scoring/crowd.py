"""A town of many users, scored and served with one model."""

from pathlib import Path

import numpy as np
import pyarrow as pa

from chronotope.lake import Lake
from chronotope.runtime.workspace import Workspace
from chronotope.scoring.config import ScoringConfig
from chronotope.testing.recommender_suite import N_ITEMS, sample_catalog
from tests.inference.hand_made import DAY, LAST_S
from tests.serving.town import Town

SUITES = Path(__file__).parents[2] / "expectations"
N_USERS = 60


def add_events(root: Path, users: list[str], *, seed: int = 0, kind: str = "visit") -> None:
    """Some events of each user in the ninety days before ``LAST_S``, an unknown item among them."""
    rng, rows = np.random.default_rng(seed), []
    items = [*sample_catalog().items.ids.to_pylist(), "not in the catalogue"]
    for user in users:
        for _ in range(rng.integers(1, 20)):
            second = int(LAST_S - rng.integers(0, 90) * DAY - rng.integers(0, DAY))
            rows.append((user, items[rng.integers(len(items))], second))
    user_ids, item_ids, seconds = (list(column) for column in zip(*rows, strict=True))
    instants = pa.array([s * 1_000_000 for s in seconds], pa.timestamp("us", tz="UTC"))
    event_ids = [f"{kind}-{seed}-{n}" for n in range(len(rows))]
    columns = {"event_id": event_ids, "user_id": user_ids, "item_id": item_ids}
    columns |= {"place_id": item_ids, "event_type": [kind] * len(rows), "occurred_at": instants}
    offsets = pa.array([60 * (n % 3) for n in range(len(rows))], pa.int32())
    Lake(Workspace(root).lake("city")).merge_events(pa.table(columns | {"utc_offset_min": offsets}))


def build_town(root: Path) -> Town:
    town = Town.build(root)
    add_events(root, [f"v{n:02d}" for n in range(N_USERS)])
    items = sample_catalog().items.ids
    kinds = pa.array(["abc"[n % 3] for n in range(len(items))])
    titles = pa.array([f"Item {n}" for n in range(len(items))])
    lake = Lake(Workspace(root).lake("city"))
    lake.upsert_items(pa.table({"item_id": items, "category": kinds, "title": titles}))
    return town


def config(root: Path, **settings: object) -> ScoringConfig:
    defaults = {"root": root, "k": 5, "suites": SUITES}
    return ScoringConfig.model_validate(defaults | settings)


__all__ = ["N_ITEMS", "N_USERS", "SUITES", "add_events", "build_town", "config"]
