"""Open a bundle as what it is: scored in full, or ranked by an index."""

from pathlib import Path

from chronotope.artifact.bundle import INDEX
from chronotope.artifact.indexed_recommender import IndexedRecommender
from chronotope.artifact.onnx_recommender import OnnxRecommender

BundleRecommender = OnnxRecommender | IndexedRecommender
"""A recommender read from a bundle."""


def open_bundle(folder: Path, *, n_threads: int = 1) -> BundleRecommender:
    """The recommender in a folder, its digests verified.

    Raises:
        ArtifactError: It is incomplete or damaged.
    """
    kind = IndexedRecommender if (folder / INDEX).is_file() else OnnxRecommender
    return kind.load(folder, n_threads=n_threads)
