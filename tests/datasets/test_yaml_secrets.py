"""A YAML file that is wrong is told by its line, which is not quoted."""

from pathlib import Path

import pytest

from chronotope.contracts.errors import ConfigError
from chronotope.datasets.strict_yaml import read_yaml

HIDDEN = "s3cret"
URL = f"postgresql://ada:{HIDDEN}@db/shop"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (f'url: "{URL}\n', "unexpected end of stream, line 2"),
        (f"name: x\nurl: @{URL}\n", "cannot start any token, line 2"),
        (f"a:\n - b\n url: {URL}", "expected <block end>.*, line 3"),
        (f"url: {URL} \x00", "ReaderError"),
    ],
)
def test_no_line_is_quoted(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "shop.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=problem) as caught:
        read_yaml(path)
    assert HIDDEN not in str(caught.value)
    assert caught.value.__cause__ is None


def test_what_cannot_be_read_is_an_error_and_what_can_is_its_content(tmp_path: Path) -> None:
    path = tmp_path / "shop.yaml"
    with pytest.raises(ConfigError, match="Cannot read"):
        read_yaml(path)
    path.write_bytes(b"\xff")
    with pytest.raises(ConfigError, match="Cannot read"):
        read_yaml(path)
    path.write_text("a: 1")
    assert read_yaml(path) == {"a": 1}
