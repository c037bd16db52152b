"""Paths of parameters stay where the operator allows them."""

import os
from pathlib import Path

import pytest

from chronotope.contracts.errors import ConfigError
from chronotope.runtime.allowed_paths import ALLOWED_ROOTS, require_allowed_path


@pytest.fixture
def roots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    found = (tmp_path / "one", tmp_path / "two")
    for root in found:
        root.mkdir()
    monkeypatch.setenv(ALLOWED_ROOTS, os.pathsep.join(map(str, found)))
    return found


def test_without_roots_everything_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    for told in (None, ""):
        monkeypatch.delenv(ALLOWED_ROOTS, raising=False)
        if told is not None:
            monkeypatch.setenv(ALLOWED_ROOTS, told)
        assert require_allowed_path(Path("/etc")) == Path("/etc")


def test_a_root_and_what_lies_below_it_is_allowed(roots: tuple[Path, Path]) -> None:
    for root in roots:
        for path in (root, root / "new" / "folder", root / "a" / ".." / "b"):
            assert require_allowed_path(path) == path


def test_what_lies_elsewhere_is_refused_with_a_way_out(roots: tuple[Path, Path]) -> None:
    one, two = roots
    link = one / "link"
    link.symlink_to("/etc")
    beside = one.with_name("one-more")
    for path in (Path("/etc"), one / ".." / "three", link / "passwd", beside, one.parent, Path()):
        with pytest.raises(ConfigError, match=f"outside.*{two}.*{ALLOWED_ROOTS}"):
            require_allowed_path(path)


def test_relative_paths_count_from_where_the_process_runs(
    roots: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(roots[0])
    assert require_allowed_path(Path("conf")) == Path("conf")
    with pytest.raises(ConfigError, match="outside"):
        require_allowed_path(Path("../elsewhere"))
