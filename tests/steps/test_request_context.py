"""What surrounds a request is looked up where the user was last, unless it is told."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from chronotope.artifact.bundle import read_vocabulary
from chronotope.artifact.onnx_recommender import Answers, OnnxRecommender
from chronotope.cli.recommend import parse_context
from chronotope.contracts.errors import ConfigError
from chronotope.contracts.eventlog import Float32
from chronotope.contracts.queries import Queries
from chronotope.contracts.schemas import INSTANT
from chronotope.contracts.workspace import Workspace
from chronotope.lake import Lake
from chronotope.steps.answers import Wish
from chronotope.steps.champion import Champion
from chronotope.steps.recommend import recommend
from tests.steps.hand_made import LAST_S, fill_lake, write_hand_made_bundle

AT = datetime.fromtimestamp(LAST_S, UTC) + timedelta(hours=6)
READINGS = [(LAST_S, "i01", 1.0), (LAST_S + 3600, "i02", 2.0), (LAST_S + 7 * 3600, "i02", 3.0)]


class Weathered(OnnxRecommender):
    """Listens to the rain, and keeps what it was asked."""

    asked: dict[str, Float32]

    def answer(self, queries: Queries) -> Answers:
        type(self).asked = queries.context
        return super().answer(queries)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    fill_lake(tmp_path)
    write_hand_made_bundle(tmp_path / "bundle")
    second, place, rain = zip(*READINGS, strict=True)
    at = pa.array([1_000_000 * s for s in second])
    columns = {"event_id": ["a", "b", "c"], "occurred_at": at.cast(INSTANT)}
    columns |= {"valid_until": pa.array(at.to_numpy() + 10 * 3_600_000_000).cast(INSTANT)}
    columns |= {"place_id": place, "rain_mm": rain, "temperature_c": [None] * 3}
    Lake(Workspace(tmp_path).lake("city")).upsert_surroundings(
        pa.table(columns).cast(
            pa.schema(
                [
                    ("event_id", pa.string()),
                    ("occurred_at", INSTANT),
                    ("valid_until", INSTANT),
                    ("place_id", pa.string()),
                    ("rain_mm", pa.float64()),
                    ("temperature_c", pa.float64()),
                ]
            )
        )
    )
    return tmp_path


def ask(root: Path, user: str = "u00", **told: float) -> dict[str, float]:
    def load(root: Path, dataset: str) -> Champion:
        opened = OnnxRecommender.load(root / "bundle")
        columns = ("rain_mm", "temperature_c", "never_ingested")
        manifest = opened.manifest.model_copy(update={"context": columns})
        model = Weathered(opened.session, manifest)
        model.feed = lambda queries: OnnxRecommender.feed(opened, queries)  # type: ignore[method-assign]
        return Champion("1", model, read_vocabulary(root / "bundle"))

    recommend(root, "city", user, AT, wish=Wish(context=told), load=load)
    return {name: float(of[0]) for name, of in Weathered.asked.items()}


def test_the_reading_of_the_last_place_at_the_moment(root: Path) -> None:
    assert ask(root) == {"rain_mm": 2.0}  # i02's, not i01's, and none of the future


def test_what_is_told_counts_more_than_the_lake(root: Path) -> None:
    assert ask(root, rain_mm=9.0, temperature_c=-1.0) == {"rain_mm": 9.0, "temperature_c": -1.0}


def test_a_stranger_and_a_lake_without_readings_know_nothing(root: Path) -> None:
    assert ask(root, "nobody") == {}


def test_a_column_nobody_listens_to_is_refused(root: Path) -> None:
    with pytest.raises(ConfigError, match=r"\['moon'\].*It listens to: rain_mm, temperature_c"):
        ask(root, moon=1.0)


def test_context_of_the_command_line() -> None:
    assert parse_context(["rain_mm=2.5", "t=-1"]) == {"rain_mm": 2.5, "t": -1.0}
    with pytest.raises(ConfigError, match="COLUMN=NUMBER"):
        parse_context(["rain"])
