"""The recommender of the Python API: predictions, parameters, files and errors."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import chronotope as ct
from chronotope.contracts.errors import ConfigError


def test_recommendations_are_ranked_and_keep_the_type_of_ids(
    fitted: ct.Recommender, log: ct.Log
) -> None:
    users = log.users()[:3]
    items = fitted.recommend(users, k=5)
    assert items["user"].tolist() == [user for user in users for _ in range(5)]
    assert all(isinstance(user, int) for user in users)
    assert items.groupby("user")["probability"].is_monotonic_decreasing.all()
    assert items["reason"].str.len().min() > 0


def test_new_only_leaves_out_what_a_user_had(
    fitted: ct.Recommender, frame: pd.DataFrame, log: ct.Log
) -> None:
    user = log.users()[0]
    own = set(frame.loc[frame["user_id"] == user, "item_id"])
    assert own & set(fitted.recommend(user)["item"])
    assert not own & set(fitted.recommend(user, new_only=True)["item"])


def test_filters_choose_category_and_distance(fitted: ct.Recommender) -> None:
    cafes = fitted.recommend(3, filters={"category": "café"})
    assert set(cafes["category"]) == {"café"}
    near = fitted.recommend(3, filters={"lat": 48.2, "lon": 16.37, "within_km": 1.0})
    assert near["lat"].between(48.19, 48.21).all()


def test_only_events_before_the_moment_count(fitted: ct.Recommender, log: ct.Log) -> None:
    user = log.users()[0]
    assert fitted.predict_time(user, log.start)["n_history"].item() == 0
    assert fitted.predict_time(user)["n_history"].item() > 0


def test_times_lie_in_their_interval_after_the_request(fitted: ct.Recommender, log: ct.Log) -> None:
    times = fitted.predict_time(log.users()[:5])
    known = times.dropna(subset=["median_h"])
    assert len(known) > 0
    assert ((known["low_h"] <= known["median_h"]) & (known["median_h"] <= known["high_h"])).all()
    assert (known["expected_at"] > pd.Timestamp(log.end)).all()


def test_places_are_the_items_of_a_log_of_check_ins(fitted: ct.Recommender) -> None:
    assert fitted.predict_place(3)["place"].tolist() == fitted.recommend(3, k=3)["item"].tolist()


def test_an_explanation_is_about_the_items_that_are_named(
    fitted: ct.Recommender, log: ct.Log
) -> None:
    user = log.users()[0]
    top = fitted.recommend(user, k=3)["item"].tolist()
    assert fitted.explain(user, top[2])["item"].tolist() == [top[2]]
    with pytest.raises(ConfigError, match="nowhere"):
        fitted.explain(user, ["nowhere"])


def test_a_user_without_a_past_gets_a_list_and_no_time(fitted: ct.Recommender) -> None:
    assert len(fitted.recommend("stranger")) == 10
    assert fitted.predict_time("stranger")["median_h"].isna().all()


def test_a_longer_log_updates_a_copy_of_the_model(
    city: Any, frame: pd.DataFrame, log: ct.Log
) -> None:
    early = log.before("2024-03-01")
    model = ct.Recommender(transfer_epochs=0).fit(early)
    before = model.recommend(log.users()[0])
    model.partial_fit(log)
    assert not model.recommend(log.users()[0]).equals(before)
    assert model._fitted.model.manifest.trained_until_s == int(log.end.timestamp())


@pytest.mark.parametrize("call", ["recommend", "predict_time", "predict_place", "explain"])
def test_a_model_that_is_not_fitted_says_so(call: str) -> None:
    with pytest.raises(ConfigError, match=r"not fitted.*fit"):
        getattr(ct.Recommender(), call)("u")


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"filters": {"colour": "red"}}, "colour.*category"),
        ({"filters": {"category": "zoo"}}, "zoo.*Known are"),
        ({"filters": {"within_km": 1.0}}, "lat and lon"),
        ({"k": 0}, "at least 1"),
        ({"at": "yesterday"}, "yesterday.*2024"),
    ],
    ids=["filter", "category", "distance", "k", "moment"],
)
def test_bad_requests_are_explained(
    fitted: ct.Recommender, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(ConfigError, match=text):
        fitted.recommend(3, **options)


@pytest.mark.parametrize("users", [[], [None], [1, "a"]], ids=["none", "null", "mixed"])
def test_users_must_be_ids(fitted: ct.Recommender, users: list[Any]) -> None:
    with pytest.raises(ConfigError, match="user"):
        fitted.recommend(users)


def test_parameters_are_those_of_scikit_learn() -> None:
    model = ct.Recommender(history_len=64)
    assert model.get_params()["history_len"] == 64
    again = ct.Recommender(**model.set_params(max_epochs=2).get_params())
    assert again.get_params() == model.get_params()
    with pytest.raises(ConfigError, match=r"max_epoch.*max_epochs"):
        model.set_params(max_epoch=2)
    with pytest.raises(ConfigError, match="history_len"):
        model.set_params(history_len=0)
    assert model.get_params()["history_len"] == 64


@pytest.mark.slow
def test_a_saved_model_gives_the_same_answers(
    fitted: ct.Recommender, log: ct.Log, tmp_path: Path
) -> None:
    folder = fitted.save(tmp_path / "model")
    assert {path.suffix for path in folder.iterdir()} == {".onnx", ".json", ".parquet"}
    loaded = ct.Recommender.load(folder, log=log)
    users = log.users()[:20]
    expected, found = fitted.recommend(users), loaded.recommend(users)
    assert expected["item"].tolist() == found["item"].tolist()
    assert expected["probability"].sub(found["probability"]).abs().max() < 1e-5
    with pytest.raises(ConfigError, match="holds files"):
        fitted.save(folder)
    with pytest.raises(ConfigError, match="log=log"):
        ct.Recommender.load(folder).recommend(users)
    with pytest.raises(ConfigError, match=r"bundle.*fit with the whole log.*chronotope feedback"):
        loaded.partial_fit(log)


def test_representations_say_what_was_trained(fitted: ct.Recommender) -> None:
    assert repr(ct.Recommender(history_len=64)) == "Recommender(history_len=64)"
    assert "not fitted" in ct.Recommender()._repr_html_()
    assert "trained until" in fitted._repr_html_()
