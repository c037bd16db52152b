"""A store with registered versions."""

from pathlib import Path

import pytest

from chronotope.registry.mlflow_store import MlflowStore, open_store
from chronotope.registry.model_versions import register_version


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The bytes of a fresh database; migrating takes seconds, copying does not."""
    root = tmp_path_factory.mktemp("migrated")
    open_store(root)
    return (root / "mlflow.db").read_bytes()


@pytest.fixture
def store(tmp_path: Path, migrated: bytes) -> MlflowStore:
    """An empty store of its own for each test."""
    root = tmp_path / "mlruns"
    root.mkdir()
    (root / "mlflow.db").write_bytes(migrated)
    return open_store(root)


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
