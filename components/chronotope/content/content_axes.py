"""Principal axes of the items' content vectors.

``ContentAxes.project`` turns vectors of encoders into rows of a model's content table; the
bundle of a model carries its axes, so that a new item can be projected without the training data.
"""

from collections.abc import Mapping
from typing import Final

import numpy as np

from chronotope.contracts.item_content import ContentAxes, Float32, ItemContent, ModalityAxes

__all__ = ["MAX_AXES", "ContentAxes", "ItemContent", "fit_axes", "project_items"]

MAX_AXES: Final = 48
"""Maximum number of axes of a modality."""

MAX_ROWS: Final = 20_000
"""Items that the axes are computed from; of a larger catalogue every k-th."""


def fit_axes(vectors: Mapping[str, Float32], encoders: Mapping[str, str]) -> ContentAxes:
    """Principal axes of every modality that at least two items have.

    Args:
        vectors: Vectors by modality, shape (n_items, d) each; zero where an item lacks it.
        encoders: Encoder of each modality.
    """
    parts = []
    for modality in sorted(vectors):
        present_rows = vectors[modality][vectors[modality].any(axis=1)]
        if len(present_rows) >= 2:
            parts.append(_modality_axes(modality, encoders[modality], present_rows))
    return ContentAxes(tuple(parts))


def project_items(vectors: Mapping[str, Float32], encoders: Mapping[str, str]) -> ItemContent:
    """Content of a catalogue: axes fitted on its items, and the items' rows.

    Args:
        vectors: Vectors by modality, shape (n_items, d) each; zero where an item lacks it.
        encoders: Encoder of each modality.
    """
    axes = fit_axes(vectors, encoders)
    return ItemContent(axes, axes.project(vectors, encoders))


def _modality_axes(modality: str, encoder: str, present_rows: Float32) -> ModalityAxes:
    """Axes scaled so that projected vectors have unit length in the mean."""
    sampled_rows = present_rows[:: -(-len(present_rows) // MAX_ROWS)].astype(np.float64)
    mean_vector = sampled_rows.mean(axis=0)
    axis_variances, axes = np.linalg.eigh(
        (sampled_rows - mean_vector).T @ (sampled_rows - mean_vector) / len(sampled_rows)
    )
    axis_variances, axes = axis_variances[::-1][:MAX_AXES], axes[:, ::-1][:, :MAX_AXES]
    axis_scale = 1.0 / np.sqrt(max(float(axis_variances.sum()), 1e-12))
    return ModalityAxes(
        modality, encoder, mean_vector.astype(np.float32), (axes * axis_scale).astype(np.float32)
    )
