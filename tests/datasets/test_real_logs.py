"""The shipped datasets, row for row."""

from pathlib import Path

import pyarrow as pa
import pytest

from chronotope.datasets.loading import load_spec
from chronotope.datasets.normalise import normalise
from chronotope.datasets.occurrences import OCCURRENCE, OccurrenceCounter
from chronotope.datasets.readers import read_events, read_items, read_users
from tests.real_data import DATA_ROOT

ROOT = Path(__file__).parents[2]

# rows and items: measured on the source files with a query engine of its own
SHIPPED = [
    pytest.param("complete_journey", 1_469_307, 92_331, 801, marks=pytest.mark.slow),
    pytest.param("foursquare_nyc", 113_344, 4_988, 0, marks=pytest.mark.data),
    pytest.param("movielens_100k", 100_000, 1_682, 943, marks=pytest.mark.data),
    pytest.param("hospital", 150_291, 0, 0, marks=pytest.mark.data),
    pytest.param("oulad_slice", 13_905, 6_364, 396, marks=pytest.mark.data),
    pytest.param("card_payments", 1_466_282, 0, 0, marks=[pytest.mark.data, pytest.mark.slow]),
]


@pytest.mark.parametrize(("name", "n_events", "n_items", "n_users"), SHIPPED)
def test_every_row_becomes_one_event(name: str, n_events: int, n_items: int, n_users: int) -> None:
    given = None if name == "complete_journey" else DATA_ROOT / name
    if given is not None and not given.is_dir():
        pytest.skip(f"needs the data folder {given}")
    spec = load_spec(name, conf_dir=ROOT / "conf" / "datasets", data_dir=given)
    batches = [normalise(spec, raw) for raw in read_events(spec)]
    counter = OccurrenceCounter() if OCCURRENCE in spec.identity else None
    ids = pa.chunked_array(
        [
            chunk if counter is None else counter.distinct_ids(chunk)
            for b in batches
            for chunk in b.rows["event_id"].chunks
        ]
    )
    assert sum(b.refused.num_rows for b in batches) == 0
    assert len(ids) == len(ids.unique()) == n_events
    assert (read_items(spec).num_rows, read_users(spec).num_rows) == (n_items, n_users)
