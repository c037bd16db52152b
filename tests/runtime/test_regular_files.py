"""Only regular files are opened; whatever else stands there is named and not waited for."""

import os
import socket
from pathlib import Path

import pytest

from chronotope.runtime.regular_files import open_regular, read_bounded, require_regular


def test_a_regular_file_is_read_also_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        with open_regular(tmp_path / name) as file:
            assert file.read() == b"abc"
        assert require_regular(tmp_path / name) == 3
    assert read_bounded(tmp_path / "file", 3) == b"abc"
    with pytest.raises(OSError, match="larger than 2 bytes"):
        read_bounded(tmp_path / "file", 2)


def test_what_is_no_regular_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    with socket.socket(socket.AF_UNIX) as of:
        of.bind("socket")
    kinds = {"pipe": "a named pipe", "socket": "a socket", ".": "a folder", "/dev/zero": "a device"}
    for name, kind in kinds.items():
        for read in (open_regular, require_regular):
            with pytest.raises(OSError, match=f"it is {kind}, no regular file"):
                read(Path(name))


def test_what_is_missing_or_a_circle_is_an_error_of_the_system(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")
    with pytest.raises(OSError, match="Too many levels"):
        open_regular(tmp_path / "loop")
