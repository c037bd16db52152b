"""Addresses of stores: below the root, or named by the environment; passwords are not shown."""

from pathlib import Path

import pytest

from chronotope.contracts.errors import ConfigError
from chronotope.runtime.store_urls import (
    LAKE_URL,
    MLFLOW_URL,
    OPTUNA_URL,
    lake_location,
    mask_password,
    mlflow_url,
    optuna_url,
    redact_password,
)

URL = "postgresql://ada:s3cret%40home@db:5432/mlflow"


def test_by_default_stores_lie_below_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (MLFLOW_URL, OPTUNA_URL):
        monkeypatch.delenv(name, raising=False)
    assert mlflow_url(tmp_path) == f"sqlite:///{tmp_path.resolve()}/mlflow.db"
    assert optuna_url(tmp_path) == f"sqlite:///{tmp_path.resolve()}/optuna.db"


def test_the_environment_names_another_with_the_driver_we_have(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(MLFLOW_URL, URL)
    monkeypatch.setenv(OPTUNA_URL, "postgresql+asyncpg://db/optuna")
    assert mlflow_url(Path()) == URL.replace("postgresql:", "postgresql+psycopg:")
    assert optuna_url(Path()) == "postgresql+asyncpg://db/optuna"


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("", Path("data")),
        ("s3://shop", "s3://shop"),
        ("s3://shop-logs/lake/", "s3://shop-logs/lake"),
        ("gs://shop/a/year=2026", "gs://shop/a/year=2026"),
    ],
)
def test_the_lake_lies_in_a_folder_or_in_a_store(
    url: str, place: Path | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LAKE_URL, url)
    assert lake_location(Path("data")) == place


@pytest.mark.parametrize(
    "url",
    [
        "/mnt/lake",
        "lake",
        "s3:/shop",
        "s3://",
        "s3://ada:s3cret@shop",
        "s3://ada:s3/cret@shop",
        "s3://shop?key=s3cret",
        "s3://shop/../s3cret#",
        "https://shop/s3cret",
    ],
)
def test_what_is_no_address_is_refused_and_not_shown(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(LAKE_URL, url)
    with pytest.raises(ConfigError, match="AWS_ACCESS_KEY_ID") as raised:
        lake_location(Path("data"))
    assert "s3cret" not in str(raised.value)


@pytest.mark.parametrize(
    "text",
    [
        URL,
        "no password 's3cret@home' for ada",
        "cannot reach ada:s3cret%40home@db",
        'DETAIL: connection string "password=s3cret@home"',
    ],
)
def test_a_password_is_hidden_in_any_form(text: str) -> None:
    shown = redact_password(text, URL)
    assert "s3cret" not in shown
    assert "ada" in shown or "DETAIL" in shown


def test_a_password_among_the_options_is_hidden() -> None:
    assert (
        mask_password("postgresql://db/x?user=a&password=b")
        == "postgresql://db/x?user=a&password=***"
    )


@pytest.mark.parametrize("url", ["sqlite:////data/mlflow.db", "postgresql://db/mlflow", ""])
def test_an_address_without_a_password_is_shown_as_it_is(url: str) -> None:
    assert mask_password(url) == url


def test_a_short_password_does_not_black_out_the_text() -> None:
    assert redact_password("a database at a:a@a", "postgresql://a:a@a/a") == "a database at a:***@a"


def test_what_cannot_be_read_is_hidden_whole() -> None:
    assert mask_password("postgresql://ada:sec[ret@db") == "***"
