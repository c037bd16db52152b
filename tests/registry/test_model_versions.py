"""A bundle becomes a version and comes back."""

from pathlib import Path

import pytest

from chronotope.artifact.bundle import bundle_checksum, read_manifest, write_bundle
from chronotope.contracts.errors import ArtifactError, StoreError
from chronotope.registry.mlflow_store import MlflowStore
from chronotope.registry.model_versions import download_version, find_registered, register_version
from chronotope.registry.promotion import set_challenger
from chronotope.testing.recommender_suite import sample_catalog
from tests.inference.hand_made import write_hand_made_bundle


def test_bundle_comes_back_whole(store: MlflowStore, bundle: Path) -> None:
    with store.run("training", "fit") as tracker:
        made = register_version(
            store,
            name="city",
            bundle_dir=bundle,
            run_id=tracker.run_id,
            tags={"data_version": "7"},
        )
    set_challenger(store, "city", made.version)
    for ref in ("1", "challenger"):
        folder = download_version(store, "city", ref)
        assert (folder / "model.onnx").read_bytes() == b"graph"
        assert (folder / "ids" / "items.txt").read_text() == "a\nb\n"
    assert store.client.get_model_version("city", "1").tags["data_version"] == "7"


def test_each_registration_is_a_new_version(city: MlflowStore) -> None:
    versions = city.client.search_model_versions("name = 'city'")
    assert sorted(int(v.version) for v in versions) == list(range(1, 10))


def test_the_latest_version_with_all_tags_is_found(store: MlflowStore, bundle: Path) -> None:
    for training in ("x", "y", "y"):
        run = store.client.create_run("0").info.run_id
        tags = {"training": training, "graph": "g"}
        register_version(store, name="city", bundle_dir=bundle, run_id=run, tags=tags)
    assert find_registered(store, "city", {"training": "y", "graph": "g"}) == ("3", run)
    assert store.client.get_run(run).info.status == "FINISHED"
    assert find_registered(store, "city", {"training": "y", "graph": "h"}) is None
    assert find_registered(store, "town", {}) is None


def test_an_empty_bundle_is_refused(store: MlflowStore, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArtifactError, match="no bundle"):
        register_version(store, name="city", bundle_dir=tmp_path / "empty", run_id="-", tags={})


def test_a_manifest_that_was_replaced_is_refused(store: MlflowStore, tmp_path: Path) -> None:
    """Also one that vouches for itself and for every file: the registry knows the first one."""
    bundle = write_hand_made_bundle(tmp_path / "sealed")
    with store.run("training", "fit") as tracker:
        register_version(store, name="city", bundle_dir=bundle, run_id=tracker.run_id, tags={})
    folder = download_version(store, "city", "1")
    assert store.client.get_model_version("city", "1").tags["bundle"] == bundle_checksum(bundle)
    about = {"name": "hand", "dataset": "city", "data_version": "2", "history_len": 8}
    write_bundle(folder, sample_catalog(), trained_until_s=0, **about)
    read_manifest(folder)
    with pytest.raises(ArtifactError, match=r"not the one that was registered.*Roll back"):
        download_version(store, "city", "1")


@pytest.mark.parametrize("ref", ["99", "champion"])
def test_an_unknown_version_is_refused(city: MlflowStore, ref: str) -> None:
    with pytest.raises(StoreError, match="no such model version"):
        download_version(city, "city", ref)
