"""YAML files: whatever they hold, one clear error and no traceback, in little time."""

import os
from functools import partial
from pathlib import Path

import pytest

from chronotope.contracts.errors import ConfigError
from chronotope.datasets.loading import load_spec
from chronotope.datasets.strict_yaml import MAX_BYTES, MAX_DEPTH, read_yaml
from chronotope.pipelines.settings import read_train_settings

BOMB = "\n".join(
    ["a0: &a0 [lol]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
)
MERGE_BOMB = "\n".join(
    ["a0: &a0 {lol: 1}"]
    + [f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 10)}]}}" for n in range(1, 10)]
)


def write(folder: Path, text: str) -> Path:
    (folder / "some.yaml").write_text(text, encoding="utf-8")
    return folder / "some.yaml"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: {c: 1, c: 2}", r"key 'c' is repeated \(line 2\)"),
        ("a: 1\n'a': 2", "key 'a' is repeated"),
        ("start: 2024-02-30", "day is out of range"),
        ("start: 2024-01-01T25:00:00Z", "hour must be in"),
        (f"n: {'9' * 5000}", "digits"),
        ("[" * 5_000 + "]" * 5_000, f"more than {MAX_DEPTH} levels"),
        ("[" * (MAX_DEPTH + 1) + "]" * (MAX_DEPTH + 1), f"more than {MAX_DEPTH} levels"),
        (BOMB, "aliases expand to more than"),
        (MERGE_BOMB, "aliases expand to more than"),
        ("a: &a [*a]", "contains itself"),
        ("a: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("a: [", r"expected the node content.*line 1"),
        ("{[1]: 2}", "unhashable"),
        ("x" * (MAX_BYTES + 1), f"larger than {MAX_BYTES:,} bytes"),
    ],
    ids=lambda value: value[:24],
)
def test_what_cannot_be_is_refused_with_its_reason(tmp_path: Path, text: str, problem: str) -> None:
    path = write(tmp_path, text)
    for read in (read_yaml, load_spec):
        with pytest.raises(ConfigError, match=f"(?s)Cannot read.*{problem}"):
            read(path)


def test_a_missing_file_has_one_way_out(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yaml"
    for read in (read_yaml, partial(read_train_settings, root=tmp_path)):
        with pytest.raises(ConfigError) as caught:
            read(missing)
        wanted = f"Cannot read {missing}. Received: there is no such file. Correct the path."
        assert str(caught.value) == wanted


def test_what_is_no_regular_file_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.yaml")
    for path, kind in ((tmp_path / "pipe.yaml", "a named pipe"), (tmp_path, "a folder")):
        with pytest.raises(ConfigError, match=f"it is {kind}, no regular file"):
            read_yaml(path)


def test_anchors_and_merge_keys_stay_what_they_are(tmp_path: Path) -> None:
    text = "base: &base {a: 1, b: 2}\nmore: {<<: *base, b: 3}\ntwice: [*base, *base]\nempty:"
    base, more = {"a": 1, "b": 2}, {"a": 1, "b": 3}
    told = {"base": base, "more": more, "twice": [base, base], "empty": None}
    assert read_yaml(write(tmp_path, text)) == told
    assert read_yaml(write(tmp_path, "")) is None


def test_a_name_that_is_no_file_name_is_no_dataset(tmp_path: Path) -> None:
    for name in ("x" * 5_000, "a\0b", "../" * 3_000):
        with pytest.raises(ConfigError, match="No such dataset"):
            load_spec(name, conf_dir=tmp_path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"time: %Y-%m-%d", "line 1, column 7. Put the text in double quotes"),
        (b"a:\n\tb: 1", "Indent with spaces"),
        (b'a: "\\d"', "single quotes"),
        (b"a: b: c", "colon and a blank in quotes"),
        (b"path: *.csv", "begins with"),
        (b"a: 1\n b: 2", "equally"),
        (b"a: @x", "in quotes"),
        ("a: Café".encode("latin-1"), "byte 0xe9, which is not UTF-8. Save the YAML file as UTF-8"),
        ("a: Café".encode("utf-16"), "UTF-16"),
        (b"a: 1\nb: 2\na: 3", "first written in line 1"),
    ],
)
def test_the_way_out_of_what_people_write(tmp_path: Path, content: bytes, problem: str) -> None:
    (tmp_path / "some.yaml").write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        read_yaml(tmp_path / "some.yaml")
    assert problem in str(caught.value)
