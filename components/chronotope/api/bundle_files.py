"""Bundles of a fitted recommender on disk."""

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from chronotope.api.logs.log import Log
from chronotope.artifact.indexed_recommender import IndexedRecommender
from chronotope.artifact.onnx_recommender import OnnxRecommender
from chronotope.artifact.open_bundle import BundleRecommender
from chronotope.contracts.errors import ConfigError
from chronotope.registry.champion import Champion
from chronotope.runtime.temp_dirs import temporary_folder

if TYPE_CHECKING:
    from chronotope.training.recommender import ChronotopeRecommender


def export_bundle(
    bundle_dir: Path,
    champion: Champion,
    network: "ChronotopeRecommender | None",
    log: Log | None,
) -> Path:
    """Write a fitted model to a new folder; it appears there complete or not at all.

    Args:
        bundle_dir: Folder to make.
        champion: The model.
        network: Its network; None for one that was loaded, whose files are copied.
        log: Log that the network was trained on.

    Raises:
        ConfigError: The folder holds files.
    """
    if bundle_dir.exists() and (not bundle_dir.is_dir() or any(bundle_dir.iterdir())):
        raise ConfigError(
            "The folder of the bundle holds files already",
            received=bundle_dir,
            way_out="Choose a new folder",
        )
    bundle_dir.parent.mkdir(parents=True, exist_ok=True)
    with temporary_folder(bundle_dir.parent, ".bundle-") as draft_parent:
        draft_dir = draft_parent / "bundle"
        if network is None or log is None:
            shutil.copytree(champion.folder or bundle_dir, draft_dir)
        else:
            from chronotope.api.trained_model import write_network

            draft_dir.mkdir()
            write_network(draft_dir, network, log.index, champion.model.manifest)
        if bundle_dir.exists():
            bundle_dir.rmdir()
        draft_dir.rename(bundle_dir)
    return bundle_dir


def with_dataset(model: BundleRecommender, dataset: str) -> BundleRecommender:
    """The same model over the lake of another dataset.

    Args:
        model: Model of a bundle.
        dataset: Dataset whose events it reads.
    """
    dataset_manifest = model.manifest.model_copy(update={"dataset": dataset})
    if isinstance(model, IndexedRecommender):
        return IndexedRecommender(model.session, model.index, dataset_manifest, model.residuals)
    return OnnxRecommender(model.session, dataset_manifest)
