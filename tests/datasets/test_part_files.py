"""Folders and globs of files: which are read, in which order, and with which columns."""

import gzip
import logging
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from chronotope.contracts.errors import SchemaError, SourceError
from chronotope.datasets.columns import check_columns
from chronotope.datasets.files import source_files
from chronotope.datasets.locations import source_folders
from chronotope.datasets.readers import read_context_table, read_events, read_items
from chronotope.datasets.spec import DatasetSpec
from chronotope.datasets.table_spec import TableSpec
from tests.datasets.test_readers import MAPPED, make_spec, read_all

HEADER = "who,what,when\n"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def write_days(folder: Path) -> Path:
    for day in (3, 1, 2):
        write(folder / "by-day" / f"2024-03-0{day}.csv", f"{HEADER}{day},a,{day}0\n")
    return folder


def write_parts(folder: Path, *parts: dict[str, object]) -> DatasetSpec:
    for number, columns in enumerate(parts):
        path = folder / "log" / f"part-{number}.parquet"
        path.parent.mkdir(exist_ok=True)
        pq.write_table(pa.table(columns), path)
    return make_spec(folder, format="parquet", path="log")


def users(spec: DatasetSpec) -> list[str]:
    ids: list[str] = read_all(spec)["user_id"].to_pylist()
    return ids


@pytest.mark.parametrize(
    "path", ["by-day", "by-day/*.csv", "by-*/2024-*", "**/*.csv", "by-d[a]y", "b*/**", "*"]
)
def test_files_of_a_folder_or_glob_are_read_in_order(tmp_path: Path, path: str) -> None:
    assert users(make_spec(write_days(tmp_path), format="csv", path=path)) == ["1", "2", "3"]


def test_a_glob_selects_and_absolute_paths_work(tmp_path: Path) -> None:
    pattern = str(write_days(tmp_path) / "by-day" / "*-0[12].csv")
    assert users(make_spec(tmp_path / "x", format="csv", path=pattern)) == ["1", "2"]


def test_a_name_with_brackets_is_no_pattern(tmp_path: Path) -> None:
    write(tmp_path / "logs [2024]" / "a*.csv", f"{HEADER}1,a,10\n")
    write(tmp_path / "logs [2024]" / "ab.csv", f"{HEADER}2,a,10\n")
    assert users(make_spec(tmp_path, format="csv", path="logs [2024]/a*.csv")) == ["1"]
    assert users(make_spec(tmp_path / "logs [2024]", format="csv", path="ab*")) == ["2"]


def test_an_empty_match_is_an_error(tmp_path: Path) -> None:
    spec = make_spec(write_days(tmp_path), format="csv", path="by-day/*.tsv")
    with pytest.raises(SourceError, match=r"No file matches the path.*by-day/\*\.tsv"):
        users(spec)


def test_hidden_files_are_skipped_and_strays_are_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_days(tmp_path)
    for name in (".hidden.csv", "_SUCCESS", "README.md", "_temporary/a.csv", "notes.pdf"):
        write(tmp_path / "by-day" / name, "x")
    write(tmp_path / "by-day" / "empty.csv", "")
    (tmp_path / "by-day" / "more").mkdir()
    with gzip.open(tmp_path / "by-day" / "more" / "part-4.csv.gz", "wt") as file:
        file.write(f"{HEADER}4,a,40\n")
    with caplog.at_level(logging.WARNING):
        ids = users(make_spec(tmp_path, format="csv", path="by-day"))
    assert ids == ["1", "2", "3", "4"]
    assert "that are not csv: README.md, notes.pdf" in caplog.text
    assert "1 empty files: empty.csv" in caplog.text
    assert "_SUCCESS" not in caplog.text


def test_a_folder_without_files_of_the_format_names_those_it_has(tmp_path: Path) -> None:
    write(tmp_path / "log" / "README.md", "x")
    with pytest.raises(SourceError, match=r"holds no parquet files.*README\.md"):
        users(make_spec(tmp_path, format="parquet", path="log"))


def test_parquet_is_known_by_its_first_bytes_and_a_stray_of_a_glob_is_refused(
    tmp_path: Path,
) -> None:
    spec = write_parts(tmp_path, {"who": [1], "what": ["a"], "when": [10]})
    (tmp_path / "log" / "part-0.parquet").rename(tmp_path / "log" / "part-0")
    write(tmp_path / "log" / "README.md", "A text that is long enough.")
    assert users(spec) == ["1"]
    with pytest.raises(SourceError, match=r"README\.md as parquet"):
        users(make_spec(tmp_path, format="parquet", path="log/*"))


def test_columns_of_csv_files_in_another_order(tmp_path: Path) -> None:
    write(tmp_path / "log" / "1.csv", f"{HEADER}1,a,10\n")
    write(tmp_path / "log" / "2.csv", "when,extra,who,what\n20,x,2,b\n")
    rows = read_all(make_spec(tmp_path, format="csv", path="log"))
    assert rows.select(["user_id", "item_id"]).to_pylist() == [
        {"user_id": "1", "item_id": "a"},
        {"user_id": "2", "item_id": "b"},
    ]


@pytest.mark.parametrize("first", [0, 1])
def test_an_optional_column_that_some_files_lack_is_null_there(tmp_path: Path, first: int) -> None:
    write(tmp_path / "log" / f"{first}.csv", f"{HEADER}1,a,10\n")
    write(tmp_path / "log" / f"{1 - first}.csv", "who,what,when,price\n2,b,20,1.5\n")
    spec = make_spec(tmp_path, format="csv", path="log", columns=MAPPED | {"value": "price"})
    values = dict(
        zip(*read_all(spec).select(["user_id", "value"]).to_pydict().values(), strict=True)
    )
    assert values == {"1": None, "2": 1.5}


def test_a_required_column_that_a_file_lacks_is_an_error_that_names_the_file(
    tmp_path: Path,
) -> None:
    write(tmp_path / "log" / "1.csv", f"{HEADER}1,a,10\n")
    write(tmp_path / "log" / "2.csv", "who,when\n1,10\n")
    with pytest.raises(SchemaError, match=r"Columns missing in .*2\.csv: what"):
        users(make_spec(tmp_path, format="csv", path="log"))


def test_a_column_that_no_file_has_is_an_error(tmp_path: Path) -> None:
    spec = make_spec(
        write_days(tmp_path), format="csv", path="by-day", columns=MAPPED | {"value": "price"}
    )
    with pytest.raises(SchemaError, match=r"Columns missing in .*2024-03-01\.csv: price"):
        users(spec)


def test_one_column_of_those_that_are_coalesced_suffices(tmp_path: Path) -> None:
    write(tmp_path / "log" / "1.csv", "who,what,when\n1,a,10\n")
    write(tmp_path / "log" / "2.csv", "who,sku,when\n1,b,10\n")
    spec = make_spec(
        tmp_path,
        format="csv",
        path="log",
        columns={"user_id": "who", "occurred_at": "when"},
        coalesce={"item_id": ["what", "sku"]},
    )
    assert read_all(spec)["item_id"].to_pylist() == ["a", "b"]


@pytest.mark.parametrize(
    "other",
    [
        pa.array([2], pa.int32()),
        pa.array(["2"]),
        pa.array([2], pa.uint64()),
        pa.array(["2"], pa.string_view()),
        pa.array(["2"], pa.large_string()),
        pa.array([b"2"], pa.binary()),
        pa.array([2.0]),
        pa.array(["2"]).dictionary_encode(),
    ],
    ids=lambda column: str(column.type).split("<")[0],
)
def test_ids_do_not_change_with_the_types_of_other_parts(tmp_path: Path, other: pa.Array) -> None:
    big = 2**53 + 1
    first = {"who": [big], "what": [big], "when": [10]}
    second = {"who": other, "what": other, "when": pa.array([20.0])}
    spec = write_parts(tmp_path, first, second)
    assert users(spec)[0] == str(big)
    if not pa.types.is_floating(other.type):  # texts of floats are a matter of normalisation
        assert users(spec)[1] == "2"
    catalogue = {"format": "parquet", "path": "log", "columns": {"item_id": "what"}}
    items = read_items(make_spec(tmp_path, format="parquet", path="log", items=catalogue))
    assert items["item_id"].to_pylist()[0] == str(big)


def test_a_part_without_values_is_null_there(tmp_path: Path) -> None:
    nulls = {"who": [1], "what": ["a"], "when": [10], "price": pa.nulls(1)}
    values = {"who": [2], "what": ["b"], "when": [20], "price": [2.5]}
    spec = write_parts(tmp_path, nulls, values)
    spec = make_spec(tmp_path, format="parquet", path="log", columns=MAPPED | {"value": "price"})
    assert read_all(spec)["value"].to_pylist() == [None, 2.5]


def test_types_that_have_no_texts_arrive_as_they_are(tmp_path: Path) -> None:
    uuids = pa.ExtensionArray.from_storage(
        pa.uuid(), pa.array([b"0123456789abcdef"] * 3, pa.binary(16))
    )
    views = pa.array([b"a", None, b"c" * 50], pa.binary_view())
    write_parts(tmp_path, {"who": uuids, "what": views, "when": [1, 2, 3], "x": [[1]] * 3})
    (raw,) = read_events(make_spec(tmp_path, format="parquet", path="log"))
    assert raw["user_id"].type == pa.uuid()
    assert raw["item_id"].to_pylist() == [b"a", None, b"c" * 50]


@pytest.mark.parametrize("format", ["csv", "json", "parquet"])
def test_partition_folders_are_columns_where_they_are_mapped(tmp_path: Path, format: str) -> None:
    for day, hour in (("2024-03-04", "a%2Fb %C3%BC"), ("__HIVE_DEFAULT_PARTITION__", "x=y")):
        folder = tmp_path / "log" / f"dt={day}" / f"hour={hour}"
        folder.mkdir(parents=True)
        if format == "csv":
            write(folder / "part-0", "who,what\n1,i\n2,i\n")
        elif format == "json":
            lines = '{"who": 1, "what": "i"}\n{"who": 2, "what": "i"}\n'
            write(folder / "part-0.jsonl", lines)
        else:
            pq.write_table(pa.table({"who": [1, 2], "what": ["i", "i"]}), folder / "p.parquet")
    spec = make_spec(
        tmp_path,
        format=format,
        path="log",
        columns={"user_id": "who", "item_id": "what", "occurred_at": "dt"},
        attributes={"part": "hour"},
    )
    rows = pa.concat_tables(read_events(spec))
    assert rows["occurred_at"].to_pylist() == ["2024-03-04"] * 2 + [None] * 2
    assert rows["part"].to_pylist() == ["a/b ü"] * 2 + ["x=y"] * 2


def test_a_column_of_the_file_takes_precedence_over_its_folder(tmp_path: Path) -> None:
    write(tmp_path / "log" / "who=9" / "a.csv", f"{HEADER}1,a,10\n")
    assert users(make_spec(tmp_path, format="csv", path="log")) == ["1"]


def test_a_context_table_may_have_several_files_of_several_types(tmp_path: Path) -> None:
    parts = [
        {"at": [10], "shop": pa.array([1], pa.int64()), "rain": [1]},
        {"at": [20.0], "shop": ["1"], "rain": [0.5]},
    ]
    write_parts(tmp_path, *parts)
    write_days(tmp_path)
    spec = make_spec(tmp_path, format="csv", path="by-day").model_dump()
    spec["context_table"] = {
        "format": "parquet",
        "path": "log",
        "columns": {"occurred_at": "at", "place_id": "shop"},
        "context": {"rain_mm": "rain"},
    }
    readings = read_context_table(DatasetSpec.model_validate(spec))
    assert readings["place_id"].to_pylist() == ["1", "1"]
    assert readings["rain_mm"].to_pylist() == [1.0, 0.5]


def test_the_folder_of_a_glob_is_that_of_its_source(tmp_path: Path) -> None:
    write_days(tmp_path)
    for path in ("by-day/*.csv", "by-day", "by-day/2024-03-01.csv"):
        spec = make_spec(tmp_path, format="csv", path=path)
        assert source_folders(spec) == {tmp_path / "by-day"}


@pytest.mark.parametrize("marker", ["metadata/v1.metadata.json", ".hoodie/hoodie.properties"])
@pytest.mark.parametrize("path", ["log", "log/*.parquet", "log/part-0.parquet", ".", "log/.."])
def test_tables_of_other_formats_are_refused_by_name(
    tmp_path: Path, marker: str, path: str
) -> None:
    write_parts(tmp_path, {"who": [1], "what": ["a"], "when": [10]})
    write(tmp_path / "log" / marker, "{}")
    name = "Iceberg" if "metadata" in marker else "Hudi"
    with pytest.raises(SourceError, match=f"table of {name}.*export the current rows"):
        users(make_spec(tmp_path, format="parquet", path=path))


def test_a_format_without_header_reports_missing_columns_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    present = {"1.csv": {"who", "what", "when"}, "2.csv": {"who", "what", "when", "price"}}

    def stream(table_spec: TableSpec, file_path: Path, *_: object) -> Iterator[pa.RecordBatch]:
        yield pa.record_batch({name: ["1"] for name in table_spec.needed})
        check_columns(table_spec, sorted(present[file_path.name]), file_path)

    monkeypatch.setattr(source_files, "stream_csv", stream)
    for name in present:
        write(tmp_path / "log" / name, "x")
    columns = MAPPED | {"value": "price"}
    spec = make_spec(tmp_path, format="csv", path="log", columns=columns)
    assert users(spec) == ["1", "1"]
    present["2.csv"].remove("price")
    with pytest.raises(SchemaError, match=r"2\.csv: price"):
        users(spec)
    present["1.csv"].remove("what")
    with pytest.raises(SchemaError, match=r"1\.csv: what, price"):
        users(spec)


def test_an_optional_key_that_one_json_file_lacks_is_null_there(tmp_path: Path) -> None:
    write(tmp_path / "log" / "1.jsonl", '{"who": 1, "what": "a", "when": 10}\n')
    write(tmp_path / "log" / "2.jsonl", '{"who": 2, "what": "a", "when": 10, "price": 1.5}\n')
    spec = make_spec(tmp_path, format="json", path="log", columns=MAPPED | {"value": "price"})
    assert read_all(spec)["value"].to_pylist() == [None, 1.5]
    spec = make_spec(tmp_path, format="json", path="log", columns=MAPPED | {"value": "rating"})
    with pytest.raises(SchemaError, match=r"2\.jsonl: rating"):
        users(spec)
