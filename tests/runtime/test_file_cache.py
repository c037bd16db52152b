"""What is slow to make is made once, also by two processes, and never read damaged."""

import multiprocessing
import os
import time
from pathlib import Path

import pytest

from chronotope.runtime.file_cache import ContentCache, FileCache, MemoryCache


class Maker:
    """Makes another content each time."""

    def __init__(self) -> None:
        self.n_made = 0

    def __call__(self) -> bytes:
        self.n_made += 1
        return b"content %d" % self.n_made


@pytest.mark.parametrize("in_memory", [True, False])
def test_content_is_made_once_for_each_key(in_memory: bool, tmp_path: Path) -> None:
    cache: ContentCache = MemoryCache() if in_memory else FileCache(tmp_path / "cache")
    make = Maker()
    assert [cache.get_or_make(key, make) for key in "aba"] == [
        b"content 1",
        b"content 2",
        b"content 1",
    ]


def test_a_damaged_file_is_made_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    cache, make = FileCache(tmp_path), Maker()
    cache.get_or_make("a", make)
    (file_path,) = tmp_path.glob("a*")
    for damaged in (file_path.read_bytes()[:-1] + b"?", b"", file_path.read_bytes()[:-3]):
        file_path.write_bytes(damaged)
        assert cache.get_or_make("a", make) == b"content %d" % make.n_made
    assert make.n_made == 4
    assert len(caplog.records) == 3


@pytest.mark.parametrize("in_memory", [True, False])
def test_the_entry_unused_for_longest_goes(in_memory: bool, tmp_path: Path) -> None:
    cache = MemoryCache(max_entries=2) if in_memory else FileCache(tmp_path, max_entries=2)
    make = Maker()
    for key in "abac":
        cache.get_or_make(key, make)
        time.sleep(0.01)  # files know the time of their use
    assert cache.get_or_make("a", make) == b"content 1"
    assert cache.get_or_make("b", make) == b"content 4"


def test_a_folder_that_cannot_be_used_costs_time_alone(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    cache, make = FileCache(tmp_path / "file"), Maker()
    assert cache.get_or_make("a", make) == b"content 1"
    assert cache.get_or_make("a", make) == b"content 2"


def make_slowly(folder: Path) -> None:
    def make() -> bytes:
        with (folder / "made").open("a") as made:
            made.write("x")
        time.sleep(0.5)
        return str(os.getpid()).encode()

    FileCache(folder / "cache").get_or_make("a", make)


def test_two_processes_make_content_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=make_slowly, args=(tmp_path,)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert (tmp_path / "made").read_text() == "x"
