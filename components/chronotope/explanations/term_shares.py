"""Terms of a score: the exact sum that the champion's trained network computes."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from chronotope.contracts.errors import ArtifactError, ConfigError, SourceError
from chronotope.contracts.queries import Queries
from chronotope.features.snapshot import load_features
from chronotope.registry.champion import Champion, has_registry, open_registry
from chronotope.registry.champion_info import champion_info
from chronotope.runtime.workspace import Workspace

NETWORK_FILE: Final = "model.pt"
"""Trained network in the folder of a run."""

MIN_SHARE: Final = 1e-4
"""Smaller terms are left out."""


@dataclass(frozen=True, slots=True)
class TermShare:
    """One term of a score.

    Attributes:
        name: Such as ``kernel hour``, ``prior distance`` or ``network decay_7d``.
        value: Its part of the logit; all terms sum to it.
    """

    name: str
    value: float


def champion_terms(
    root: Path, dataset: str, champion: Champion, query: Queries, item_idx: int
) -> tuple[TermShare, ...]:
    """Terms of an item's score by the network that the champion was compressed from.

    Args:
        root: Project root.
        dataset: Dataset of the champion.
        champion: The champion.
        query: A batch of size 1.
        item_idx: Index of the item.

    Returns:
        The largest first; empty if the network, its data or its kernels are missing.
    """
    if not has_registry(root):
        return ()
    info = champion_info(open_registry(root, dataset), Workspace(root), dataset)
    if info is None or info.version != champion.version:
        return ()
    if not (info.run / NETWORK_FILE).is_file():
        return ()
    from chronotope.training.recommender import ChronotopeRecommender  # imports torch
    from chronotope.training.score_decomposition import recommender_terms

    try:
        item_catalog = load_features(info.features)[1]
        if not item_catalog.items.ids.equals(champion.vocabulary.items.ids):
            return ()
        model = ChronotopeRecommender.load(info.run / NETWORK_FILE, item_catalog)
        terms = recommender_terms(model, query)
    except (ArtifactError, ConfigError, SourceError):
        return ()
    values = terms.values[:, 0, item_idx].tolist()
    shares = [
        TermShare(name, value)
        for name, value in zip(terms.names, values, strict=True)
        if abs(value) >= MIN_SHARE
    ]
    return tuple(sorted(shares, key=lambda share: -abs(share.value)))
