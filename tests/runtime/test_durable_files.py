"""Files are whole, on the disk, and show damage."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from chronotope.contracts.errors import StoreError
from chronotope.runtime import durable_files
from chronotope.runtime.durable_files import (
    read_json,
    replacing,
    write_json,
    write_new_text,
    write_text,
)
from tests.damage import flipped, flips

PROJECT = Path(__file__).parents[2]
CONTENT: dict[str, Any] = {"b": [1, 2.5, None], "a": {"10": "x", "9": "ä"}, "n": 0.1}


def read(path: Path) -> dict[str, Any]:
    return read_json(path, subject="The file", way_out="Delete it")


def test_an_object_reads_back_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.json"
    write_json(path, CONTENT)
    assert read(path) == CONTENT
    write_json(path, {10: 1, 9: 2})  # type: ignore[dict-item]
    assert read(path) == {"10": 1, "9": 2}
    assert [each.name for each in path.parent.iterdir()] == ["file.json"]


def test_a_changed_byte_is_refused_or_means_the_same(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_json(path, CONTENT)
    refused = 0
    for _ in flips(path, 200):
        try:
            content = read(path)
        except StoreError:
            refused += 1
        else:  # white space, a letter of a number or escape, or the key of the checksum
            assert {name: content[name] for name in CONTENT} == CONTENT
    assert refused > 100


@pytest.mark.parametrize("content", [b"", b"{", b"[1]", b"\xff", b"7", b"[" * 100_000])
def test_what_is_no_object_is_a_clear_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "file.json"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=r"The file cannot be read.*file\.json.*Delete it"):
        read(path)


def test_a_file_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order is: the bytes, the name, the folder that holds the name."""
    path, steps, sync, replace = tmp_path / "file", [], os.fsync, Path.replace

    def noted(handle: int) -> None:
        target = Path(f"/proc/self/fd/{handle}").readlink()
        steps.append("folder" if target == tmp_path else "bytes")
        sync(handle)

    monkeypatch.setattr(durable_files.os, "fsync", noted)
    monkeypatch.setattr(
        Path, "replace", lambda self, to: (steps.append("name"), replace(self, to))[1]
    )
    write_text(path, "text")
    assert (path.read_text(), steps) == ("text", ["bytes", "name", "folder"])


def test_an_error_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "old")

    def write_half() -> None:
        with replacing(path) as draft:
            draft.write_text("half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_half()
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("file", "old")]


def test_of_two_that_write_a_new_file_one_succeeds(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_new_text(path, "first")
    with pytest.raises(FileExistsError):
        write_new_text(path, "second")
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("file", "first")]


SCRIPT = """
import os, signal, sys
from pathlib import Path
from chronotope.runtime.durable_files import replacing
with replacing(Path(sys.argv[1])) as draft:
    draft.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_the_next_writer_removes_the_draft_of_a_killed_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    told = [sys.executable, "-c", SCRIPT, str(path)]
    environment = {**os.environ, "PYTHONPATH": str(PROJECT / "components")}
    done = subprocess.run(told, env=environment, check=False)  # noqa: S603 - our own interpreter
    assert (done.returncode, path.exists(), len(list(tmp_path.iterdir()))) == (
        -signal.SIGKILL,
        False,
        1,
    )
    with replacing(path) as draft:
        draft.write_text("mine")
        write_text(path, "theirs")  # another writer: it leaves a draft that is held
        assert draft.exists()
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("file", "mine")]


def test_flipping_changes_one_byte_and_gives_it_back(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(100))
    with flipped(path, 7):
        assert [at for at, byte in enumerate(path.read_bytes()) if byte] == [7]
    assert path.read_bytes() == bytes(100)
