"""A large log is mapped from files that processes share, and no damage of them is ever read."""

import logging
from pathlib import Path

import numpy as np
import pytest

from chronotope.contracts.event_log import EventLog
from chronotope.features import shared_columns
from chronotope.features.build import FeatureRef, build_features
from chronotope.features.shared_columns import COLUMNS_DIR
from chronotope.features.snapshot import load_features
from chronotope.features.sources import FeaturesConfig
from tests.damage import flips
from tests.features.buckets.bucketed_lake import random_log


@pytest.fixture
def snapshot(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FeatureRef:
    monkeypatch.setattr(shared_columns, "MIN_SHARED_EVENTS", 1_000)
    config = FeaturesConfig(context=("quantity",))
    return build_features(random_log(1_000), None, config=config, out=tmp_path)


def same_log(one: EventLog, other: EventLog) -> bool:
    return all(
        np.array_equal(column, other._arrays()[name], equal_nan=column.dtype.kind == "f")
        for name, column in one._arrays().items()
    )


def is_mapped(array: np.ndarray) -> bool:
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap):
            return True
        array = array.base
    return False


def test_a_large_log_is_mapped_and_equal(snapshot: FeatureRef) -> None:
    in_memory = load_features(snapshot.path, shares_columns=False)[0]
    assert not (snapshot.path / COLUMNS_DIR).exists()
    for _ in range(2):  # written, then read
        mapped = load_features(snapshot.path)[0]
        assert same_log(mapped, in_memory)
        assert all(is_mapped(column) for column in mapped._arrays().values())
        assert not mapped.item_idx.flags.writeable


def test_a_small_log_is_read_into_memory(
    snapshot: FeatureRef, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_columns, "MIN_SHARED_EVENTS", 1_001)
    assert not is_mapped(load_features(snapshot.path)[0].item_idx)
    assert not (snapshot.path / COLUMNS_DIR).exists()


def test_no_changed_byte_of_a_column_is_read(
    snapshot: FeatureRef, caplog: pytest.LogCaptureFixture
) -> None:
    in_memory = load_features(snapshot.path, shares_columns=False)[0]
    load_features(snapshot.path)
    for path in sorted((snapshot.path / COLUMNS_DIR).iterdir()):
        content = path.read_bytes()
        for _ in flips(path, 6):
            assert same_log(load_features(snapshot.path)[0], in_memory)
            path.write_bytes(content)  # for the next one
    assert "are written again" in caplog.text


def test_columns_of_another_table_are_written_again(snapshot: FeatureRef, tmp_path: Path) -> None:
    load_features(snapshot.path)
    config = FeaturesConfig(context=("quantity",))
    other = build_features(random_log(1_500), None, config=config, out=tmp_path)
    (snapshot.path / COLUMNS_DIR).rename(other.path / COLUMNS_DIR)
    assert len(load_features(other.path)[0]) == 1_500


def test_a_folder_that_cannot_be_written_is_no_error(
    snapshot: FeatureRef, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "save", refuse)
    caplog.set_level(logging.INFO)
    assert not is_mapped(load_features(snapshot.path)[0].item_idx)
    assert "No space left" in caplog.text
    assert not (snapshot.path / COLUMNS_DIR).exists()


def test_only_the_latest_snapshots_keep_their_files(tmp_path: Path, snapshot: FeatureRef) -> None:
    config = FeaturesConfig(context=("quantity",))
    sizes = (1_000, 1_100, 1_200, 1_300)
    refs = [build_features(random_log(n), None, config=config, out=tmp_path) for n in sizes]
    held = load_features(refs[0].path)[0]
    for ref in refs[1:]:
        load_features(ref.path)
    assert [(ref.path / COLUMNS_DIR).exists() for ref in refs] == [False, False, True, True]
    assert held.item_idx.min() >= 1  # mapped files that were removed stay readable
