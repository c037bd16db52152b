"""A table that is appended to: nothing lost, nothing twice, whatever ties, lags or dies."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from chronotope.contracts.errors import SourceError
from chronotope.feedback import intake
from chronotope.feedback.intake import IntakeReport
from tests.feedback.test_intake import Cafe, dying, event
from tests.feedback.test_payloads import spec
from tests.postgres import Postgres, postgres

URL = "SHOP_URL"
COLUMNS = {"user_id": "who", "item_id": "what", "occurred_at": "at"}
QUERY = "SELECT * FROM bought WHERE what <> 'bag'"
Row = tuple[Any, ...]


class Shop:
    """A till whose purchases end in a table of SQLite."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.run("CREATE TABLE bought (id, who, what, at)")

    def run(self, statement: str, rows: list[Row] | None = None) -> None:
        with closing(sqlite3.connect(self.path)) as connection, connection:
            connection.executemany(statement, [()] if rows is None else rows)

    def sell(self, *ids: object, who: str | None = None, what: str = "tea") -> None:
        """A purchase for each id; the moment goes with the number of purchases."""
        n = len(list(self.rows()))
        rows = [
            (of, who or f"u{(n + k) % 7}", what, event("", n + k)["occurred_at"])
            for k, of in enumerate(ids)
        ]
        self.run("INSERT INTO bought VALUES (?, ?, ?, ?)", rows)

    def rows(self) -> Iterator[Row]:
        with closing(sqlite3.connect(self.path)) as connection:
            yield from connection.execute("SELECT * FROM bought").fetchall()


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shop:
    monkeypatch.setenv(URL, f"sqlite:///{tmp_path / 'shop.db'}")
    return Shop(tmp_path / "shop.db")


def cafe_of(root: Path, *, batch_rows: int = 100, **more: Any) -> Cafe:
    """A dataset that names the shop's table."""
    cafe = Cafe(root, batch_rows=batch_rows)
    feed = {"url": f"${URL}", "query": QUERY, "after": "id", "columns": COLUMNS, **more}
    cafe.intake = replace(cafe.intake, spec=spec(feedback=feed))
    return cafe


def test_what_was_appended_is_taken_in_once(shop: Shop, tmp_path: Path) -> None:
    cafe = cafe_of(tmp_path / "cafe")
    shop.sell(1, 2, 3)
    shop.sell(4, what="bag")  # the query leaves it out
    shop.run("INSERT INTO bought VALUES (5, 'ann', 'tea', 'never')")
    found = cafe.take()
    assert (found.n_read, found.n_new, found.n_quarantined) == (4, 3, 1)
    version = cafe.lake.version("events")
    assert cafe.take() == IntakeReport()
    assert (cafe.sizes(), cafe.lake.version("events")) == ((3, 1), version)
    shop.sell(6)
    assert (cafe.take().n_read, cafe.sizes()) == (1, (4, 1))
    assert not list((tmp_path / "cafe").rglob("table.json"))


def test_filters_of_the_feed_drop_rows_and_count_them(shop: Shop, tmp_path: Path) -> None:
    keep = {"id": {"lt": 4}, "item_id": {"ne": "pie"}}
    cafe = cafe_of(tmp_path / "cafe", keep=keep, query="SELECT * FROM bought")
    shop.sell(1, 2)
    shop.sell(3, what="pie")
    shop.sell(4)
    intake_report = cafe.take()
    assert (intake_report.n_read, intake_report.n_new, intake_report.n_dropped) == (4, 2, 2)
    assert intake_report.dropped == {"id lt 4": 1, "item_id ne pie": 1}
    assert cafe.take() == IntakeReport()


@pytest.mark.parametrize(("batch_rows", "reread_rows"), [(5, 1), (5, 3), (100, 100)])
def test_ties_are_neither_lost_nor_doubled(
    shop: Shop, tmp_path: Path, reread_rows: int, batch_rows: int
) -> None:
    cafe = cafe_of(tmp_path / "cafe", batch_rows=batch_rows, reread_rows=reread_rows)
    n_read = 0
    for ids in ([1, 1, 1], [1] * 9, [1, 2, 2, 2], [2, 3, 3, 3, 3, 3], []):
        shop.sell(*ids)
        n_read += cafe.take().n_read
    assert n_read == len(list(shop.rows())) == cafe.sizes()[0] == 22


def test_rows_that_are_the_same_do_not_block_the_next(shop: Shop, tmp_path: Path) -> None:
    cafe = cafe_of(tmp_path / "cafe", batch_rows=2, reread_rows=1)
    same = (1, "ann", "tea", event("", 0)["occurred_at"])
    shop.run("INSERT INTO bought VALUES (?, ?, ?, ?)", [same] * 7)
    shop.sell(1, 2)
    found = cafe.take()
    assert (found.n_read, found.n_new, cafe.take().n_read) == (9, 3, 0)


def test_a_row_that_was_committed_late_is_found(shop: Shop, tmp_path: Path) -> None:
    cafe = cafe_of(tmp_path / "cafe", reread_rows=5)
    shop.sell(*range(1, 8), 9, 10)
    cafe.take()
    shop.sell(8)
    assert (cafe.take().n_read, cafe.take().n_read, cafe.sizes()) == (1, 0, (10, 0))


def test_the_moment_of_receipt_grows_as_well(shop: Shop, tmp_path: Path) -> None:
    cafe = cafe_of(tmp_path / "cafe", after="at", reread_rows=2)
    shop.sell(3, 2)
    cafe.take()
    shop.sell(1)
    assert (cafe.take().n_read, cafe.sizes()) == (1, (3, 0))
    assert cafe.mark.table.since == event("", 1)["occurred_at"]


def test_times_of_the_table_read_as_it_says(shop: Shop, tmp_path: Path) -> None:
    cafe = cafe_of(tmp_path / "cafe", time={"kind": "epoch_s"})
    shop.run("INSERT INTO bought VALUES (1, 'ann', 'tea', 1738566900)")
    cafe.log([event("bob", 1)])  # the log stays ISO 8601
    assert cafe.take().n_new == 2
    times = {str(at) for at in cafe.lake.read("events")["occurred_at"].to_pylist()}
    assert "2025-02-03 07:15:00+00:00" in times


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_killed_delivery_is_the_same_again(
    shop: Shop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    calm, killed = cafe_of(tmp_path / "calm"), cafe_of(tmp_path / "killed")
    shop.sell(*range(30))
    shop.run("INSERT INTO bought VALUES (30, 'ann', 'tea', 'never')")
    calm.take()
    with monkeypatch.context() as patched:
        patched.setattr(intake, "_deliver", dying(intake._deliver, when))
        with pytest.raises(KeyboardInterrupt):
            killed.take()
    shop.run("INSERT INTO bought VALUES (5, 'late', 'tea', 'never')")  # moves the rows behind it
    shop.sell(31)
    for cafe in (calm, killed):
        cafe.take()
    assert killed.sizes() == calm.sizes() == (31, 2)
    marks = [cafe.mark.model_copy(update={"events": None}) for cafe in (killed, calm)]
    assert marks[0] == marks[1]  # but for the identities of the two lakes


def test_a_deleted_watermark_reads_all_again(shop: Shop, tmp_path: Path) -> None:
    cafe = cafe_of(tmp_path / "cafe")
    shop.sell(1, 2)
    cafe.take()
    cafe.intake.mark_path.unlink()
    found = cafe.take()
    assert (found.n_read, found.n_duplicates, cafe.sizes()) == (2, 2, (2, 0))


def test_a_column_that_is_not_there_is_named(shop: Shop, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"The database refused.*received_at"):
        cafe_of(tmp_path / "cafe", after="received_at").take()


def test_an_address_that_is_not_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=rf"not set.*{URL}"):
        cafe_of(tmp_path).take()


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"url": "postgresql://ann:secret@db/shop"}, "contains a password"),
        ({"block": "shop"}, "exactly one of url and block"),
        ({"format": "csv"}, "must be sql"),
        ({"context": {"weather": "w"}}, "'weather' is not a column"),
    ],
)
def test_a_wrong_table_is_refused(more: dict[str, Any], problem: str) -> None:
    feed = {"url": f"${URL}", "query": QUERY, "after": "id", "columns": COLUMNS, **more}
    with pytest.raises(ValidationError, match=problem) as caught:
        spec(feedback=feed)
    assert problem != "contains a password" or "secret@" not in str(caught.value).split("[type")[0]


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize("after", ["id", "received_at"])
def test_a_table_of_postgres_is_read_on(
    server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, after: str
) -> None:
    name = f"shop_{after}"
    monkeypatch.setenv(URL, server.url(name))
    columns = "id bigserial, who text, what text, at timestamptz, received_at timestamptz"
    told = "'u' || n % 7, 'tea', '2025-02-03'::timestamptz + n * interval '1 min', now()"
    with server.connected(name) as connection:
        connection.execute(f"CREATE TABLE bought ({columns})")
        cafe = cafe_of(tmp_path, after=after, batch_rows=7, reread_rows=3)
        for first, last in ((0, 19), (20, 29)):  # received together: ties
            connection.execute(
                f"INSERT INTO bought (who, what, at, received_at) "  # noqa: S608
                f"SELECT {told} FROM generate_series({first}, {last}) AS n"
            )
            assert cafe.take().n_read == last - first + 1
            assert cafe.take() == IntakeReport()
    assert cafe.sizes() == (30, 0)


@pytest.mark.slow
def test_a_refusal_does_not_tell_the_password(
    server: Postgres, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = server.url("shop").replace(server.password, "not-the-password")
    monkeypatch.setenv(URL, wrong)
    with pytest.raises(SourceError, match="authentication failed") as caught:
        cafe_of(tmp_path).take()
    told = f"{caught.value}{caught.value.__cause__}{cafe_of(tmp_path).intake}"
    assert "not-the-password" not in told
    assert caught.value.__suppress_context__


def test_a_damaged_copy_of_a_delivery_is_dropped_and_read_again(shop: Shop, tmp_path: Path) -> None:
    cafe = cafe_of(tmp_path / "cafe")
    shop.sell(1, 2, 3)
    kept = cafe.intake.mark_path.with_name("table.jsonl")
    kept.parent.mkdir(parents=True)
    for damaged in ("", "{half", "[1, 2]\n{}", "[" * 5_000):
        kept.write_text(damaged)
        shop.sell(10 + len(damaged))
        assert cafe.take().n_new >= 1
    assert cafe.sizes() == (7, 0)
