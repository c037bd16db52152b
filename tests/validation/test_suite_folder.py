"""The suites are found below the root, in the working folder, or where they were installed."""

from pathlib import Path

import pytest

from chronotope.contracts.errors import ConfigError
from chronotope.validation import find_suites_folder
from flows.ingest_events import IngestSettings


def write_suite(parent: Path) -> Path:
    (parent / "expectations").mkdir(parents=True)
    (parent / "expectations" / "events.json").write_text("{}")
    return parent / "expectations"


def test_the_root_precedes_the_working_folder_and_the_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("work", "root"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / "work")
    settings = IngestSettings(root=tmp_path / "root")
    installed = settings.suites_dir
    assert (installed / "items.json").is_file()
    assert installed.parent == Path(__file__).parents[2]
    in_work = write_suite(tmp_path / "work")
    assert settings.suites_dir == in_work
    (tmp_path / "root" / "expectations").mkdir()  # of another program
    assert settings.suites_dir == in_work
    (tmp_path / "root" / "expectations").rmdir()
    in_root = write_suite(tmp_path / "root")
    assert settings.suites_dir == in_root


def test_an_absolute_folder_is_the_only_place(tmp_path: Path) -> None:
    suites = write_suite(tmp_path)
    assert IngestSettings(root=tmp_path / "x", suites=suites).suites_dir == suites
    with pytest.raises(ConfigError, match=f"no events.json in {tmp_path}/none. Copy"):
        _ = IngestSettings(suites=tmp_path / "none").suites_dir


def test_the_places_are_named_where_there_is_none(tmp_path: Path) -> None:
    parents = (tmp_path / "a", tmp_path / "b")
    with pytest.raises(ConfigError, match=f"in {tmp_path}/a/suites, {tmp_path}/b/suites"):
        find_suites_folder(Path("suites"), parents)
