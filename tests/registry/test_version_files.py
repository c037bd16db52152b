"""Models in an object store: written there, fetched once, promoted, and missed when gone."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from chronotope.contracts.errors import StoreError
from chronotope.registry.mlflow_store import MlflowStore
from chronotope.registry.model_versions import download_version, register_version
from chronotope.registry.promotion import current_champion, promote
from chronotope.registry.version_files import local_version_folder
from chronotope.runtime.store_urls import ARTIFACTS_URL
from tests.inference.hand_made import write_hand_made_bundle
from tests.s3 import BUCKET, S3, SECRET, running_s3

boto3 = pytest.importorskip("boto3", reason="needs boto3: the extra `scale`")


@pytest.fixture(scope="module")
def server() -> Iterator[S3]:
    with running_s3() as server:
        yield server


@pytest.fixture
def shop(
    store: MlflowStore, bundle: Path, server: S3, monkeypatch: pytest.MonkeyPatch
) -> MlflowStore:
    """A store whose model ``shop`` has one version, in a bucket."""
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv(ARTIFACTS_URL, f"s3://{BUCKET}/artifacts")
    with store.run("training", "fit") as tracker:
        register_version(store, name="shop", bundle_dir=bundle, run_id=tracker.run_id, tags={})
    return store


def test_a_bundle_comes_back_and_is_fetched_once(
    shop: MlflowStore, server: S3, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = download_version(shop, "shop", "1")
    assert (folder / "model.onnx").read_bytes() == b"graph"
    assert (folder / "ids" / "items.txt").read_text() == "a\nb\n"
    assert capsys.readouterr().err == ""
    assert not list((shop.root / "artifacts").iterdir())
    asked = server.log.stat().st_size
    assert download_version(shop, "shop", "1") == folder
    assert server.log.stat().st_size == asked
    assert [path.name for path in folder.parents[1].iterdir()] == [folder.parent.name]


def test_a_copy_that_is_damaged_is_fetched_again(shop: MlflowStore, tmp_path: Path) -> None:
    sealed = write_hand_made_bundle(tmp_path / "sealed")
    with shop.run("training", "fit") as tracker:
        register_version(shop, name="shop", bundle_dir=sealed, run_id=tracker.run_id, tags={})
    folder = download_version(shop, "shop", "2")
    for name in ("model.onnx", "manifest.json"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:-2])
        assert download_version(shop, "shop", "2") == folder
        assert (folder / name).read_bytes() == whole


def test_it_is_promoted_unless_its_files_are_gone(
    shop: MlflowStore, server: S3, bundle: Path
) -> None:
    promote(shop, "shop", "1", expected_champion=None, key="a", reason="first")
    assert current_champion(shop, "shop") == "1"
    with shop.run("training", "fit") as tracker:
        second = register_version(
            shop, name="shop", bundle_dir=bundle, run_id=tracker.run_id, tags={}
        )
    for key in server.keys(second.uri.removeprefix(f"s3://{BUCKET}/")):
        boto3.client("s3").delete_object(Bucket=BUCKET, Key=key)
    with pytest.raises(StoreError, match="is missing"):
        promote(shop, "shop", "2", expected_champion="1", key="b", reason="second")
    assert current_champion(shop, "shop") == "1"


@pytest.mark.parametrize("uri", ["s3://no-such-bucket/model", f"s3://{BUCKET}/no/such/model"])
def test_a_store_that_refuses_says_so_without_the_secret(
    uri: str, shop: MlflowStore, tmp_path: Path
) -> None:
    with pytest.raises(StoreError, match="AWS_ENDPOINT_URL") as raised:
        local_version_folder(uri, tmp_path / "kept")
    assert SECRET not in f"{raised.value} {raised.value.__cause__}"
    assert not list((tmp_path / "kept").iterdir())
