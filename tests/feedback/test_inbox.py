"""The inbox: odd entries are set aside with a reason, and each line is taken in once."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from chronotope.feedback import inbox as module
from chronotope.feedback import intake
from chronotope.feedback.inbox import Inbox
from chronotope.feedback.intake import IntakeReport
from chronotope.feedback.watermark import Watermark, read_watermark, write_watermark
from tests.feedback.test_intake import Cafe, dying, event

NOBODY = 65_534


@pytest.fixture
def cafe(tmp_path: Path) -> Cafe:
    cafe = Cafe(tmp_path)
    cafe.drop("good.jsonl", [line(0), line(1)])
    return cafe


def line(minute: int) -> str:
    return json.dumps(event("ann", minute))


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("folder", "it is a folder, no regular file"),
        ("pipe", "it is a named pipe, no regular file"),
        ("socket", "it is a socket, no regular file"),
        ("device", "leads out of the inbox"),
        ("dangling", "No such file or directory"),
        ("loop", "Too many levels of symbolic links"),
        ("outside", "leads out of the inbox"),
        ("pipe beside", "it is a named pipe, no regular file"),
        ("again", "a symbolic link to another file of the inbox"),
    ],
)
def test_an_odd_entry_is_set_aside_and_the_others_are_taken_in(
    cafe: Cafe, kind: str, reason: str
) -> None:
    make_odd(cafe.intake.inbox, kind)
    found = cafe.take()
    assert (found.n_new, list(found.set_aside)) == (2, ["a.jsonl"])
    assert reason in found.set_aside["a.jsonl"]
    assert cafe.take().n_read == 0


def make_odd(folder: Path, kind: str) -> None:
    path, outside = folder / "a.jsonl", folder.parent / "outside.jsonl"
    outside.write_text(line(7) + "\n")
    targets = {
        "device": "/dev/zero", "dangling": folder / "none", "loop": path, "outside": outside,
        "pipe beside": folder / "pipe", "again": folder / "good.jsonl",
    }  # fmt: skip
    if kind == "folder":
        path.mkdir()
    elif kind == "socket":
        os.chdir(folder)  # the path of a socket is short
        with socket.socket(socket.AF_UNIX) as of:
            of.bind("a.jsonl")
    else:
        os.mkfifo(folder / "pipe" if kind == "pipe beside" else path) if "pipe" in kind else None
        if kind in targets:
            path.symlink_to(targets[kind])


@pytest.fixture(autouse=True)
def where_it_was() -> Iterator[None]:
    folder = Path.cwd()
    yield
    os.chdir(folder)


@pytest.mark.parametrize(
    "name", ["a\nb.jsonl", "\x1b[31mred.jsonl", "\udcff.jsonl", "\u202e.jsonl"]
)
def test_a_name_that_cannot_be_shown_is_shown_escaped(cafe: Cafe, name: str) -> None:
    (cafe.intake.inbox / name).write_text(line(7) + "\n")
    found = cafe.take()
    (shown,) = found.set_aside
    assert found.n_new == 2
    assert (shown.isprintable(), shown.isascii()) == (True, True)
    json.dumps(found.set_aside).encode("ascii")


def test_an_unreadable_file_is_set_aside() -> None:
    with TemporaryDirectory() as name:
        cafe = Cafe(Path(name))
        cafe.drop("good.jsonl", [line(0)])
        cafe.drop("locked.jsonl", [line(1)])
        (cafe.intake.inbox / "locked.jsonl").chmod(0)
        for path in (Path(name), *(p for p in Path(name).rglob("*") if p.is_dir())):
            path.chmod(0o755)
        with as_nobody():
            files = Inbox(cafe.intake.inbox)
            assert files.waiting(Watermark()) == ["good.jsonl"]
        assert files.set_aside == {"locked.jsonl": "Permission denied"}


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may read everything: be somebody else for a moment."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_line_that_is_half_written_waits_for_its_rest(cafe: Cafe) -> None:
    path, whole = cafe.intake.inbox / "good.jsonl", line(2)
    with path.open("a") as file:
        file.write(whole[:20])
    found = cafe.take()
    assert (found.n_read, found.n_new, found.n_quarantined) == (2, 2, 0)
    assert "20 bytes are not read yet" in found.set_aside["good.jsonl"]
    assert cafe.take() == IntakeReport(set_aside=found.set_aside)
    with path.open("a") as file:
        file.write(whole[20:] + "\n" + line(3))  # whole, though nothing ends it
    again = cafe.take()
    assert (again.n_read, again.n_new, again.set_aside) == (2, 2, {})
    assert cafe.take() == IntakeReport()


def test_what_a_file_grew_by_is_read_and_nothing_twice(cafe: Cafe) -> None:
    cafe.drop("good.jsonl", [line(0), "{half"])
    assert cafe.take().n_read == 2
    with (cafe.intake.inbox / "good.jsonl").open("a") as file:
        file.write(line(5) + "\n")
    found = cafe.take()
    assert (found.n_read, found.n_new, found.n_quarantined) == (1, 1, 0)
    cafe.drop("good.jsonl", [line(9)])  # another file of that name
    assert (cafe.take().n_new, cafe.sizes()) == (1, (3, 1))


def test_a_large_file_comes_in_pieces(cafe: Cafe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_DELIVERY_BYTES", 3 * len(line(10)))
    cafe.drop("good.jsonl", [line(n) for n in range(10, 31)])
    found = cafe.take()
    assert (found.n_read, found.n_new, found.set_aside) == (21, 21, {})
    cafe.drop("good.jsonl", [line(40), "x" * 1_000, line(41)])
    found = cafe.take()
    assert (found.n_new, list(found.set_aside)) == (1, ["good.jsonl"])
    assert "a line is longer than" in found.set_aside["good.jsonl"]


def test_a_file_that_grows_while_it_is_read_ends_where_it_ended(cafe: Cafe) -> None:
    files, path = Inbox(cafe.intake.inbox), cafe.intake.inbox / "good.jsonl"
    seen = 0
    for _, payloads, mark in files.deliveries(cafe.intake.mark_path):
        seen += len(payloads)
        with path.open("a") as file:
            file.write(line(50 + seen) + "\n")
        write_watermark(cafe.intake.mark_path, mark)
    assert seen == 2
    assert cafe.take().n_read == 1


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_kill_and_a_file_that_grew_since_quarantine_nothing_twice(
    cafe: Cafe, monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    cafe.drop("good.jsonl", ["{half", line(0)])
    with monkeypatch.context() as patched:
        patched.setattr(intake, "_deliver", dying(intake._deliver, when))
        with pytest.raises(KeyboardInterrupt):
            cafe.take()
    with (cafe.intake.inbox / "good.jsonl").open("a") as file:
        file.write("{more\n" + line(1) + "\n")
    cafe.drop("earlier.jsonl", [line(2)])  # before it by name; what was begun goes first
    cafe.take()
    assert cafe.sizes() == (3, 2)
    assert cafe.mark.begun is None


def test_a_watermark_of_an_earlier_version_knows_its_files(cafe: Cafe) -> None:
    cafe.take()
    mark = read_watermark(cafe.intake.mark_path)
    write_watermark(cafe.intake.mark_path, mark.model_copy(update={"sizes": {}}))
    assert cafe.take() == IntakeReport()


def test_an_inbox_that_is_no_folder_is_set_aside(tmp_path: Path) -> None:
    (tmp_path / "inbox").write_text("x")
    files = Inbox(tmp_path / "inbox")
    assert files.waiting(Watermark()) == []
    assert "the inbox cannot be read: Not a directory" in files.set_aside["."]
