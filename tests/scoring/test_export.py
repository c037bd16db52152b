"""Copies of the predictions: the same rows in every format, or a clear refusal."""

import json
import os
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from chronotope.contracts.errors import ConfigError, SourceError, StoreError
from chronotope.contracts.predictions import PREDICTIONS
from chronotope.lake import Lake
from chronotope.runtime.allowed_paths import ALLOWED_ROOTS
from chronotope.runtime.workspace import Workspace
from chronotope.scoring.export import parse_target
from chronotope.scoring.exported_rows import EXPORTED, FLAT, exported_rows, flatten_places
from chronotope.scoring.score_users import score_users
from tests.scoring.crowd import N_USERS, build_town, config
from tests.serving.town import Town

N_ROWS = 5 * (N_USERS + 3)


@pytest.fixture
def town(tmp_path: Path) -> Town:
    return build_town(tmp_path)


def export(town: Town, out: Path | str, **settings: object) -> int:
    options = config(town.root, out=str(out), **settings)
    return score_users("city", options, load=town.load).n_exported


def stored(town: Town) -> pa.Table:
    rows = Lake(Workspace(town.root).lake("city")).read("predictions", columns=EXPORTED.names)
    return rows.combine_chunks()


def test_parquet_and_csv_hold_the_rows_of_the_table(town: Town, tmp_path: Path) -> None:
    assert export(town, tmp_path / "p.parquet") == N_ROWS
    assert pq.read_table(tmp_path / "p.parquet").combine_chunks() == stored(town)
    assert export(town, tmp_path / "p.csv") == N_ROWS  # no user has news: only the copy
    texts = pacsv.read_csv(tmp_path / "p.csv")
    assert texts.column_names == FLAT.names
    assert texts["item_id"].to_pylist() == stored(town)["item_id"].to_pylist()
    assert texts["probability"].to_pylist() == stored(town)["probability"].to_pylist()
    assert not list(tmp_path.glob("*.draft"))


def test_a_database_table_is_replaced_as_a_whole(town: Town, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    assert export(town, url, sql_table="next_items") == N_ROWS
    assert export(town, url, sql_table="next_items") == N_ROWS
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        rows = connection.execute("SELECT user_id, rank, item_id FROM next_items").fetchall()
    keys = ("user_id", "rank", "item_id")
    assert rows == [tuple(row[key] for key in keys) for row in stored(town).to_pylist()]


def test_the_label_names_the_database_without_its_password(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/shop.db"
    assert parse_target(url, "next_items").label == f"{url}, table next_items"
    label = parse_target("postgresql://ada:s3cret-word@db/shop", "t").label
    assert label == "postgresql+psycopg://ada:***@db/shop, table t"


def test_only_listed_users_are_copied(town: Town, tmp_path: Path) -> None:
    users = tmp_path / "users.txt"
    users.write_text("v01\nv02\n")
    assert export(town, tmp_path / "p.parquet", users_file=users) == 10
    copied = pq.read_table(tmp_path / "p.parquet")["user_id"].unique().to_pylist()
    assert copied == ["v01", "v02"]


def test_places_are_one_json_text_a_user() -> None:
    places = [{"place_id": 'a"b', "probability": 0.5, "lat": 1.5, "lon": None}]
    values = {"user_id": ["u", "u", "w"], "places": [places, places, []]}
    arrays = [
        pa.array(values[field.name], field.type)
        if field.name in values
        else pa.array([_filler(field.type)] * 3, field.type)
        for field in EXPORTED
    ]
    flat = flatten_places(pa.RecordBatch.from_arrays(arrays, schema=EXPORTED))
    assert [json.loads(text) for text in flat["places"].to_pylist()] == [places, places, []]
    assert EXPORTED.names == [n for n in PREDICTIONS.names if n in FLAT.names] == FLAT.names


def _filler(kind: pa.DataType) -> object:
    if pa.types.is_timestamp(kind):
        return datetime(2024, 1, 1, tzinfo=UTC)
    return "" if pa.types.is_string(kind) else True if pa.types.is_boolean(kind) else 1


def test_without_a_table_there_are_no_rows(tmp_path: Path) -> None:
    assert list(exported_rows(Lake(tmp_path), None)) == []


@pytest.mark.parametrize(
    ("out", "error", "message"),
    [
        ("predictions.xlsx", ConfigError, "ends in .parquet or .csv"),
        ("no/such/folder/p.csv", ConfigError, "its folder does not exist"),
        ("folder.csv", ConfigError, "it is a folder"),
        ("sqlite:///no/such/folder/p.db", ConfigError, "folder of the SQLite database"),
        ("sqlite:///folder.csv", StoreError, "refused the copy"),
        ("nosuch://host/db", StoreError, "refused the copy"),
        ("$NO_SUCH_VARIABLE", SourceError, "NO_SUCH_VARIABLE"),
        ("postgresql://shop:$SECRET_OF_TEST@127.0.0.1:1/shop", StoreError, "refused the copy"),
    ],
)
def test_a_target_that_cannot_be_written_is_refused_before_scoring(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    out: str,
    error: type[Exception],
    message: str,
) -> None:
    town = Town.build(tmp_path)
    (tmp_path / "folder.csv").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SECRET_OF_TEST", "p4ssw0rd!")
    with pytest.raises(error, match=message) as refused:
        export(town, out)
    assert "p4ssw0rd" not in str(refused.value)
    assert not Lake(Workspace(town.root).lake("city")).exists("predictions")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_refused(tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    with pytest.raises(ConfigError, match="cannot be written by this user"):
        parse_target(str(tmp_path / "closed" / "p.csv"), "predictions").check()


def test_a_table_of_other_columns_keeps_its_rows(town: Town, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        connection.execute("CREATE TABLE predictions (user_id TEXT, note TEXT)")
        connection.execute("INSERT INTO predictions VALUES ('u', 'mine')")
        connection.commit()
    with pytest.raises(StoreError, match="lacks columns"):
        export(town, f"sqlite:///{tmp_path}/shop.db")
    with closing(sqlite3.connect(tmp_path / "shop.db")) as connection:
        assert connection.execute("SELECT note FROM predictions").fetchall() == [("mine",)]


def test_flows_write_only_where_they_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "allowed").mkdir()
    monkeypatch.setenv(ALLOWED_ROOTS, str(tmp_path / "allowed"))
    for out in (f"{tmp_path}/p.csv", f"sqlite:///{tmp_path}/p.db"):
        with pytest.raises(ConfigError, match="outside the folders"):
            parse_target(out, "predictions")
    parse_target(f"{tmp_path}/allowed/p.csv", "predictions").check()
