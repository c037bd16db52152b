"""A version is told from every other one: of another lake, or of a table that was set back."""

import shutil
from pathlib import Path

import pytest

from chronotope.contracts.errors import StoreError
from chronotope.lake import Lake
from chronotope.lake.version_poller import VersionPoller
from tests.lake.test_staged_batch import deliver, events, ids


def filled(root: Path, *deliveries: str) -> Lake:
    lake = Lake(root)
    for letters in deliveries:
        deliver(lake, events(letters))
    return lake


def rolled_back(lake: Lake, number: int) -> None:
    """The table as a backup of a version leaves it: without the later log entries."""
    assert isinstance(lake.root, Path)
    for entry in (lake.root / "events" / "_delta_log").glob("*.json"):
        if int(entry.stem) > number:
            entry.unlink()


def test_two_lakes_of_the_same_rows_and_numbers_differ(tmp_path: Path) -> None:
    one, other = (filled(tmp_path / name, "ab", "cd") for name in ("one", "other"))
    versions = [lake.table_version("events") for lake in (one, other)]
    assert [version.number for version in versions] == [1, 1]
    assert versions[0] != versions[1]
    assert not other.holds("events", versions[0])


def test_each_version_of_a_lake_stays_what_it_is(tmp_path: Path) -> None:
    lake = filled(tmp_path / "lake", "ab")
    first = lake.table_version("events")
    deliver(lake, events("cd"))
    assert lake.table_version("events") not in (first, None)
    assert lake.holds("events", first)
    assert sorted(lake.read("events", first)["event_id"].to_pylist()) == ["a", "b"]


def test_a_copy_or_a_moved_lake_keeps_its_versions(tmp_path: Path) -> None:
    lake = filled(tmp_path / "lake", "ab", "cd")
    version = lake.table_version("events")
    shutil.copytree(tmp_path / "lake", tmp_path / "copy")
    assert Lake(tmp_path / "copy").table_version("events") == version
    (tmp_path / "lake").rename(tmp_path / "moved")
    moved = Lake(tmp_path / "moved")
    assert moved.holds("events", version)
    deliver(moved, events("e"))
    assert moved.holds("events", version)


def test_a_lake_that_was_set_back_and_written_to_has_other_versions(tmp_path: Path) -> None:
    lake = filled(tmp_path / "lake", "ab", "cd", "ef")
    lost = lake.table_version("events")
    rolled_back(lake, 1)
    assert not lake.holds("events", lost)
    kept = lake.table_version("events")
    deliver(lake, events("xy"))
    again = lake.table_version("events")
    assert (again.number, again == lost) == (lost.number, False)
    assert lake.holds("events", kept)
    assert not lake.holds("events", lost)
    with pytest.raises(StoreError, match=r"was replaced.*expected 2\..*Run again"):
        lake.read("events", lost)


def test_a_lake_without_the_table_holds_nothing(tmp_path: Path) -> None:
    version = filled(tmp_path / "lake", "ab").table_version("events")
    assert not Lake(tmp_path / "none").holds("events", version)


def test_another_lake_in_the_same_folder_is_noticed_by_who_follows(tmp_path: Path) -> None:
    lake = filled(tmp_path / "lake", "ab", "cd")
    followed = VersionPoller(lake)
    before = followed.version("events")
    shutil.rmtree(tmp_path / "lake")
    assert followed.version("events") is None
    filled(tmp_path / "lake", "vw", "xy")
    after = followed.version("events")
    assert before is not None
    assert after is not None
    assert (after.number, after == before) == (before.number, False)
    assert ids(lake) == ["v", "w", "x", "y"]
