"""A store with registered versions."""

from pathlib import Path

import pytest

from chronotope.registry.mlflow_store import MlflowStore, open_store
from chronotope.registry.model_versions import register_version


@pytest.fixture
def store(tmp_path: Path) -> MlflowStore:
    """An empty store of its own for each test."""
    return open_store(tmp_path / "mlruns")


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A folder that looks like a bundle."""
    folder = tmp_path / "bundle"
    (folder / "ids").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"graph")
    (folder / "ids" / "items.txt").write_text("a\nb\n")
    return folder


@pytest.fixture
def city(store: MlflowStore, bundle: Path) -> MlflowStore:
    """A store whose model ``city`` has the versions 1 to 9."""
    with store.run("training", "fit") as tracker:
        for _ in range(9):
            register_version(store, name="city", bundle_dir=bundle, run_id=tracker.run_id, tags={})
    return store
