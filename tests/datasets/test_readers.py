"""Reading CSV, Parquet and SQL by column mapping alone; broken sources are named."""

import gzip
import sqlite3
import time
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronotope.contracts.errors import SchemaError, SourceError
from chronotope.contracts.schemas import ITEMS, USERS
from chronotope.datasets.normalise import normalise
from chronotope.datasets.readers import read_events, read_items, read_users
from chronotope.datasets.spec import DatasetSpec

ROWS = {"who": [1, 2, 3], "what": ["a", "ü", "c"], "when": [10, 20, 30]}
MAPPED = {"user_id": "who", "item_id": "what", "occurred_at": "when"}


def make_spec(
    folder: Path, *, items: dict[str, object] | None = None, **events: object
) -> DatasetSpec:
    return DatasetSpec.model_validate(
        {
            "name": "t",
            "description": "t",
            "licence": "t",
            "data_dir": folder,
            "time": {"kind": "epoch_s"},
            "events": {"columns": MAPPED, **events},
            "items": items,
        }
    )


def write_parquet(path: Path) -> DatasetSpec:
    pq.write_table(pa.table(ROWS), path / "log.parquet", row_group_size=2)
    return make_spec(path, format="parquet", path="log.parquet")


def read_all(spec: DatasetSpec) -> pa.Table:
    return pa.concat_tables(normalise(spec, raw).rows for raw in read_events(spec))


def test_parquet_in_batches_of_the_size_asked_for(tmp_path: Path) -> None:
    spec = write_parquet(tmp_path)
    assert [raw.num_rows for raw in read_events(spec, batch_rows=2)] == [2, 1]
    assert read_all(spec)["item_id"].to_pylist() == ["a", "ü", "c"]


def test_parquet_is_not_read_ahead_of_what_is_worked_on(tmp_path: Path) -> None:
    n, group = 2_000_000, 50_000
    numbers = pa.array(range(n), pa.int64())
    table = pa.table(dict.fromkeys(ROWS, numbers))
    pq.write_table(table, tmp_path / "log.parquet", row_group_size=group)
    spec = make_spec(tmp_path, format="parquet", path="log.parquet")
    before, peak = pa.total_allocated_bytes(), 0
    for raw in read_events(spec, batch_rows=group):
        time.sleep(0.01)  # the work on a batch
        peak = max(peak, pa.total_allocated_bytes() - before)
        assert len(raw) == group
    assert peak < table.nbytes / 4


def test_csv_with_encoding_delimiter_and_line_breaks(tmp_path: Path) -> None:
    text = 'who;what;when\n1;"a\nb";10\n2;ü;20\n'
    (tmp_path / "log.csv").write_text(text, encoding="latin-1")
    spec = make_spec(tmp_path, format="csv", path="log.csv", delimiter=";", encoding="latin-1")
    assert read_all(spec)["item_id"].to_pylist() == ["a\nb", "ü"]


def test_csv_ids_keep_their_zeros(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("who,what,when\n007,1.00,10\n")
    rows = read_all(make_spec(tmp_path, format="csv", path="log.csv"))
    assert rows.select(["user_id", "item_id"]).to_pylist() == [
        {"user_id": "007", "item_id": "1.00"}
    ]


def test_megabyte_text_is_refused_and_its_neighbours_are_not(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text(f"who,what,when\n1,{'x' * 1_000_000},10\n2,b,20\n")
    spec = make_spec(tmp_path, format="csv", path="log.csv")
    (result,) = [normalise(spec, raw) for raw in read_events(spec)]
    assert result.rows["user_id"].to_pylist() == ["2"]
    assert result.refused["row"].to_pylist() == [0]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "cp1252"])
def test_encodings_of_office_programs(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "log.csv").write_text("who,what,when\n1,ü,10\n", encoding=encoding)
    spec = make_spec(tmp_path, format="csv", path="log.csv", encoding=encoding)
    assert read_all(spec)["item_id"].to_pylist() == ["ü"]


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    """Where a web server shows the folder of the test."""
    handler = partial(QuietHandler, directory=str(tmp_path))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class QuietHandler(SimpleHTTPRequestHandler):
    """A file server that logs nothing."""

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def test_file_behind_an_address(tmp_path: Path, address: str) -> None:
    with gzip.open(tmp_path / "log.csv.gz", "wt", encoding="utf-8") as file:
        file.write("who,what,when\n1,ü,10\n")
    spec = make_spec(Path("elsewhere"), format="csv", path=f"{address}/log.csv.gz")
    assert read_all(spec)["item_id"].to_pylist() == ["ü"]


def test_address_without_a_file(address: str) -> None:
    spec = make_spec(Path(), format="csv", path=f"{address}/none.csv")
    with pytest.raises(SourceError, match=r"Cannot fetch.*none\.csv.*404"):
        next(read_events(spec))


@pytest.mark.parametrize(
    "path",
    ["http://ada:s3cret%2Fword@127.0.0.1:1/log.csv", "http://127.0.0.1:1/log.csv?sig=s3cret"],
)
def test_an_address_is_told_without_its_secrets(path: str) -> None:
    spec = make_spec(Path(), format="csv", path=path)
    with pytest.raises(
        SourceError, match=r"Cannot fetch.*http://127\.0\.0\.1:1/log\.csv:"
    ) as caught:
        next(read_events(spec))
    assert "s3cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_sql_query_streams_and_mixed_types_become_text(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "log.db") as database:
        database.execute('CREATE TABLE log (who, what, "when")')
        rows = [(1, "a", 10), ("x", 2, 20), (3, "c", 30)]
        database.executemany("INSERT INTO log VALUES (?, ?, ?)", rows)
    database.close()
    url = f"sqlite:///{tmp_path / 'log.db'}"
    spec = make_spec(tmp_path, format="sql", url=url, query="SELECT * FROM log")
    assert [raw.num_rows for raw in read_events(spec, batch_rows=2)] == [2, 1]
    assert read_all(spec)["user_id"].to_pylist() == ["1", "x", "3"]


@pytest.mark.parametrize("query", ["SELECT * FROM nowhere", "SELEC"])
def test_refused_query_is_named(tmp_path: Path, query: str) -> None:
    spec = make_spec(tmp_path, format="sql", url="sqlite://", query=query)
    with pytest.raises(SourceError, match="The database refused"):
        next(read_events(spec))


def test_missing_database_is_not_created(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'no.db'}"
    with pytest.raises(SourceError, match="The SQLite database file does not exist"):
        next(read_events(make_spec(tmp_path, format="sql", url=url, query="SELECT 1")))
    assert not (tmp_path / "no.db").exists()


def test_a_database_address_that_cannot_be_read_is_an_error() -> None:
    url = "postgresql://ada:s3cret@127.0.0.1:port/shop"
    spec = make_spec(Path(), format="sql", url=url, query="SELECT 1")
    with pytest.raises(SourceError, match="Not a database URL") as caught:
        next(read_events(spec))
    assert "s3cret" not in str(caught.value)


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"No such file.*log\.csv.*data_dir"):
        next(read_events(make_spec(tmp_path, format="csv", path="log.csv")))


def test_missing_package(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, format="csv", path="log.csv", package="no_such_package")
    with pytest.raises(SourceError, match="pip install no_such_package"):
        next(read_events(spec))


@pytest.mark.parametrize(("text", "problem"), [("", "is empty"), ("who,what,when\n", "no rows")])
def test_empty_file(tmp_path: Path, text: str, problem: str) -> None:
    (tmp_path / "log.csv").write_text(text)
    with pytest.raises(SourceError, match=problem):
        list(read_events(make_spec(tmp_path, format="csv", path="log.csv")))


def test_wrong_columns_names_missing_and_found(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("who,product,at\n1,2,3\n")
    with pytest.raises(SchemaError, match=r"what, when.*Received: who, product, at"):
        list(read_events(make_spec(tmp_path, format="csv", path="log.csv")))


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "no-such-encoding"])
def test_bad_encoding(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "log.csv").write_bytes("who,what,when\n1,ü,3\n".encode("latin-1"))
    with pytest.raises(SourceError, match=rf"encoding.*{encoding}.*latin-1"):
        list(read_events(make_spec(tmp_path, format="csv", path="log.csv", encoding=encoding)))


def test_truncated_parquet(tmp_path: Path) -> None:
    spec = write_parquet(tmp_path)
    whole = (tmp_path / "log.parquet").read_bytes()
    (tmp_path / "log.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SourceError, match="cut short"):
        list(read_events(spec))


def test_ragged_csv_row_is_a_clear_error(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("who,what,when\n1,a,3\n1,a\n")
    with pytest.raises(SourceError, match="Cannot read"):
        list(read_events(make_spec(tmp_path, format="csv", path="log.csv")))


def test_items_coalesce_join_and_absent_columns(tmp_path: Path) -> None:
    table = pa.table({"id": [1, 2], "kind": ["x", None], "group": ["g", "g"]})
    pq.write_table(table, tmp_path / "items.parquet")
    mapping = {
        "format": "parquet",
        "path": "items.parquet",
        "columns": {"item_id": "id"},
        "coalesce": {"category": ["kind", "group"]},
        "join": {"text": ["kind", "group"]},
        "attributes": {"group": "group"},
    }
    items = read_items(make_spec(tmp_path, items=mapping, format="csv", path="log.csv"))
    assert items.schema.names == [*ITEMS.names, "group"]
    assert items["category"].to_pylist() == ["x", "g"]
    assert items["text"].to_pylist() == ["x, g", "g"]
    assert items["lat"].null_count == 2


def test_absent_tables_are_empty(tmp_path: Path) -> None:
    spec = make_spec(tmp_path, format="csv", path="log.csv")
    assert read_items(spec).schema.equals(ITEMS)
    assert read_users(spec).schema.equals(USERS)
