"""Factory of the recommender of a bundle: full scoring, or ranking by an index."""

from pathlib import Path

from chronotope.artifact.bundle import INDEX
from chronotope.artifact.indexed_recommender import IndexedRecommender
from chronotope.artifact.onnx_recommender import OnnxRecommender

BundleRecommender = OnnxRecommender | IndexedRecommender
"""A recommender read from a bundle."""


def open_bundle(bundle_dir: Path, *, n_threads: int = 1) -> BundleRecommender:
    """The recommender of a bundle, its digests verified.

    Raises:
        ArtifactError: The bundle is incomplete or damaged.
    """
    has_index = (bundle_dir / INDEX).is_file()
    recommender_class = IndexedRecommender if has_index else OnnxRecommender
    return recommender_class.load(bundle_dir, n_threads=n_threads)
