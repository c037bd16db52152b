"""``chronotope recommend``: ids beside titles, and ids that begin with a dash."""

from datetime import UTC, datetime
from io import StringIO

import pytest
from typer.testing import CliRunner

from chronotope.cli.main import app
from chronotope.cli.output.terminal import TerminalConsole
from chronotope.cli.recommend import _show
from chronotope.inference.request import Recommendation, RecommendedItem


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
