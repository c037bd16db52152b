"""A draft is gone with its process, and never while its process works on it."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chronotope.runtime.temp_dirs import temporary_folder

DYING = """
import os, signal, sys
from pathlib import Path
from chronotope.runtime.temp_dirs import temporary_folder
with temporary_folder(Path(sys.argv[1]), ".draft-") as folder:
    (folder / "half.parquet").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_it_is_gone_behind_the_block_and_after_an_error(tmp_path: Path) -> None:
    with temporary_folder(tmp_path / "new", ".draft-") as folder:
        (folder / "rows").write_text("all")
    with pytest.raises(ZeroDivisionError), temporary_folder(tmp_path / "new", ".draft-"):
        raise ZeroDivisionError
    assert list((tmp_path / "new").iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next_draft(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", DYING, tmp_path], check=False)  # noqa: S603
    assert done.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert (left / "half.parquet").exists()
    (tmp_path / "finished").mkdir()
    with temporary_folder(tmp_path, ".draft-") as folder:
        assert set(tmp_path.iterdir()) == {folder, tmp_path / "finished"}


def test_a_draft_that_is_worked_on_stays(tmp_path: Path) -> None:
    with temporary_folder(tmp_path, ".draft-") as first:
        (first / "rows").write_text("half")
        with temporary_folder(tmp_path, ".draft-") as second:
            assert first != second
            assert (first / "rows").exists()


def test_a_draft_that_is_not_held_yet_stays(tmp_path: Path) -> None:
    (tmp_path / ".draft-bare").mkdir()
    (tmp_path / ".draft-begun").mkdir()
    (tmp_path / ".draft-begun" / ".owner").touch()
    with temporary_folder(tmp_path, ".draft-"):
        names = {path.name for path in tmp_path.iterdir()}
    assert {".draft-bare", ".draft-begun"} <= names
    for left, age_s in ((".draft-bare", 3_600), (".draft-begun", -3_600)):  # or a clock was ahead
        os.utime(tmp_path / left, (time.time() - age_s,) * 2)
    with temporary_folder(tmp_path, ".draft-") as folder:
        assert list(tmp_path.iterdir()) == [folder]
