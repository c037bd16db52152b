"""One small log and one fitted recommender for all tests of the Python API."""

from typing import Any

import pandas as pd
import pytest

import chronotope as ct

COLUMNS: dict[str, Any] = {
    "user": "user_id",
    "item": "item_id",
    "place": "item_id",
    "time": "occurred_at",
    "time_zone": "Europe/Vienna",
}


@pytest.fixture(scope="session")
def city() -> Any:
    """Log and catalogue of a simulated city."""
    return ct.datasets.load("simulated_city", n_events=6_000)


@pytest.fixture(scope="session")
def frame(city: Any) -> pd.DataFrame:
    """The same log as a user's frame, with whole numbers as ids of users."""
    events = city.log.to_pandas()[["user_id", "item_id", "occurred_at"]]
    return events.assign(user_id=events["user_id"].str.lstrip("u").astype(int))


@pytest.fixture(scope="session")
def log(city: Any, frame: pd.DataFrame) -> ct.Log:
    return ct.Log.from_frame(frame, **COLUMNS, catalog=city.catalog)


@pytest.fixture(scope="session")
def fitted(log: ct.Log) -> ct.Recommender:
    return ct.Recommender(transfer_epochs=1, max_targets=1_000).fit(log)
