"""Which version of a Delta table remains when files of its log or its data are damaged."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable, write_deltalake

from chronotope.lake.log_repair import (
    LOG,
    advance_version,
    count_rows,
    damaged_files,
    examine_log,
    remove_missing_files,
    unreferenced_files,
)

N_VERSIONS = 4
ROWS = pa.table({"event_id": [f"e{n}" for n in range(10)]})


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """Versions 0 to 3 of ten rows each, with a checkpoint at version 1."""
    path = tmp_path / "events"
    for version in range(N_VERSIONS):
        write_deltalake(str(path), ROWS, mode="append")
        if version == 1:
            DeltaTable(str(path)).create_checkpoint()
    return path


def commit(table: Path, version: int) -> Path:
    return table / LOG / f"{version:020}.json"


def checkpoint(table: Path) -> Path:
    return table / LOG / f"{1:020}.checkpoint.parquet"


def garble(path: Path) -> None:
    path.write_bytes(b"\x00garbage")


def garble_the_beginning(table: Path) -> None:
    garble(commit(table, 0))
    garble(checkpoint(table))


def test_a_whole_table_has_all_its_versions(table: Path) -> None:
    state = examine_log(table)
    assert (state.is_intact, state.version, state.latest) == (True, 3, 3)
    assert damaged_files(table) == unreferenced_files(table) == ()
    assert count_rows(table) == (3, 40)


@pytest.mark.parametrize(
    ("damage", "n_damaged", "n_unreachable", "version"),
    [
        (lambda t: garble(commit(t, 3)), 1, 0, 2),
        (lambda t: commit(t, 3).write_bytes(b"\n"), 1, 0, 2),
        (lambda t: commit(t, 3).write_bytes(b"[1]\n"), 1, 0, 2),
        (lambda t: garble(commit(t, 2)), 1, 1, 1),
        (lambda t: commit(t, 2).unlink(), 0, 1, 1),
        (lambda t: garble(commit(t, 0)), 1, 0, 3),
        (lambda t: garble(checkpoint(t)), 2, 0, 3),
        (lambda t: garble(t / LOG / "_last_checkpoint"), 1, 0, 3),
        (garble_the_beginning, 3, 3, None),
    ],
)
def test_the_newest_version_that_an_unbroken_row_of_commits_leads_to_remains(
    table: Path,
    damage: Callable[[Path], object],
    n_damaged: int,
    n_unreachable: int,
    version: int | None,
) -> None:
    damage(table)
    state = examine_log(table)
    counted = (len(state.damaged), len(state.unreachable), state.version)
    assert counted == (n_damaged, n_unreachable, version)
    assert not state.is_intact
    if version is None:
        return
    for path in (*state.damaged, *state.unreachable):
        path.unlink()
    assert examine_log(table).is_intact
    assert count_rows(table) == (version, 10 * (version + 1))


def test_a_number_of_a_lost_version_does_not_come_again(table: Path) -> None:
    commit(table, 3).unlink()
    assert len(unreferenced_files(table)) == 1
    advance_version(table, 3)
    assert count_rows(table) == (4, 30)
    write_deltalake(str(table), ROWS, mode="append")
    assert count_rows(table) == (5, 40)


def test_a_data_file_that_is_gone_is_left_out_of_the_next_version(table: Path) -> None:
    path = next(table.glob("*.parquet"))
    content = bytearray(path.read_bytes())
    content[4:20] = b"\xff" * 16
    path.write_bytes(bytes(content))
    assert damaged_files(table) == (path,)
    path.unlink()
    assert damaged_files(table) == (path,)
    remove_missing_files(table)
    assert damaged_files(table) == ()
    assert count_rows(table) == (4, 30)
