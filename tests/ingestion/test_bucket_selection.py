"""Noise, k-core and opt-out of a lake in buckets are those of all its events together."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from chronotope.contracts.errors import StoreError
from chronotope.ingestion import NoiseConfig
from chronotope.ingestion.bucket_selection import KEEP_MASK, BucketSelection, select_bucket_events
from chronotope.ingestion.consent import select_events
from chronotope.lake import Lake
from chronotope.lake.privacy import add_to_user_list
from chronotope.lake.table_schemas import OPTED_OUT_USERS
from chronotope.runtime.engine import EngineConfig, LocalEngine, open_engine
from chronotope.runtime.engine.protocol import Engine
from chronotope.runtime.stored_arrays import load_arrays
from tests.features.buckets.bucketed_lake import lake_in_buckets, random_log

STRICT = NoiseConfig(repeat_s=20_000, max_speed_km_h=3, max_events_per_h=4, min_events=0)
CORES = (0, 3, 12)
"""Least numbers of events: no k-core, one after several steps, and an empty one."""


@pytest.fixture(scope="module")
def lakes(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Lake]:
    """The same events in each number of buckets."""
    rows = random_log(3_000)
    items = pa.array([f"i{n}" for n in np.random.default_rng(1).integers(0, 700, len(rows))])
    rows = rows.set_column(rows.column_names.index("item_id"), "item_id", items)
    folder = tmp_path_factory.mktemp("lakes")
    return {n: lake_in_buckets(folder / str(n), rows, n) for n in (1, 4, 16)}


@pytest.fixture(scope="module")
def workers() -> Iterator[Engine]:
    with open_engine(EngineConfig(kind="processes", n_workers=2)) as engine:
        yield engine


def selected_ids(lake: Lake, selection: BucketSelection) -> list[str]:
    """Ids of the events that the masks keep, sorted."""
    ids: list[str] = []
    for bucket, mask_path in enumerate(selection.mask_paths):
        bucket_ids = lake.bucket_rows(bucket).to_table(columns=["event_id"])["event_id"]
        if mask_path is not None:
            bucket_ids = bucket_ids.filter(pa.array(load_arrays(mask_path)[KEEP_MASK]))
        ids += bucket_ids.to_pylist()
    return sorted(ids)


def whole_selection(
    lake: Lake, config: NoiseConfig, anomalous_ids: Sequence[str]
) -> tuple[list[str], BucketSelection]:
    """Ids and selection of a lake without buckets."""
    whole = select_events(lake, lake.table_version("events"), config, anomalous_ids)
    ids = lake.read("events", columns=["event_id"])["event_id"]
    if whole.keep_mask is not None:
        ids = ids.filter(pa.array(whole.keep_mask))
    return sorted(ids.to_pylist()), BucketSelection((None,), whole.noise, whole.snapshot_key)


@pytest.mark.parametrize("min_events", CORES)
def test_masks_and_counts_are_those_without_buckets(
    lakes: dict[int, Lake], tmp_path: Path, min_events: int
) -> None:
    config = STRICT.model_copy(update={"min_events": min_events})
    anomalous_ids = [f"{n:032x}" for n in range(5)]
    expected_ids, expected = whole_selection(lakes[1], config, anomalous_ids)
    assert all(expected.noise.dropped[reason] for reason in ("repeat", "speed", "rate"))
    assert expected.noise.dropped["labelled anomalous"] == 5
    for n_buckets in (4, 16):
        lake, masks_dir = lakes[n_buckets], tmp_path / str(n_buckets)
        masks_dir.mkdir()
        selection = select_bucket_events(
            LocalEngine(), lake, lake.table_version("events"), config, anomalous_ids, masks_dir
        )
        assert selection.noise == expected.noise
        assert selected_ids(lake, selection) == expected_ids


def test_the_core_of_the_test_takes_several_steps_and_can_be_empty(
    lakes: dict[int, Lake],
) -> None:
    sizes = [len(whole_selection(lakes[1], NoiseConfig(min_events=n), ())[0]) for n in (0, 3, 12)]
    assert sizes[0] > sizes[1] > sizes[2] == 0


def test_worker_processes_select_the_same_events(
    lakes: dict[int, Lake], tmp_path: Path, workers: Engine
) -> None:
    config = STRICT.model_copy(update={"min_events": 3})
    lake = lakes[4]
    selections = []
    for name, engine in (("local", LocalEngine()), ("workers", workers)):
        (tmp_path / name).mkdir()
        selections.append(
            select_bucket_events(
                engine, lake, lake.table_version("events"), config, (), tmp_path / name
            )
        )
    assert selections[0].noise == selections[1].noise
    assert selected_ids(lake, selections[0]) == selected_ids(lake, selections[1])


def test_clean_buckets_have_no_mask(lakes: dict[int, Lake], tmp_path: Path) -> None:
    lake = lakes[4]
    calm = NoiseConfig(max_speed_km_h=1e9)
    version = lake.table_version("events")
    selection = select_bucket_events(LocalEngine(), lake, version, calm, (), tmp_path)
    assert selection.mask_paths == (None,) * 4
    assert selection.noise.n_kept == 3_000
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("min_events", [0, 3])
def test_users_who_opted_out_are_left_out_and_are_no_noise(tmp_path: Path, min_events: int) -> None:
    rows = random_log(1_000)
    config = NoiseConfig(min_events=min_events)
    plain, bucketed = (lake_in_buckets(tmp_path / str(n), rows, n) for n in (1, 4))
    for lake in (plain, bucketed):
        add_to_user_list(lake, OPTED_OUT_USERS, ["u1", "u3"])
    expected_ids, expected = whole_selection(plain, config, ())
    masks_dir = tmp_path / "masks"
    masks_dir.mkdir()
    selection = select_bucket_events(
        LocalEngine(), bucketed, bucketed.table_version("events"), config, (), masks_dir
    )
    assert selected_ids(bucketed, selection) == expected_ids
    assert selection.noise == expected.noise
    assert selection.snapshot_key.startswith(",opted_out=")


def test_a_version_that_is_not_there_is_an_error(lakes: dict[int, Lake], tmp_path: Path) -> None:
    version = lakes[16].table_version("events")
    with pytest.raises(StoreError, match="was replaced"):
        select_bucket_events(LocalEngine(), lakes[4], version, NoiseConfig(), (), tmp_path)
