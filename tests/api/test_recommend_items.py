"""Recommendations of baselines and of a user's own model."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import chronotope as ct
from chronotope.contracts.errors import ConfigError, NotEnoughData
from chronotope.contracts.event_log import EventLog
from chronotope.contracts.queries import queries_at
from tests.plugin_package import TRENDING, install_package


def test_popularity_ranks_by_counts(log: ct.Log, frame: pd.DataFrame) -> None:
    found = ct.recommend(ct.Popularity(), log, log.users()[:2], k=5)
    counts = frame["item_id"].value_counts()
    assert found["score"].tolist() == [*counts.head(5).tolist()] * 2
    assert found["user"].tolist() == [user for user in log.users()[:2] for _ in range(5)]
    assert found["rank"].tolist() == [1, 2, 3, 4, 5] * 2
    assert (found["score"] == found["item"].map(counts)).all()


def test_a_users_own_counts_come_first_and_only_new_items_leave_them_out(
    log: ct.Log, frame: pd.DataFrame
) -> None:
    user = log.users()[0]
    own = frame.loc[frame["user_id"] == user, "item_id"].value_counts()
    best = ct.recommend("user_counts", log, user, k=1)
    assert own[best["item"].item()] == own.max()
    assert not best["is_new"].item()
    new = ct.recommend("user_counts", log, user, new_only=True)
    assert new["is_new"].all()
    assert not set(new["item"]) & set(own.index)


def test_only_events_before_the_moment_count(log: ct.Log, frame: pd.DataFrame) -> None:
    moment = frame["occurred_at"].sort_values().iloc[500]
    found = ct.recommend("popularity", log, log.users()[0], moment, k=3)
    earlier = frame.loc[frame["occurred_at"] < moment.floor("s"), "item_id"].value_counts()
    assert found["score"].tolist() == earlier.head(3).tolist()
    with pytest.raises(NotEnoughData, match="begins at"):
        ct.recommend("popularity", log, log.users()[0], "1999-01-01")


@pytest.mark.parametrize(
    "model", [ct.FirstOrderMarkov(), ct.Ease(), ct.UpCf()], ids=["markov", "ease", "up_cf"]
)
def test_scores_are_those_for_the_history_of_each_user(log: ct.Log, model: Any) -> None:
    first, second = log.users()[3], log.users()[1]
    found = ct.recommend(model, log, [first, second, first], k=4)
    fitted = model.fit(log.events, log.index)
    for user, rows in zip([first, second, first], np.arange(12).reshape(3, 4), strict=True):
        user_idx = log.index.users.index([str(user)])[0]
        events, n_events = log.events, len(log.events)
        longer = EventLog.sorted(
            user_idx=np.append(events.user_idx, user_idx),
            item_idx=np.append(events.item_idx, 1),
            occurred_s=np.append(events.occurred_s, int(log.next_second.timestamp())),
            place_idx=np.append(events.place_idx, 1),
        )
        position = np.flatnonzero(longer.user_idx == user_idx)[-1:]
        assert len(longer) == n_events + 1
        asked = queries_at(longer, position, history_len=fitted.history_len, time_given=True)
        scores = fitted.scores(asked)[0, 1:]
        expected = np.sort(scores)[::-1][:4]
        np.testing.assert_allclose(found["score"].to_numpy()[rows], expected)


def test_a_stranger_gets_a_list_and_an_installed_model_recommends(
    log: ct.Log, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    install_package(tmp_path / "site", TRENDING, monkeypatch)
    found = ct.recommend("trending", log, ["stranger", "3"], k=2)
    assert found["user"].tolist() == ["stranger", "stranger", "3", "3"]
    assert found["is_new"].head(2).all()


@pytest.mark.parametrize(
    ("model", "options", "text"),
    [
        (ct.Recommender(), {}, "recommends by itself"),
        (ct.Popularity, {}, "classes must be called"),
        ("popular", {}, "Known are popularity"),
        ("popularity", {"k": 0}, "at least 1"),
        ("popularity", {"at": "yesterday"}, "yesterday"),
    ],
    ids=["recommender", "class", "name", "k", "moment"],
)
def test_bad_requests_are_explained(
    log: ct.Log, model: Any, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        ct.recommend(model, log, log.users()[0], **options)
