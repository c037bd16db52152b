"""``chronotope recommend``: ids beside titles, and ids that begin with a dash."""

import json
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from chronotope.cli.main import app
from chronotope.cli.output.terminal import TerminalConsole
from chronotope.cli.recommend import _show
from chronotope.inference.request import Recommendation, RecommendedItem
from tests.inference.hand_made import fill_lake, register_twice


def shown(*titles: str) -> str:
    items = tuple(
        RecommendedItem(
            id=f"-{n}",
            title=title,
            probability=0.5,
            lat=None,
            lon=None,
            distance_km=None,
            category=None,
            reason="popular",
        )
        for n, title in enumerate(titles)
    )
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    recommendation = Recommendation("d", "1", "-88", moment, 3, items, None, (), ())
    output = StringIO()
    _show(TerminalConsole(file=output, width=120), recommendation)
    return " ".join(output.getvalue().replace("│", " ").split())


def test_ids_stand_beside_titles() -> None:
    assert "Green tea -0 50.0 %" in shown("Green tea", "")
    assert "2 -1 -1 50.0 %" in shown("Green tea", "")
    assert "1 -0 50.0 %" in shown("", "-1")


@pytest.mark.parametrize("words", [("--", "-88"), ("--user=-88",), ("--user", "-88")])
def test_a_negative_id_is_a_user(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, ["recommend", "--dataset", "no_such", *words])
    assert done.exit_code == 1
    assert "No such dataset" in done.stderr


def test_a_negative_id_before_the_dashes_names_the_way_out() -> None:
    done = CliRunner().invoke(app, ["recommend", "-88", "--dataset", "no_such"])
    assert done.exit_code == 2
    assert "chronotope recommend --dataset DATASET -- -88" in " ".join(
        done.output.replace("│", " ").split()
    )


@pytest.mark.parametrize("words", [(), ("7", "--user", "8")])
def test_exactly_one_user(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, ["recommend", "--dataset", "no_such", *words])
    assert done.exit_code == 1
    assert "Exactly one user" in done.stderr


def test_liked_items_attributes_and_a_wish_are_options(tmp_path: Path) -> None:
    fill_lake(tmp_path)
    register_twice(tmp_path)
    words = ["recommend", "--dataset", "city", "--user", "new", "--root", str(tmp_path), "-k", "2"]

    def invoke(*more: str) -> Result:
        return CliRunner().invoke(app, [*words, *more])

    liked = invoke("--like", "i00", "--like", "nowhere", "--json")
    assert liked.exit_code == 0, liked.output
    answer = json.loads(liked.stdout)
    assert [item["id"] for item in answer["items"]] == ["i01", "i02"]
    assert "1 of 2 liked items are unknown to the model." in answer["notes"]
    for more, problem in (
        (("--attribute", "age=25"), "reads no user attributes"),
        (("--attribute", "age"), "attribute cannot be read"),
        (("--wish", "quiet"), "needs items with encoded texts"),
    ):
        refused = invoke(*more)
        assert refused.exit_code == 1
        assert problem in " ".join(refused.stderr.split())
