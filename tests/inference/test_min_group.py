"""Items and successions of too few users are not shown to others."""

from pathlib import Path

import numpy as np
import pytest

from chronotope.inference.recent_activity import RecentActivity
from chronotope.lake import Lake
from chronotope.lake.privacy import record_privacy
from chronotope.privacy import PrivacySettings
from chronotope.runtime.workspace import Workspace
from tests.serving.test_answers import AT, ask, ids
from tests.serving.town import LocalClient, Town


def test_successions_of_one_user_are_not_counted() -> None:
    user = np.array([0, 0, 1, 1, 2, 2], np.int32)
    item = np.array([1, 2, 1, 2, 3, 2], np.int32)
    everything = RecentActivity.from_events(user, item, 5)
    shared = RecentActivity.from_events(user, item, 5, min_users=2)
    assert everything.follows(3).tolist() == [2]
    assert shared.follows(3).tolist() == []
    assert shared.follows(1).tolist() == [2, 2]
    assert shared.counts.tolist() == [0, 2, 3, 0, 0]


@pytest.fixture
def private_town(tmp_path: Path) -> Town:
    """u00 had i01, i02 and i09; u01 i02 and i03; u02 i04: only i02 has two users."""
    town = Town.build(tmp_path)
    lake = Lake(Workspace(town.root).lake("city"))
    record_privacy(lake, PrivacySettings(min_group_users=2), "city")
    return town


def test_items_of_one_user_are_shown_to_that_user_alone(private_town: Town) -> None:
    with LocalClient(private_town.app(poll_s=3600)) as client:
        shown = set(ids(ask(client, user_id="u01", request_time=AT, k=30)))
        assert {"i02", "i03"} <= shown
        assert not {"i01", "i04", "i09"} & shown
        predicted = client.post("/predict", json={"user_id": "u01", "request_time": AT, "k": 30})
        assert not {"i01", "i04", "i09"} & {item["id"] for item in predicted.json()["items"]}
