"""docs/concepts/code-map.md: its paths exist, are short, and the imports follow them."""

import itertools
import re
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PAGE = (PROJECT / "docs" / "concepts" / "code-map.md").read_text(encoding="utf-8")
MOST_FILES = 8


def path_of(title: str) -> list[str]:
    """Files of a numbered list below a heading, in order."""
    section = PAGE.split(f"## {title}\n")[1].split("\n## ")[0]
    return re.findall(r"^\d+\. `([^`]+)`", section, re.MULTILINE)


@pytest.mark.parametrize(
    "title", ["From the training flow to a metric", "From `POST /recommend` to the ONNX session"]
)
def test_each_file_imports_the_next(title: str) -> None:
    files = path_of(title)
    assert 3 < len(files) <= MOST_FILES
    for file, following in itertools.pairwise(files):
        module = following.removeprefix("components/").removesuffix(".py").replace("/", ".")
        source = (PROJECT / file).read_text(encoding="utf-8")
        assert f"from {module} import" in source, (file, module)
    assert (PROJECT / files[-1]).is_file()


def test_places_of_changes_exist() -> None:
    table = PAGE.split("## Where does a change belong?")[1]
    places = re.findall(r"`((?:[a-z_]+/)+[a-z_]*(?:\.py)?)`", table)
    assert len(places) > 8
    package = PROJECT / "components" / "chronotope"
    missing = [p for p in places if not ((PROJECT / p).exists() or (package / p).exists())]
    assert missing == []
