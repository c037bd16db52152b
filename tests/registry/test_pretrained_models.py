"""A pretrained checkpoint is a model of its own, found by its address."""

from pathlib import Path

import pytest

from chronotope.contracts.errors import ConfigError, StoreError
from chronotope.registry.mlflow_store import MlflowStore
from chronotope.registry.pretrained_models import (
    CHECKPOINT_FILE,
    register_checkpoint,
    registered_checkpoint,
)


def registered(store: MlflowStore, folder: Path, content: bytes = b"parameters") -> str:
    folder.mkdir(exist_ok=True)
    (folder / CHECKPOINT_FILE).write_bytes(content)
    with store.run("kernels", "pretrain") as tracker:
        version = register_checkpoint(
            store,
            name="kernels",
            checkpoint_dir=folder,
            run_id=tracker.run_id,
            tags={"datasets": "a,b"},
            card="# Card\n" + 6_000 * "x",
        )
    return version.version


def test_each_version_has_its_own_file_and_card(store: MlflowStore, tmp_path: Path) -> None:
    versions = [registered(store, tmp_path / "checkpoint", of) for of in (b"first", b"second")]
    for version, content in zip(versions, (b"first", b"second"), strict=True):
        path = registered_checkpoint(store, f"mlflow:/kernels/{version}")
        assert path.read_bytes() == content
    described = store.client.get_model_version("kernels", versions[0])
    assert described.description.startswith("# Card")
    assert described.tags["datasets"] == "a,b"


@pytest.mark.parametrize(
    "address", ["mlflow:/kernels", "mlflow:/", "kernels/1", "mlflow:/kernels/"]
)
def test_an_address_of_another_form_is_refused(store: MlflowStore, address: str) -> None:
    with pytest.raises(ConfigError, match="mlflow:/NAME/VERSION"):
        registered_checkpoint(store, address)


def test_a_version_without_a_checkpoint_is_refused(store: MlflowStore, tmp_path: Path) -> None:
    version = registered(store, tmp_path / "checkpoint")
    registered_checkpoint(store, f"mlflow:/kernels/{version}").unlink()
    with pytest.raises(StoreError, match="no pretrained checkpoint"):
        registered_checkpoint(store, f"mlflow:/kernels/{version}")
    with pytest.raises(StoreError, match="no such model version"):
        registered_checkpoint(store, "mlflow:/kernels/9")
