"""SQL sources: bounded in time, and nothing of the environment is sent where it must not go."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from socket import socket

import pytest

from chronotope.contracts.errors import SchemaError, SourceError
from chronotope.datasets.database_values import _column
from chronotope.datasets.databases import expand_url
from chronotope.datasets.normalise import normalise
from chronotope.datasets.readers import read_events, read_feed
from chronotope.datasets.spec import DatasetSpec
from chronotope.datasets.table_spec import FeedSpec
from chronotope.datasets.time_spec import TimeSpec
from tests.datasets.test_readers import MAPPED, make_spec
from tests.postgres import Postgres, postgres

ENDLESS = (
    "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) "
    'SELECT i AS who, i AS what, i AS "when" FROM n WHERE i < {first}'
)


def sqlite_of(folder: Path, query: str, **more: object) -> DatasetSpec:
    with closing(sqlite3.connect(folder / "log.db")):
        pass
    (folder / "log.db").touch()
    url = f"sqlite:///{folder / 'log.db'}"
    return make_spec(folder, format="sql", url=url, query=query, **more)


@contextmanager
def within(seconds: float) -> Iterator[None]:
    began = time.monotonic()
    yield
    assert time.monotonic() - began < seconds


def test_a_query_without_end_is_interrupted(tmp_path: Path) -> None:
    limits = {"total_timeout_s": 0.3}
    spec = sqlite_of(tmp_path, ENDLESS.format(first=0), limits=limits)
    with within(5), pytest.raises(SourceError, match=r"returned no rows within 0\.3 s"):
        next(read_events(spec))


def test_work_between_the_rows_does_not_count(tmp_path: Path) -> None:
    query = ENDLESS.format(first=4) + " LIMIT 3"
    spec = sqlite_of(tmp_path, query, limits={"total_timeout_s": 0.5})
    n_rows = 0
    for raw in read_events(spec, batch_rows=1):
        n_rows += len(raw)
        time.sleep(0.3)
    assert n_rows == 3


def test_a_table_of_feedback_without_end_is_interrupted(tmp_path: Path) -> None:
    (tmp_path / "log.db").touch()
    url = f"sqlite:///{tmp_path / 'log.db'}"
    told = {"url": url, "query": ENDLESS.format(first=0), "after": "when", "columns": MAPPED}
    feed = FeedSpec.model_validate({**told, "limits": {"total_timeout_s": 0.3}})
    with within(5), pytest.raises(SourceError, match="returned no rows"):
        read_feed(feed, url, since_value=None, max_rows=10)


def test_what_arrow_has_no_type_for_becomes_text() -> None:
    assert _column("x", [1, 2**70, None]).to_pylist() == ["1", str(2**70), None]


def test_texts_that_cannot_be_encoded_arrive_as_bytes() -> None:
    assert _column("x", ["a\ud800", None, "b"]).to_pylist() == [b"a\xed\xa0\x80", None, b"b"]
    assert _column("x", [b"\xff", 1, "ü"]).to_pylist() == [b"\xff", b"1", "ü".encode()]


def test_a_colon_in_a_query_is_no_parameter(tmp_path: Path) -> None:
    query = """SELECT 'a:b' AS who, '{"x":1}' AS what, '08:30 :y' AS "when" """
    (raw,) = read_events(sqlite_of(tmp_path, query))
    assert raw.to_pylist() == [{"user_id": "a:b", "item_id": '{"x":1}', "occurred_at": "08:30 :y"}]


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("'bf8b4530-d8d2-46dd-74ac-53a13471bba1'::uuid", "bf8b4530-d8d2-46dd-74ac-53a13471bba1"),
        ("9223372036854775807::bigint", "9223372036854775807"),
        ("'NaN'::numeric", "NaN"),
        ("'Infinity'::numeric", "Infinity"),
        ("1e60::numeric", f"1{'0' * 60}"),
        ("'caf\u00e9'::bytea", b"caf\xc3\xa9"),
        ("'\\xff00'::bytea", b"\xff\x00"),
        ("'happy'::mood", "happy"),
        ("'\"x\"'::jsonb", "x"),
        ("'infinity'::timestamp", "infinity"),
        ("'-infinity'::timestamptz", "-infinity"),
        ("'infinity'::date", "infinity"),
        ("'0044-03-15 BC'::timestamp", "0044-03-15 00:00:00 BC"),
        ("'1 day 2 hours'::interval", "1 day, 2:00:00"),
        ("'100000000 years'::interval", "100000000 years"),
        ("'08:00+01'::timetz", "08:00:00+01:00"),
        ("NULL::uuid", None),
    ],
)
def test_types_of_postgres_arrive_unchanged(
    tmp_path: Path, server: Postgres, expression: str, expected: object
) -> None:
    spec = make_spec(tmp_path, format="sql", url=typed_log(server), query=select(expression))
    (raw,) = read_events(spec)
    (value,) = raw["user_id"].to_pylist()
    assert (value if value is None or isinstance(value, bytes) else str(value)) == expected


def test_instants_of_postgres_keep_their_zone(tmp_path: Path, server: Postgres) -> None:
    times = "unnest(ARRAY['2024-03-04 08:00+01', 'infinity', '2024-07-04 08:00+02']::timestamptz[])"
    query = f'SELECT 1 AS who, 2 AS what, {times} AS "when"'
    spec = make_spec(tmp_path, format="sql", url=typed_log(server), query=query)
    spec = spec.model_copy(update={"time": TimeSpec(timezone="Asia/Tokyo")})
    (raw,) = read_events(spec)
    batch = normalise(spec, raw)
    assert [str(instant) for instant in batch.rows["occurred_at"].to_pylist()] == [
        "2024-03-04 07:00:00+00:00",
        "2024-07-04 06:00:00+00:00",
    ]
    assert batch.refused["row"].to_pylist() == [1]


@pytest.mark.parametrize("expression", ["ARRAY[1, 2]", """'{"a":1}'::jsonb""", "ROW(1, 'a')"])
def test_arrays_and_records_are_refused_with_the_column(
    tmp_path: Path, server: Postgres, expression: str
) -> None:
    spec = make_spec(tmp_path, format="sql", url=typed_log(server), query=select(expression))
    with pytest.raises(SchemaError, match=r"'who' cannot be read as text.*one value"):
        next(read_events(spec))


def select(expression: str) -> str:
    return f'SELECT {expression} AS who, 2 AS what, 3 AS "when"'


def typed_log(server: Postgres) -> str:
    url = server.url("typed")
    if not server.rows("typed", "SELECT 1 FROM pg_type WHERE typname = 'mood'"):
        with server.connected("typed") as connection:
            connection.execute("CREATE TYPE mood AS ENUM ('happy', 'sad')")
    return url


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


def test_postgres_ends_what_takes_too_long(tmp_path: Path, server: Postgres) -> None:
    query = 'SELECT 1 AS who, 2 AS what, 3 AS "when", pg_sleep(30)'
    url, limits = server.url("log"), {"total_timeout_s": 0.5}
    with within(10), pytest.raises(SourceError, match=r"returned no rows within 0\.5 s") as caught:
        next(read_events(make_spec(tmp_path, format="sql", url=url, query=query, limits=limits)))
    assert server.password not in str(caught.value)
    time.sleep(0.2)
    running = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(30)%' AND state = 'active' AND pid <> pg_backend_pid()"  # noqa: E501
    assert server.rows("log", running) == [(0,)]


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    pytest.importorskip("psycopg", reason="needs psycopg: the extra `scale`")
    with socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"postgresql://ada:s3cret@127.0.0.1:{silent.getsockname()[1]}/log"
        limits = {"timeout_s": 1}
        spec = make_spec(tmp_path, format="sql", url=url, query="SELECT 1", limits=limits)
        with within(15), pytest.raises(SourceError, match="The database refused") as caught:
            next(read_events(spec))
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("$SHOP", "postgresql://db/shop"),
        ("${SHOP}", "postgresql://db/shop"),
        ("postgresql://ada:$PASSWORD@db/shop", "postgresql://ada:s3cret@db/shop"),
        ("postgresql://$PASSWORD:${PASSWORD}@db/a", "postgresql://s3cret:s3cret@db/a"),
        ("sqlite:///$FOLDER/shop.db", "sqlite:////data/shop.db"),
        ("postgresql://db/shop?a=1", "postgresql://db/shop?a=1"),
    ],
)
def test_variables_stand_for_the_address_the_account_or_a_file(
    monkeypatch: pytest.MonkeyPatch, url: str, address: str
) -> None:
    told = {"SHOP": "postgresql://db/shop", "PASSWORD": "s3cret", "FOLDER": "/data"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    assert expand_url(url) == address


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://$PASSWORD/shop", "postgresql://db:$PASSWORD/shop",
        "postgresql://db/$PASSWORD", "postgresql://db/shop?application_name=${PASSWORD}",
        "$PASSWORD/shop", "mysql://db/shop#$PASSWORD", "postgresql://ada@db:1/$PASSWORD",
    ],
)  # fmt: skip
def test_a_variable_elsewhere_is_refused(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setenv("PASSWORD", "s3cret")
    with pytest.raises(SourceError, match="not allowed in this part"):
        expand_url(url)


def test_what_a_block_holds_is_used_as_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "a$b.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute('CREATE TABLE log (who, what, "when")')
        database.execute("INSERT INTO log VALUES (1, 2, 3)")
        database.commit()
    told = {"block": "shop", "query": "SELECT * FROM log", "after": "when", "columns": MAPPED}
    feed = FeedSpec.model_validate(told)
    values, _ = read_feed(feed, f"sqlite:///{path}", since_value=None, max_rows=10)
    assert values == [3]


@pytest.mark.parametrize("url", ["nonsense", "postgresql://db:port/shop", "postgresql://[::1/a"])
def test_what_is_no_address_is_an_error_of_ours(tmp_path: Path, url: str) -> None:
    with pytest.raises(SourceError, match=r"Not a database URL|refused"):
        next(read_events(make_spec(tmp_path, format="sql", url=url, query="SELECT 1")))
