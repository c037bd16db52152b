"""Readings in a hand-made lake, and a champion that listens to them."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from chronotope.artifact.bundle import read_vocabulary
from chronotope.artifact.onnx_recommender import ModelOutput, OnnxRecommender
from chronotope.contracts.event_log import Float32
from chronotope.contracts.queries import Queries
from chronotope.contracts.schemas import INSTANT
from chronotope.lake import Lake
from chronotope.registry.champion import Champion
from chronotope.runtime.workspace import Workspace
from tests.inference.hand_made import LAST_S

COLUMNS = ("rain_mm", "temperature_c", "never_ingested")
READINGS = [(LAST_S, "i01", 1.0), (LAST_S + 3600, "i02", 2.0), (LAST_S + 7 * 3600, "i02", 3.0)]
_SCHEMA = pa.schema(
    [
        ("event_id", pa.string()),
        ("occurred_at", INSTANT),
        ("valid_until", INSTANT),
        ("place_id", pa.string()),
        ("rain_mm", pa.float64()),
        ("temperature_c", pa.float64()),
    ]
)


class Weathered(OnnxRecommender):
    """Keeps what it was told of the weather; its graph does not listen."""

    asked: dict[str, Float32]

    def answer(self, queries: Queries) -> ModelOutput:
        type(self).asked = queries.context
        return super().answer(queries)

    def feed(self, queries: Queries) -> dict[str, object]:  # type: ignore[override]
        return {k: v for k, v in super().feed(queries).items() if k != "context"}

    @classmethod
    def told(cls) -> dict[str, float]:
        return {name: float(of[0]) for name, of in cls.asked.items()}


def weathered(folder: Path) -> Champion:
    opened = OnnxRecommender.load(folder)
    manifest = opened.manifest.model_copy(update={"context": COLUMNS})
    return Champion("1", Weathered(opened.session, manifest), read_vocabulary(folder))


def add_readings(root: Path, rows: Sequence[tuple[int, str, float]] = READINGS) -> None:
    """Rain at some seconds and places, each for ten hours."""
    table = pa.Table.from_pylist(
        [
            {
                "event_id": f"{second} {place}",
                "occurred_at": second * 1_000_000,
                "valid_until": (second + 36_000) * 1_000_000,
                "place_id": place,
                "rain_mm": rain,
            }
            for second, place, rain in rows
        ],
        schema=pa.schema([(f.name, pa.int64() if f.type == INSTANT else f.type) for f in _SCHEMA]),
    )
    Lake(Workspace(root).lake("city")).upsert_context(table.cast(_SCHEMA))
