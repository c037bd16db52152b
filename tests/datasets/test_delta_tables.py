"""Delta tables as sources: the rows of a version, without those that were deleted."""

import base64
import json
import logging
import struct
from datetime import date
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake
from pydantic import ValidationError

from chronotope.contracts.errors import ConfigError, SourceError
from chronotope.datasets.readers import read_events
from chronotope.datasets.spec import DatasetSpec
from tests.datasets.test_readers import MAPPED, make_spec, read_all

Z85 = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.-:+=^!/*?&<>()[]{}@%$#"
B85 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz!#$%&()*+-;<=>?@^_`{|}~"


def write_delta(folder: Path, name: str = "log", **more: object) -> Path:
    table_dir = folder / name
    rows = {"who": ["1", "2", "3", "4"], "what": list("abcd"), "when": [10, 20, 30, 40]}
    write_deltalake(str(table_dir), pa.table(rows | more))
    return table_dir


def delta_spec(folder: Path, **more: object) -> DatasetSpec:
    return make_spec(folder, **{"format": "delta", "path": "log"} | more)


def users(spec: DatasetSpec) -> list[str]:
    return sorted(read_all(spec)["user_id"].to_pylist())


@pytest.mark.parametrize("format", ["delta", "parquet"])
def test_deleted_rows_do_not_return(
    tmp_path: Path, format: str, caplog: pytest.LogCaptureFixture
) -> None:
    table_dir = write_delta(tmp_path)
    DeltaTable(str(table_dir)).delete("who = '1'")
    with caplog.at_level(logging.WARNING):
        assert users(delta_spec(tmp_path, format=format)) == ["2", "3", "4"]
    assert ("is a Delta table and is read as one" in caplog.text) is (format == "parquet")


def test_an_older_version_can_be_read(tmp_path: Path) -> None:
    table_dir = write_delta(tmp_path)
    DeltaTable(str(table_dir)).delete("who = '1'")
    assert users(delta_spec(tmp_path, version=0)) == ["1", "2", "3", "4"]
    with pytest.raises(SourceError, match=r"as a Delta table.*version in the dataset's YAML"):
        users(delta_spec(tmp_path, version=9))


@pytest.mark.parametrize("path", ["log/*.parquet", "log/**", ".", "**/*.parquet", "one file"])
def test_loose_files_of_a_delta_table_are_refused(tmp_path: Path, path: str) -> None:
    table_dir = write_delta(tmp_path)
    if path == "one file":
        path = str(next(table_dir.glob("*.parquet")))
    with pytest.raises(SourceError, match=r"belong to a table of Delta.*format: delta"):
        users(delta_spec(tmp_path, format="parquet", path=path))


def test_a_delta_table_is_no_csv_and_a_folder_no_delta_table(tmp_path: Path) -> None:
    write_delta(tmp_path)
    with pytest.raises(SourceError, match="table of Delta"):
        users(delta_spec(tmp_path, format="csv"))
    with pytest.raises(SourceError, match="not a Delta table"):
        users(delta_spec(tmp_path, path="."))


def test_options_of_delta_need_a_local_delta_table(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="requires a local folder"):
        delta_spec(tmp_path, path="s3://bucket/log")
    with pytest.raises(ValidationError, match="version requires format delta"):
        delta_spec(tmp_path, format="parquet", version=1)


def test_a_partition_folder_of_a_delta_table_is_refused(tmp_path: Path) -> None:
    rows = {"who": ["1", "2"], "what": ["a", "b"], "when": [1, 2]}
    write_deltalake(str(tmp_path / "log"), pa.table(rows), partition_by=["who"])
    with pytest.raises(SourceError, match="table of Delta"):
        users(delta_spec(tmp_path, format="parquet", path="log/who=1"))


def test_partitions_come_with_their_values(tmp_path: Path) -> None:
    rows = {
        "who": ["a b", "ü/1", None, "%20"],
        "what": list("abcd"),
        "when": [date(2024, 3, 4), date(2024, 3, 5), date(2024, 3, 4), None],
    }
    write_deltalake(str(tmp_path / "log"), pa.table(rows), partition_by=["who", "when"])
    batches = pa.concat_tables(read_events(delta_spec(tmp_path))).sort_by("item_id")
    assert batches["user_id"].to_pylist() == rows["who"]
    assert batches["occurred_at"].to_pylist() == ["2024-03-04", "2024-03-05", "2024-03-04", None]


def test_a_column_that_came_later_is_null_in_older_files(tmp_path: Path) -> None:
    table_dir = write_delta(tmp_path)
    newer = pa.table({"who": ["5"], "what": ["e"], "when": [50], "price": [2.5]})
    write_deltalake(str(table_dir), newer, mode="append", schema_mode="merge")
    rows = read_all(delta_spec(tmp_path, columns=MAPPED | {"value": "price"}))
    assert sorted(zip(*rows.select(["user_id", "value"]).to_pydict().values(), strict=True)) == [
        *((name, None) for name in "1234"),
        ("5", 2.5),
    ]


def test_rows_of_a_deletion_vector_are_left_out(tmp_path: Path) -> None:
    table_dir = write_delta(tmp_path)
    add_deletion_vector(table_dir, deleted_rows=[0, 2])
    assert users(delta_spec(tmp_path)) == ["2", "4"]
    assert users(delta_spec(tmp_path, format="parquet")) == ["2", "4"]


def test_renamed_columns_are_refused(tmp_path: Path) -> None:
    table_dir = write_delta(tmp_path)
    log_file = table_dir / "_delta_log" / f"{0:020}.json"
    actions = [json.loads(line) for line in log_file.read_text().splitlines()]
    for action in actions:
        if "metaData" in action:
            action["metaData"]["configuration"]["delta.columnMapping.mode"] = "name"
    log_file.write_text("\n".join(map(json.dumps, actions)))
    with pytest.raises(SourceError, match="column mapping"):
        users(delta_spec(tmp_path))


@pytest.mark.parametrize("name", ["a b#c", "ü😀", "50%", "a?b", "a[1]", "50%20", "a\\b", "a^b|c"])
def test_tables_in_folders_with_odd_names(tmp_path: Path, name: str) -> None:
    table_dir = write_delta(tmp_path)
    (tmp_path / name).mkdir()
    table_dir.rename(tmp_path / name / "log")
    spec = delta_spec(tmp_path / name)
    if set(name) & set("?[\\^|") or name == "50%20":
        with pytest.raises(ConfigError, match=r"cannot use a path that contains .*Rename"):
            users(spec)
    else:
        assert users(spec) == ["1", "2", "3", "4"]


def test_a_damaged_log_is_an_error(tmp_path: Path) -> None:
    table_dir = write_delta(tmp_path)
    (table_dir / "_delta_log" / f"{0:020}.json").write_text('{"add": ')
    with pytest.raises(SourceError, match="as a Delta table"):
        users(delta_spec(tmp_path))


def add_deletion_vector(table_dir: Path, deleted_rows: list[int]) -> None:
    """Commit a deletion vector for the table's only file, as Spark does."""
    actions = [
        json.loads(line)
        for line in (table_dir / "_delta_log" / f"{0:020}.json").read_text().splitlines()
    ]
    (add,) = [action["add"] for action in actions if "add" in action]
    container = struct.pack("<HH", 0, len(deleted_rows) - 1) + struct.pack("<I", 16)
    bitmap = struct.pack("<II", 12346, 1) + container
    bitmap += struct.pack(f"<{len(deleted_rows)}H", *deleted_rows)
    vector = struct.pack("<I", 1681511377) + struct.pack("<QI", 1, 0) + bitmap
    padded = vector + b"\0" * (-len(vector) % 4)
    text = base64.b85encode(padded).decode().translate(str.maketrans(B85, Z85))
    removed = {"path": add["path"], "deletionTimestamp": 1, "dataChange": True}
    added = add | {
        "deletionVector": {
            "storageType": "i",
            "pathOrInlineDv": text,
            "sizeInBytes": len(vector),
            "cardinality": len(deleted_rows),
        }
    }
    protocol = {
        "minReaderVersion": 3,
        "minWriterVersion": 7,
        "readerFeatures": ["deletionVectors"],
        "writerFeatures": ["deletionVectors"],
    }
    commit = [{"protocol": protocol}, {"remove": removed}, {"add": added}]
    log_file = table_dir / "_delta_log" / f"{1:020}.json"
    log_file.write_text("\n".join(map(json.dumps, commit)))
