"""Roots that a store could not address are refused before anything is written."""

from pathlib import Path

import pytest

from chronotope.cli.doctor import run_checks
from chronotope.cli.flow_server import flow_server
from chronotope.contracts.errors import ConfigError
from chronotope.runtime.usable_paths import require_usable_path, require_usable_root
from chronotope.runtime.workspace import Workspace

UNUSABLE = [
    "a?b", "a%20b", "a%2Fb", "a\\b", "a[b", "a]b", "a^b", "a|b", "a*b", "a{b", "a}b", "a\nb",
    "a\tb", "a\x7fb", "a\x01b", "a\udcffb",
]  # fmt: skip
USABLE = [
    "a b",
    "a#b",
    "50%",
    "ü",
    "u\u0308",
    "😀",
    "a'b",
    'a"b',
    "a;b&c",
    "$HOME",
    "~",
    "-x",
    "a:b",
]


@pytest.mark.parametrize("name", UNUSABLE)
def test_an_unusable_root_is_refused_and_reported_by_the_doctor(tmp_path: Path, name: str) -> None:
    root = tmp_path / name / "project"
    with pytest.raises(ConfigError, match="cannot use a path that contains") as raised:
        Workspace(root)
    assert str(raised.value).isascii()  # nothing that a terminal would act on
    with pytest.raises(ConfigError), flow_server(root, "flows.ingest_events", validates=False):
        pass
    check = list(run_checks(root))[-1]
    assert (check.name, check.ok, check.needed) == ("root", False, True)
    assert "Rename the folder" in check.way_out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", USABLE)
def test_other_roots_are_usable(tmp_path: Path, name: str) -> None:
    assert Workspace(tmp_path / name).root == tmp_path / name
    assert require_usable_path(tmp_path / name) == tmp_path / name


def test_a_link_to_an_unusable_folder_is_unusable(tmp_path: Path) -> None:
    (tmp_path / "a[1]").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "a[1]")
    with pytest.raises(ConfigError, match=r"'\[', '\]'"):
        require_usable_root(tmp_path / "link")


def test_a_relative_root_is_judged_by_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a|b").mkdir()
    monkeypatch.chdir(tmp_path / "a|b")
    with pytest.raises(ConfigError, match=r"'\|'"):
        Workspace(Path())


@pytest.mark.parametrize("below", ["", "deeper"])
def test_a_root_that_is_a_file_is_refused(tmp_path: Path, below: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"root is not a folder.*file\. .*--root"):
        Workspace(tmp_path / "file" / below)
    (tmp_path / "broken").symlink_to("nowhere")
    with pytest.raises(ConfigError, match="root is not a folder"):
        Workspace(tmp_path / "broken" / below)
