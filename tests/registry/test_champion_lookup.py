"""The champion without MLflow: the same as MLflow's client says, or no answer at all."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from chronotope.registry import champion_lookup
from chronotope.registry.champion_lookup import read_champion_record
from chronotope.registry.mlflow_store import MlflowStore
from chronotope.registry.model_versions import download_version, register_version
from chronotope.registry.promotion import promote, recover_promotion, rollback
from chronotope.registry.version_files import CHECKSUM, bundle_folder
from chronotope.runtime.store_urls import MLFLOW_URL
from tests.inference.hand_made import write_hand_made_bundle


def promote_version(store: MlflowStore, version: str, expected: str | None) -> None:
    promote(store, "city", version, expected_champion=expected, key=version, reason="test")


def assert_same_as_client(store: MlflowStore, version: str) -> None:
    record = read_champion_record(store.root, "city")
    registered = store.client.get_model_version_by_alias("city", "champion")
    assert record is not None
    assert (record.version, record.source) == (str(registered.version), registered.source)
    assert record.version == version
    assert record.checksum == registered.tags.get(CHECKSUM)
    folder = bundle_folder(store.root, record.source, record.checksum)
    assert folder == download_version(store, "city", version)


def test_it_is_what_the_client_says_after_each_promotion(city: MlflowStore, tmp_path: Path) -> None:
    assert read_champion_record(city.root, "city") is None  # nothing was promoted
    promote_version(city, "1", None)
    assert_same_as_client(city, "1")
    sealed = write_hand_made_bundle(tmp_path / "sealed")  # has a manifest, so a checksum
    with city.run("training", "fit") as tracker:
        register_version(city, name="city", bundle_dir=sealed, run_id=tracker.run_id, tags={})
    promote_version(city, "10", "1")
    assert_same_as_client(city, "10")
    rollback(city, "city", "worse")
    assert_same_as_client(city, "1")
    assert read_champion_record(city.root, "town") is None


@pytest.mark.parametrize("step", ["intent", "commit"])
def test_a_promotion_under_way_is_settled_by_the_client(city: MlflowStore, step: str) -> None:
    promote_version(city, "1", None)

    def interrupt(reached: str) -> None:
        if reached == step:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        promote(city, "city", "2", expected_champion="1", key="k", reason="test", on_step=interrupt)
    assert read_champion_record(city.root, "city") is None
    recover_promotion(city, "city")
    assert_same_as_client(city, "2")


def test_an_alias_that_left_the_journal_is_settled_by_the_client(city: MlflowStore) -> None:
    promote_version(city, "1", None)
    city.client.set_registered_model_alias("city", "champion", "3")
    assert read_champion_record(city.root, "city") is None
    city.client.delete_registered_model_alias("city", "champion")
    assert read_champion_record(city.root, "city") is None


def test_a_deleted_version_is_no_champion(city: MlflowStore) -> None:
    promote_version(city, "1", None)
    city.client.delete_model_version("city", "1")
    assert read_champion_record(city.root, "city") is None
    with closing(sqlite3.connect(city.root / "mlflow.db")) as database, database:
        database.execute(
            "INSERT INTO registered_model_aliases VALUES ('champion', 1, 'city', 'default')"
        )
    assert read_champion_record(city.root, "city") is None


def test_a_registry_on_a_server_is_asked_by_the_client(
    city: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote_version(city, "1", None)
    monkeypatch.setenv(MLFLOW_URL, "postgresql://ada@db/mlflow")
    assert read_champion_record(city.root, "city") is None


def test_a_database_that_cannot_be_read_is_left_to_the_client(
    city: MlflowStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    promote_version(city, "1", None)
    monkeypatch.setattr(champion_lookup, "_BUSY_S", 0.05)
    with closing(sqlite3.connect(city.root / "mlflow.db")) as database:
        database.execute("BEGIN EXCLUSIVE")
        assert read_champion_record(city.root, "city") is None
        database.execute("ROLLBACK")
        database.execute("ALTER TABLE model_versions RENAME COLUMN source TO place")
    assert read_champion_record(city.root, "city") is None
    (city.root / "mlflow.db").write_bytes(b"no database")
    assert read_champion_record(city.root, "city") is None
    (city.root / "mlflow.db").unlink()
    assert read_champion_record(city.root, "city") is None
