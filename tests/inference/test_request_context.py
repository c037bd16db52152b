"""What surrounds a request is looked up where the user was last, unless it is told."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from chronotope.cli.recommend import parse_context
from chronotope.contracts.errors import ConfigError
from chronotope.inference.recommend import recommend
from chronotope.inference.request import RecommendOptions
from tests.inference.hand_made import LAST_S, fill_lake, write_hand_made_bundle
from tests.inference.weather import Weathered, add_readings, weathered

AT = datetime.fromtimestamp(LAST_S, UTC) + timedelta(hours=6)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    fill_lake(tmp_path)
    write_hand_made_bundle(tmp_path / "bundle")
    return tmp_path


def ask(root: Path, user: str = "u00", **told: float) -> dict[str, float]:
    wish, load = RecommendOptions(context=told), lambda root, _: weathered(root / "bundle")
    recommend(root, "city", user, AT, options=wish, load=load)
    return Weathered.told()


def test_the_reading_of_the_last_place_at_the_moment(root: Path) -> None:
    add_readings(root)
    assert ask(root) == {"rain_mm": 2.0}  # i02's, not i01's, and none of the future


def test_what_is_told_counts_more_than_the_lake(root: Path) -> None:
    add_readings(root)
    assert ask(root, rain_mm=9.0, temperature_c=-1.0) == {"rain_mm": 9.0, "temperature_c": -1.0}


def test_a_stranger_and_a_lake_without_readings_know_nothing(root: Path) -> None:
    assert ask(root) == {}
    add_readings(root)
    assert ask(root, "nobody") == {}


def test_a_column_nobody_listens_to_is_refused(root: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"\['moon'\].*Its context columns are: rain_mm, temperature_c"
    ):
        ask(root, moon=1.0)


def test_context_of_the_command_line() -> None:
    assert parse_context(["rain_mm=2.5", "t=-1"]) == {"rain_mm": 2.5, "t": -1.0}
    with pytest.raises(ConfigError, match="COLUMN=NUMBER"):
        parse_context(["rain"])
