"""Map of the items: two coordinates each, so that items with similar content lie close together."""

from typing import Final

import numpy as np

from chronotope.contracts.event_log import Float32, Int64
from chronotope.contracts.item_content import ItemContent

MAX_MAPPED: Final = 1_000
"""Items of a map; their layout takes about two seconds of processor time."""

_PERPLEXITY: Final = 20
_N_ITERATIONS: Final = 500


def mapped_items(content: ItemContent, n_events: Int64) -> Int64:
    """Items of a map: those with content, the most frequent ones of a large catalogue.

    Args:
        content: Content of the catalogue; index 0 is the unknown item.
        n_events: Events of each item, shape (n_items,).

    Returns:
        Indices of at most ``MAX_MAPPED`` items, by descending number of events.
    """
    candidate_idx = 1 + np.flatnonzero(content.vectors[1:].any(axis=1))
    return candidate_idx[np.argsort(-n_events[candidate_idx], kind="stable")[:MAX_MAPPED]]


def lay_out(content: ItemContent, item_idx: Int64) -> Float32:
    """Coordinates of items in the unit square, shape (n, 2).

    Source: van der Maaten and Hinton (2008), t-SNE; distances are those of the directions of all
    kinds of content side by side.

    Args:
        content: Content of the catalogue.
        item_idx: Indices of the items, shape (n,).
    """
    from sklearn.manifold import TSNE  # a second to import

    row_vectors = content.unit_blocks()[item_idx]
    if len(row_vectors) < 3:
        return np.full((len(row_vectors), 2), 0.5, np.float32)
    map_layout = TSNE(
        perplexity=min(_PERPLEXITY, (len(row_vectors) - 1) / 3),
        max_iter=_N_ITERATIONS,
        init="random",
        random_state=0,
        n_jobs=1,
    ).fit_transform(row_vectors)
    lowest_xy, highest_xy = map_layout.min(axis=0), map_layout.max(axis=0)
    return np.asarray(
        (map_layout - lowest_xy) / np.maximum(highest_xy - lowest_xy, 1e-9), np.float32
    )
